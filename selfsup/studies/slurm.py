"""Slurm: so many jobs that each run the same command on the shared folder; whoever dies is replaced by the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.errors import ConfigError


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
        ConfigError: if submitit is missing.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError.at("--launcher", "slurm needs submitit", expected="pip install 'selfsup[cluster]'") from None
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    executor.update_parameters(**{"name": "selfsup_study", **options})
    with executor.batch():
        submitted = [executor.submit(submitit.helpers.CommandFunction(list(command))) for _ in range(jobs)]
    return [job.job_id for job in submitted]
