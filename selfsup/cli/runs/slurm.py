"""Slurm, through submitit: many jobs with a command each, or one job in which all processes run the same command."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.errors import ConfigError

TIME_IS_UP = "USR1@300"  # seconds before the end, as in tools/slurm_requeue.sh
TEARDOWN = ("code=$?", '[[ $code -ne 138 ]] || exec scontrol requeue "$SLURM_JOB_ID"', "exit $code")


def submit(command: Sequence[str], *, folder: Path, jobs: int, options: Mapping[str, Any]) -> list[str]:
    """Submit jobs; nothing waits for them, for results are only ever read from the study's folder.

    Args:
        command: what each of them runs.
        folder: of their logs.
        jobs: how many, >= 1.
        options: of Slurm, as submitit calls them: ``timeout_min``, ``gpus_per_node``, ``slurm_partition`` and so on.

    Returns:
        The numbers of the jobs.

    Raises:
        ConfigError: if submitit or Slurm is missing, or submitit does not know an option.
    """
    submitit, executor = _executor(folder, {"name": "selfsup_study", **options})
    with executor.batch():
        submitted = [executor.submit(submitit.helpers.CommandFunction(list(command))) for _ in range(jobs)]
    return [job.job_id for job in submitted]


def submit_run(command: Sequence[str], *, folder: Path, options: Mapping[str, Any]) -> tuple[str, Path]:
    """Submit one job whose every task becomes the command; it is queued again when the command exits with 138.

    submitit has a signal and handlers of its own, which end process 0 in the middle of a step. They have no effect
    here: the signal is the one that a run saves on, and the command replaces the process that submitit has started.

    Args:
        command: the program and its arguments.
        folder: of the logs, one for each task.
        options: as in :func:`submit`; ``nodes`` and ``tasks_per_node`` say how many processes there are.

    Returns:
        The number of the job, and the log of the first task.

    Raises:
        ConfigError: as :func:`submit`.
    """
    srun = ["--kill-on-bad-exit=1", *options.get("slurm_srun_args", ())]
    if "cpus_per_task" in options:  # since Slurm 22.05 srun does not take it from sbatch
        srun.append(f"--cpus-per-task={options['cpus_per_task']}")
    more = options.get("slurm_additional_parameters", {})
    ours = {
        "slurm_srun_args": srun,
        "slurm_teardown": list(TEARDOWN),
        "slurm_additional_parameters": {"signal": TIME_IS_UP, "requeue": True, **more},
        "stderr_to_stdout": True,
    }
    _, executor = _executor(folder, {"name": "selfsup", **options, **ours})
    job = executor.submit(os.execv, command[0], list(command))
    return job.job_id, Path(job.paths.stdout)


def _executor(folder: Path, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """The module and its executor."""
    try:
        import submitit
    except ImportError:
        raise ConfigError.at("--slurm", "needs submitit", expected="pip install 'selfsup[cluster]'") from None
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(**options)
    except (RuntimeError, NameError, ValueError, AssertionError) as error:  # of a missing srun, and of unknown options
        raise ConfigError.at("--slurm", str(error)) from None
    return submitit, executor
