import inspect
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch
import torch.distributed

from selfsup.config import Recipe
from selfsup.errors import ConfigError
from selfsup.ops import launch
from selfsup.ops.dist import rank, world_size

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_STEP_NAMES = ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PTY_PORT")
_SLURM_NAMES = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_NODELIST")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in _NAMES + _SLURM_NAMES + _STEP_NAMES:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_torchrun_variables_start_a_gloo_group(environment: pytest.MonkeyPatch) -> None:
    for name, value in zip(_NAMES, ("0", "1", "0", "127.0.0.1", _free_port()), strict=True):
        environment.setenv(name, value)
    launch.init_process_group("none", "cpu")
    assert not torch.distributed.is_initialized()
    launch.init_process_group("pytorch", "cpu", timeout=timedelta(minutes=7))
    assert torch.distributed.get_backend() == "gloo"
    assert (rank(), world_size(), launch.local_device()) == (0, 1, torch.device("cpu"))
    launch.init_process_group("pytorch", "cpu")  # joining twice is harmless
    assert time_limit() == timedelta(minutes=7)
    launch.leave_process_group()
    assert not torch.distributed.is_initialized()


def time_limit() -> timedelta:
    return torch.distributed.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options._timeout


STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize(
    ("variables", "launcher"),
    [
        ({}, "none"),
        (dict.fromkeys(_NAMES, "1"), "pytorch"),
        (dict.fromkeys(_NAMES, "1") | STEP, "pytorch"),  # torchrun started by srun
        ({"RANK": "3"}, "none"),
        (STEP, "slurm"),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, "none"),
        (STEP | {"SLURM_STEP_ID": "4294967290"}, "none"),  # the shell of salloc
        (STEP | {"SLURM_PTY_PORT": "40000"}, "none"),
        (dict.fromkeys(_SLURM_NAMES, "0"), "none"),  # a batch script
    ],
)
def test_the_launcher_is_known_by_its_variables(
    variables: dict[str, str], launcher: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert launch.found_launcher() == launcher


def test_a_launcher_that_is_not_named_is_found(environment: pytest.MonkeyPatch) -> None:
    for name, value in zip(_NAMES, ("0", "1", "0", "127.0.0.1", _free_port()), strict=True):
        environment.setenv(name, value)
    launch.init_process_group(device="cpu")
    assert torch.distributed.is_initialized()


def test_a_process_that_is_shown_its_own_gpu_alone_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert launch.own_gpu(3, 1) == 0
    assert launch.own_gpu(3, 4) == 3
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(ConfigError) as caught:
        launch.own_gpu(1, 1)
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("device", "1 GPU")


def test_the_number_of_a_gpu_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert launch.local_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="this machine has 2 GPUs, got 'cuda:2'"):
        launch.local_device("cuda:2")


def test_slurm_variables_start_a_gloo_group(environment: pytest.MonkeyPatch) -> None:
    for name, value in zip(_SLURM_NAMES, ("0", "1", "0", "4711", "localhost"), strict=True):
        environment.setenv(name, value)
    environment.setenv("MASTER_PORT", _free_port())
    launch.init_process_group("slurm", "cpu")
    assert (torch.distributed.get_backend(), world_size()) == ("gloo", 1)


def test_missing_variables_are_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RANK", "0")
    with pytest.raises(ConfigError, match=r"no WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; start the .*torchrun"):
        launch.init_process_group("pytorch", "cpu")
    with pytest.raises(ConfigError, match=r"no SLURM_PROCID, .*srun"):
        launch.init_process_group("slurm", "cpu")


def test_an_unknown_launcher_is_rejected_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'pytorch'"):
        launch.init_process_group("pytorhc")  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_rejected_and_the_cpu_taken_by_default() -> None:
    with pytest.raises(ConfigError, match="PyTorch finds no GPU here; use 'cpu'"):
        launch.local_device("cuda")
    assert launch.local_device() == torch.device("cpu")


@pytest.mark.parametrize(
    "nodes, first",
    [
        ("gpu7", "gpu7"),
        ("gpu7,gpu8", "gpu7"),
        ("gpu[007-009,12],cpu1", "gpu007"),
        ("rack[2,4]-node[11-13]", "rack2-node11"),
        ("a-b.example[3-4]", "a-b.example3"),
    ],
)
def test_the_first_host_of_a_slurm_node_list(nodes: str, first: str) -> None:
    assert launch.first_slurm_host(nodes) == first


def test_processes_without_a_recipe_wait_as_long_as_a_recipe_says_by_default() -> None:
    default = inspect.signature(launch.init_process_group).parameters["timeout"].default
    assert default == timedelta(minutes=Recipe.dist_timeout)
