"""Batch norm over two processes against ``nn.BatchNorm`` on the whole batch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.layers import SyncBatchNorm, convert_sync_bn
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes

pytestmark = pytest.mark.dist

_CASES: dict[str, dict[str, Any]] = {
    "rows": dict(shape=(8, 3), split=4),
    "images": dict(shape=(8, 3, 4, 5), split=4),
    "channels last": dict(shape=(8, 3, 4, 5), split=4, channels_last=True),
    "uneven": dict(shape=(8, 3, 4, 5), split=5),
    "float32": dict(shape=(8, 3, 4, 5), split=4, dtype=torch.float32, tolerance=1e-5),
    "far from zero": dict(shape=(8, 3, 4, 5), split=3, dtype=torch.float32, offset=1000.0, tolerance=5e-3),
    "no affine": dict(shape=(8, 3), split=4, affine=False),
    "cumulative": dict(shape=(8, 3), split=4, momentum=None),
    "no running statistics": dict(shape=(8, 3), split=4, track_running_stats=False),
    "bfloat16 input": dict(shape=(8, 3, 4, 5), split=4, dtype=torch.float32, half=True, tolerance=2e-2),
}


def _run(synced: bool, name: str, rank: int | None) -> dict[str, Tensor]:
    """Two steps and an evaluation; ``rank`` chooses the part of the batch, None takes all."""
    case = _CASES[name]
    generator = torch.Generator().manual_seed(0)
    dtype = case.get("dtype", torch.float64)
    kind = nn.BatchNorm1d if len(case["shape"]) == 2 else nn.BatchNorm2d
    norm: nn.Module = kind(
        3,
        momentum=case.get("momentum", 0.2),
        affine=case.get("affine", True),
        track_running_stats=case.get("track_running_stats", True),
        dtype=dtype,
    )
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    if synced:
        norm = convert_sync_bn(norm)
        assert isinstance(norm, SyncBatchNorm)
    part = {None: slice(None), 0: slice(None, case["split"]), 1: slice(case["split"], None)}[rank]
    results: dict[str, Tensor] = {}
    for step in range(2):
        x = torch.randn(case["shape"], generator=generator, dtype=dtype) * 2 + case.get("offset", 0.5) + step
        gradient = torch.randn(case["shape"], generator=generator, dtype=dtype)[part]
        x = x[part]
        if case.get("channels_last"):
            x = x.to(memory_format=torch.channels_last)
        if case.get("half"):
            x, gradient = x.to(torch.bfloat16), gradient.to(torch.bfloat16)
        x.requires_grad_()
        norm.zero_grad()
        y = norm(x)
        if case.get("channels_last"):
            assert y.is_contiguous(memory_format=torch.channels_last)
        y.backward(gradient)
        results |= {f"output {step}": y.detach(), f"gradient {step}": x.grad}
        results |= {f"gradient of {key} {step}": value.grad for key, value in norm.named_parameters()}
    results |= {f"buffer {key}": buffer.clone() for key, buffer in norm.named_buffers()}
    if case.get("track_running_stats", True):
        results["evaluated"] = norm.eval()(x.detach()).detach()
    return results


def _all_cases() -> dict[str, Any]:
    results: dict[str, Any] = {name: _run(True, name, dist.rank()) for name in _CASES}

    norm = convert_sync_bn(nn.BatchNorm1d(3))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(dist.rank()))
    norm.track_running_stats = False
    results["frozen"] = (norm(x).detach(), norm.running_mean.clone(), int(norm.num_batches_tracked))
    norm.track_running_stats = True
    results["tracked"] = (norm(x).detach(), norm.running_mean.clone(), int(norm.num_batches_tracked))
    results["larger group"] = convert_sync_bn(nn.BatchNorm1d(3), 8)(x).detach()
    return results


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_all_cases)


@pytest.mark.parametrize("name", _CASES)
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    expected = _run(False, name, None)
    tolerance = _CASES[name].get("tolerance", 1e-10)
    first, second = (result[name] for result in results)
    assert first.keys() == second.keys() == expected.keys()
    for key, value in expected.items():
        if key.startswith("gradient of "):
            actual = first[key] + second[key]
        elif key.startswith("buffer"):
            assert torch.equal(first[key], second[key])
            actual = first[key]
        else:
            actual = torch.cat([first[key], second[key]])
        assert actual.dtype == value.dtype
        torch.testing.assert_close(
            actual, value, rtol=tolerance, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_recomputation_can_leave_running_statistics_alone(results: list[dict[str, Any]]) -> None:
    for result in results:
        output, mean, count = result["frozen"]
        assert count == 0 and torch.equal(mean, torch.zeros(3))
        output_again, mean, count = result["tracked"]
        assert count == 1 and mean.any()
        assert torch.equal(output, output_again)


def test_a_group_larger_than_the_run_is_the_run(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert torch.equal(result["larger group"], result["frozen"][0])


def _in_groups_of_two() -> Tensor:
    with pytest.raises(ConfigError, match="the number of processes, 4, must be a multiple of the group size, got 3"):
        convert_sync_bn(nn.BatchNorm1d(1), 3)
    norm = convert_sync_bn(nn.BatchNorm1d(1, affine=False), 2)
    rank = dist.rank()
    norm(torch.tensor([[float(rank)], [float(rank)]]))
    return norm.running_mean * 10


def test_groups_share_statistics_among_their_members_only() -> None:
    means = run_in_processes(_in_groups_of_two, world_size=4)
    torch.testing.assert_close(torch.cat(means), torch.tensor([0.5, 0.5, 2.5, 2.5]))
