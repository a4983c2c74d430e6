"""What the launcher told this process, before any process group exists."""

import os
from collections.abc import Sequence

_WORLD_SIZE = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS"}
_ASKED_OF_SLURM = {
    "SLURM_JOB_PARTITION": "--partition=",
    "SLURM_NNODES": "--nodes=",
    "SLURM_GPUS_ON_NODE": "--gres=gpu:",
    "SLURM_NTASKS_PER_NODE": "--ntasks-per-node=",
    "SLURM_NTASKS": "--ntasks=",
    "SLURM_CPUS_PER_TASK": "--cpus-per-task=",
}
"""Where Slurm tells what was asked for, and the option of srun that asks for it."""
_RANK = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}


def launched_processes(launcher: str) -> int:
    """How many processes take part."""
    return int(os.environ.get(_WORLD_SIZE.get(launcher, ""), 1))


def launch_command(launcher: str, *, python: bool = True) -> list[str]:
    """The words before the program that start processes as this one was started, on this machine.

    Args:
        launcher: what started the processes.
        python: whether the program is a Python file, and not a command of its own.
    """
    if launcher == "pytorch":
        nodes = os.environ.get("GROUP_WORLD_SIZE", "1")
        words = ["torchrun", f"--nproc_per_node={os.environ.get('LOCAL_WORLD_SIZE', '1')}"]
        if nodes == "1":
            words.insert(1, "--standalone")  # finds a free port
        else:
            words += [f"--nnodes={nodes}", f"--node_rank={os.environ.get('GROUP_RANK', '0')}"]
            words += [
                f"--{name.lower()}={os.environ[name]}" for name in ("MASTER_ADDR", "MASTER_PORT") if name in os.environ
            ]
        return words if python else [*words, "--no-python"]
    if launcher == "slurm":
        words = ["srun", *(option + os.environ[name] for name, option in _ASKED_OF_SLURM.items() if name in os.environ)]
        return [*words, "python"] if python else words
    return ["python"] if python else []


def is_first(launcher: str) -> bool:
    """Whether this process is the one that speaks."""
    return int(os.environ.get(_RANK.get(launcher, ""), 0)) == 0


def job_words(words: Sequence[str]) -> list[str]:
    """The words of the same command for one job: without what only concerns the submitting."""
    kept: list[str] = []
    left_out = False
    for number, word in enumerate(words):
        option = word.partition("=")[0]
        if word.startswith("--"):
            left_out = option == "--slurm"
        if left_out or option in ("--launcher", "--jobs"):
            continue
        if number and words[number - 1] in ("--launcher", "--jobs"):
            continue
        kept.append(word)
    return kept
