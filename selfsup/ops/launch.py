"""Joining the processes that a launcher has started, each with a device of its own."""

import os
import re
from datetime import timedelta
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist

from selfsup.errors import ConfigError, nearest
from selfsup.ops.dist import is_started, world_size

Launcher = Literal["none", "pytorch", "slurm"]
LAUNCHERS: tuple[Launcher, ...] = get_args(Launcher)
FIRST_SPECIAL_STEP = 0xFFFF_FFF0  # Slurm's own steps: interactive shell, batch script, extern


def found_launcher() -> Launcher:
    """What started this process, by the variables that torchrun and srun leave; ``'none'`` if nothing did.

    An interactive allocation of Slurm has variables too: a shell in it, of salloc or ``srun --pty``, is no task.
    """
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return "pytorch"
    step, tasks = (os.environ.get(f"SLURM_STEP_{name}", "") for name in ("ID", "NUM_TASKS"))
    is_step = step.isdecimal() and int(step) < FIRST_SPECIAL_STEP and "SLURM_PTY_PORT" not in os.environ
    return "slurm" if is_step and tasks.isdecimal() and int(tasks) > 1 else "none"


def init_process_group(
    launcher: Launcher | None = None,
    device: str | None = None,
    *,
    timeout: timedelta = timedelta(hours=2),
    exchange_on_cpu: bool = False,
) -> None:
    """Join the processes that the launcher started; gloo on the CPU, nccl on GPUs.

    Args:
        launcher: ``'none'`` for a single process, ``'pytorch'`` for torchrun, ``'slurm'`` for srun; None for
            what :func:`found_launcher` finds.
        device: ``'cpu'``, ``'cuda'``, or for a single process ``'cuda:1'``; None takes GPUs where there are any.
        timeout: how long a collective may wait for the slowest process.
        exchange_on_cpu: on GPUs, let tensors in the memory of the processor be exchanged too, by gloo.

    Raises:
        ConfigError: if the launcher is unknown, its environment variables are missing, or the device is not there.
    """
    launcher = found_launcher() if launcher is None else launcher
    if launcher not in LAUNCHERS:
        raise ConfigError.at(
            "launcher", f"{launcher!r} is not one of {LAUNCHERS}", expected=nearest(str(launcher), LAUNCHERS)
        )
    kind, number = _device_kind(device)
    if is_started():
        return
    if launcher == "none":
        if number is not None:
            torch.cuda.set_device(number)
        return
    place = _torchrun_place() if launcher == "pytorch" else _slurm_place()
    gpu = None
    if kind == "cuda":
        if number is not None and place["world_size"] > 1:
            raise ConfigError.at("device", "each process takes a GPU of its own", got=device, expected="use 'cuda'")
        gpu = torch.device(
            "cuda", own_gpu(place["local_rank"], torch.cuda.device_count()) if number is None else number
        )
        torch.cuda.set_device(gpu)
    dist.init_process_group(
        backend="gloo" if kind == "cpu" else "cpu:gloo,cuda:nccl" if exchange_on_cpu else "nccl",
        init_method=place["meeting_point"],
        rank=place["rank"],
        world_size=place["world_size"],
        timeout=timeout,
        device_id=gpu,
    )


def own_gpu(local_rank: int, visible: int) -> int:
    """The number of a process's GPU among those it sees; the only one where each process is shown its own, as by
    Slurm's ``--gpus-per-task``.

    Args:
        local_rank: number of the process on its machine.
        visible: GPUs that it sees, >= 1.

    Raises:
        ConfigError: if there are several, and fewer than processes.
    """
    if visible == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:
        return 0
    if local_rank >= visible:
        raise ConfigError.at(
            "device",
            f"process {local_rank} of this machine has no GPU of its own",
            got=f"{visible} GPU{'' if visible == 1 else 's'}",
            expected="start at most one process per GPU",
        )
    return local_rank


def leave_process_group() -> None:
    """Part from the other processes at the end; nccl complains of those that leave without."""
    if is_started():
        dist.destroy_process_group()


def local_device(device: str | None = None) -> torch.device:
    """The device of this process.

    Args:
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:1'``; None takes what the process group uses, or a GPU where there is
            one.

    Raises:
        ConfigError: if the device is not there.
    """
    if device is None and is_started():
        device = "cuda" if "nccl" in dist.get_backend_config() else "cpu"
    kind, number = _device_kind(device)
    if kind == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device() if number is None else number)


def described(device: torch.device) -> str:
    """A device as a log names it, and how many processes each have one."""
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}, {world_size()} process{'' if world_size() == 1 else 'es'}"


def _device_kind(device: str | None) -> tuple[str, int | None]:
    """``'cpu'`` or ``'cuda'``, and the number after it."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu", None
    kind, _, number = str(device).partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ConfigError.at("device", "must be 'cpu' or 'cuda'", got=device)
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError.at("device", "'cuda' was asked for, but PyTorch finds no GPU here", expected="use 'cpu'")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise ConfigError.at("device", f"this machine has {torch.cuda.device_count()} GPUs", got=device)
    return kind, int(number) if kind == "cuda" and number else None


def _torchrun_place() -> dict[str, Any]:
    values = _environment(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
        "pytorch",
        "start the command with 'torchrun --nproc_per_node=N', or leave out --launcher",
    )
    return {
        "rank": int(values["RANK"]),
        "world_size": int(values["WORLD_SIZE"]),
        "local_rank": int(values["LOCAL_RANK"]),
        "meeting_point": "env://",
    }


def _slurm_place() -> dict[str, Any]:
    values = _environment(
        ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_NODELIST"),
        "slurm",
        "start the command with srun",
    )
    address = os.environ.get("MASTER_ADDR") or first_slurm_host(values["SLURM_NODELIST"])
    # one port per job and step, so that those which share a node do not meet
    job, step = int(values["SLURM_JOB_ID"]), os.environ.get("SLURM_STEP_ID", "0")
    port = os.environ.get("MASTER_PORT") or str(20_000 + (job + 7919 * int(step)) % 20_000)
    return {
        "rank": int(values["SLURM_PROCID"]),
        "world_size": int(values["SLURM_NTASKS"]),
        "local_rank": int(values["SLURM_LOCALID"]),
        "meeting_point": f"tcp://{address}:{port}",
    }


def first_slurm_host(node_list: str) -> str:
    """The first host of a Slurm node list: ``'gpu[007-009,12],cpu1'`` gives ``'gpu007'``."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", node_list)[0])


def _environment(names: tuple[str, ...], launcher: str, advice: str) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError.at(f"--launcher {launcher}", f"the environment has no {', '.join(missing)}", expected=advice)
    return {name: os.environ[name] for name in names}
