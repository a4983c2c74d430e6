"""Processes with a GPU each, over NCCL."""

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.layers import convert_sync_bn
from selfsup.losses import InfoNCELoss
from selfsup.methods import MoCo, Progress
from selfsup.necks import ProjectionNeck
from selfsup.ops import dist, launch
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import tiny_config
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.gpu

GPU = "cuda"
BACKEND = "nccl"


def functions_of_dist() -> list[str]:
    rows = torch.arange(6.0, device=GPU).view(3, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for function in (dist.all_reduce_sum, dist.all_reduce_max, dist.broadcast, dist.gather):
            assert torch.equal(function(rows), rows), function
        assert torch.equal(dist.gather_with_gradient(rows), rows)
        assert dist.gather_objects("a") == dist.gather_objects_on_main("a") == ["a"]
        assert dist.broadcast_object("a") == dist.from_main(lambda: "a") == "a"
        dist.barrier()
        assert launch.local_device().type == GPU
    return [str(warning.message) for warning in caught]


def test_every_function_of_dist_works_on_one_gpu_without_a_warning() -> None:
    assert run_in_processes(functions_of_dist, world_size=1, backend=BACKEND) == [[]]


def in_slurm() -> tuple[str, int]:
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"):
        os.environ[name] = {"SLURM_NTASKS": "1"}.get(name, "0")
    os.environ |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NODELIST": "localhost"}
    torch.distributed.destroy_process_group()
    launch.init_process_group("slurm")
    return str(launch.local_device()), dist.world_size()


def test_slurm_with_one_gpu_a_task_takes_it() -> None:
    assert run_in_processes(in_slurm, world_size=1, backend=BACKEND) == [("cuda:0", 1)]


def normalized(share: slice, layout: torch.memory_format) -> dict[str, Tensor]:
    """Output, gradients and running statistics of a batch norm that sees a part of the batch."""
    norm = convert_sync_bn(nn.BatchNorm2d(5, momentum=0.3)).to(GPU)
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(8, 5, 4, 4, generator=generator)[share].to(GPU, memory_format=layout) for _ in range(2))
    y = norm(x.requires_grad_())
    y.backward(gradient)
    found = {"y": y, "x": x.grad, "mean": norm.running_mean, "variance": norm.running_var, "weight": norm.weight.grad}
    return {name: value.detach().cpu() for name, value in found.items()}


def normalized_here(layout: torch.memory_format) -> dict[str, Tensor]:
    return normalized([slice(3), slice(3, 8)][dist.rank()], layout)


@pytest.mark.gpu(2)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_synchronized_batch_norm_on_two_gpus_is_one_process(layout: torch.memory_format) -> None:
    expected = normalized(slice(None), layout)
    first, second = run_in_processes(normalized_here, layout, backend=BACKEND)
    for name in ("y", "x"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first["weight"] + second["weight"], expected["weight"], rtol=1e-4, atol=1e-5)
    for name in ("mean", "variance"):
        torch.testing.assert_close(first[name], expected[name], rtol=1e-4, atol=1e-5)
        assert torch.equal(first[name], second[name])


def keys_of_moco() -> tuple[Tensor, Tensor]:
    """The queue after a step, and the own keys that it should have taken in."""
    torch.manual_seed(0)
    method = MoCo(TinyBackbone(), ProjectionNeck(8, (6,), 4), InfoNCELoss(0.2), queue_length=24).to(GPU).eval()
    method.before_step(Progress(0, 4, 0, 4))
    views = [view.to(GPU) for view in images(10, 10, batch=4, seed=dist.rank())]
    expected = torch.nn.functional.normalize(method.teacher(views[1]), dim=1)
    method.training = True  # batch norm stays in evaluation, so that the shuffle changes no key
    method.loss(views)
    return method.queue.rows.cpu(), expected.cpu()


@pytest.mark.gpu(2)
def test_the_queue_of_moco_is_the_same_on_two_gpus_with_keys_in_order() -> None:
    (first, keys), (second, others) = run_in_processes(keys_of_moco, backend=BACKEND)
    assert torch.equal(first, second)
    torch.testing.assert_close(first[:8], torch.cat([keys, others]), rtol=1e-3, atol=1e-4)


def four_steps(folder: Path, sharded: bool) -> list[float]:
    config = tiny_config(folder, steps=4, sharding={"min_parameters": 1} if sharded else None)
    config["train_dataloader"]["batch_size"] = 4
    lars: dict[str, Any] = {"type": "LARS", "variant": "larc", "lr": 0.1, "weight_decay": 1e-4}
    config["optim_wrapper"] |= {"optimizer": lars, "precision": "fp16", "clip_grad": {"max_norm": 1.0}}
    Runner(config, device=GPU).train()
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


@pytest.mark.gpu(2)
def test_sharded_training_is_that_of_whole_copies(tmp_path: Path) -> None:
    whole, split = (
        run_in_processes(four_steps, tmp_path / str(sharded), sharded, backend=BACKEND)[0] for sharded in (False, True)
    )
    assert split == pytest.approx(whole, rel=1e-2)
