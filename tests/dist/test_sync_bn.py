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


class Kernels:
    """What torch's CUDA kernels for synchronized batch norm compute, by their documented meaning, on the CPU."""

    @staticmethod
    def batch_norm_stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        return x.mean(dims), (x.var(dims, correction=0) + eps).rsqrt()

    @staticmethod
    def batch_norm_gather_stats_with_counts(
        x: Tensor, means: Tensor, inverse_stds: Tensor, mean: Any, variance: Any, share: float, eps: float, n: Tensor
    ) -> tuple[Tensor, Tensor]:
        weights = (n / n.sum()).unsqueeze(1)
        whole = (means * weights).sum(0)
        spread = ((inverse_stds**-2 - eps + (means - whole) ** 2) * weights).sum(0)
        if mean is not None:
            mean.lerp_(whole, share)
            variance.lerp_(spread * n.sum() / (n.sum() - 1), share)
        return whole, (spread + eps).rsqrt()

    @staticmethod
    def batch_norm_elemt(x: Tensor, weight: Any, bias: Any, mean: Tensor, inverse_std: Tensor, eps: float) -> Tensor:
        y = (x.movedim(1, -1) - mean) * inverse_std
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias).movedim(-1, 1)

    @staticmethod
    def batch_norm_backward_reduce(
        dy: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor, weight: Any, *needed: bool
    ) -> tuple[Any, ...]:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        products = (dy * (x.movedim(1, -1) - mean).movedim(-1, 1)).sum(dims)
        weight = products * inverse_std if needed[1] else None
        return dy.sum(dims), products, weight, dy.sum(dims) if needed[2] else None

    @staticmethod
    def batch_norm_backward_elemt(
        dy: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor, weight: Any, sums: Tensor, products: Tensor, n: Tensor
    ) -> Tensor:
        assert n.dtype == torch.int32
        centered = (x.movedim(1, -1) - mean) * inverse_std**2 * products / n.sum()
        dx = (dy.movedim(1, -1) - sums / n.sum() - centered) * inverse_std
        return (dx if weight is None else dx * weight).movedim(-1, 1)


_FUSED = ("images", "channels last", "uneven", "no affine", "cumulative", "no running statistics")


def _run(synced: bool, name: str, rank: int | None, *, fused: bool = False) -> dict[str, Tensor]:
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
        y = norm._fused(x) if fused else norm(x)
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

    with pytest.MonkeyPatch.context() as patch:
        for kernel in (name for name in vars(Kernels) if name.startswith("batch_norm")):
            patch.setattr(torch, kernel, getattr(Kernels, kernel))
        results |= {f"{name}, fused": _run(True, name, dist.rank(), fused=True) for name in _FUSED}

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


@pytest.mark.parametrize("name", [*_CASES, *(f"{name}, fused" for name in _FUSED)])
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    case = name.removesuffix(", fused")
    expected = _run(False, case, None)
    tolerance = _CASES[case].get("tolerance", 1e-10)
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
