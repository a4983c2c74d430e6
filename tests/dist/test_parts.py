"""Tensors split over two processes against the whole ones: norms, LARS, EMA; rows may be fewer than processes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.engine.optim import LARS, PrecisionOptimWrapper
from selfsup.errors import NonFiniteError
from selfsup.ops.dist import rank
from selfsup.ops.parts import all_finite, is_split, norms_of_whole, own_part, part_norms, split_like, total_norm, whole
from tests.dist.two_processes import run_in_processes
from tests.reference.lars import lars_by_the_papers

pytestmark = pytest.mark.dist

_SHAPES = ((5, 3), (1, 4), (2,))
_VARIANTS = ("simclr", "byol", "larc")
_ORDERS = (2.0, float("inf"))
_RATES = (0.5, 2.0, 1.0)


def _values(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in _SHAPES]


def _split(value: np.ndarray) -> Tensor:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor
    from torch.distributed.tensor.placement_types import Shard

    mesh = init_device_mesh("cpu", (2,))
    return distribute_tensor(torch.tensor(value), mesh, [Shard(0)], src_data_rank=None)


def _lars(variant: str) -> list[Tensor]:
    weights = [nn.Parameter(_split(value)) for value in _values(0)]
    optimizer = LARS(weights, 1.0, weight_decay=0.1, trust_coefficient=0.02, variant=variant)
    for step, lr in enumerate(_RATES):
        optimizer.param_groups[0]["lr"] = lr
        for weight, gradient in zip(weights, _values(step + 1), strict=True):
            weight.grad = _split(gradient)
        optimizer.step()
    return [whole(weight.detach()) for weight in weights]


def _bad_gradient() -> tuple[str, list[Tensor]]:
    """The message where one element of the part of process 1 is not finite, and the weights afterwards."""
    model = nn.Linear(3, 5, dtype=torch.float64)
    for name, value in (("weight", _values(0)[0]), ("bias", np.ones(5))):
        setattr(model, name, nn.Parameter(_split(value)))
    wrapper = PrecisionOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    wrapper.bind(model)
    gradient = np.ones((5, 3))
    gradient[4, 0] = np.inf
    model.weight.grad, model.bias.grad = _split(gradient), _split(np.ones(5))
    try:
        wrapper.step()
    except NonFiniteError as error:
        return str(error), [whole(parameter.detach()) for parameter in model.parameters()]
    return "", []


def _everything() -> dict[str, Any]:
    tensors = [_split(value) for value in _values(0)]
    bad = _split(np.array([1.0, 2.0, np.nan]))
    return {
        "rows": [len(own_part(tensor)) for tensor in tensors],
        "wholes": [whole(tensor) for tensor in tensors],
        "norms": norms_of_whole(part_norms([own_part(tensor) for tensor in tensors]), tensors[0]).tolist(),
        "total": {order: total_norm(tensors, order) for order in _ORDERS},
        "bad norm": {order: total_norm([tensors[0], bad], order) for order in _ORDERS},
        "finite": [all_finite(tensors[0]), all_finite(bad)],
        "own bad part is finite": bool(own_part(bad).isfinite().all()),
        "again": [torch.equal(own_part(split_like(whole(t), t)), own_part(t)) and is_split(t) for t in tensors],
        "lars": {variant: _lars(variant) for variant in _VARIANTS},
        "bad gradient": _bad_gradient(),
        "rank": rank(),
    }


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


def test_each_process_holds_its_rows_and_the_whole_comes_back(results: list[dict[str, Any]]) -> None:
    assert [result["rows"] for result in results] == [[3, 1, 1], [2, 0, 1]]
    for result in results:
        for actual, expected in zip(result["wholes"], _values(0), strict=True):
            assert np.array_equal(actual.numpy(), expected)
        assert result["again"] == [True, True, True]


def test_norms_are_those_of_the_whole_in_every_process(results: list[dict[str, Any]]) -> None:
    flat = np.concatenate([value.ravel() for value in _values(0)])
    for result in results:
        assert result["norms"] == pytest.approx([np.linalg.norm(value) for value in _values(0)], rel=1e-14)
        for order in _ORDERS:
            assert result["total"][order].item() == pytest.approx(np.linalg.norm(flat, order), rel=1e-14)


def test_what_is_not_finite_in_one_process_is_noticed_in_both(results: list[dict[str, Any]]) -> None:
    assert [result["own bad part is finite"] for result in results] == [True, False]
    for result in results:
        assert result["finite"] == [True, False]
        assert all(norm.isnan() for norm in result["bad norm"].values())
        message, weights = result["bad gradient"]
        assert message == "the gradient of weight is not finite (norm inf)"
        assert np.array_equal(weights[0].numpy(), _values(0)[0]) and torch.equal(weights[1], torch.ones(5))


@pytest.mark.parametrize("variant", _VARIANTS)
def test_lars_takes_the_papers_steps_with_the_norms_of_whole_tensors(
    results: list[dict[str, Any]], variant: str
) -> None:
    for number, start in enumerate(_values(0)):
        gradients = np.stack([_values(step + 1)[number].ravel() for step in range(len(_RATES))])
        options: dict[str, Any] = {"weight_decay": 0.1, "momentum": 0.9, "trust": 0.02, "nesterov": False}
        expected = lars_by_the_papers(start.ravel(), gradients, np.array(_RATES), variant=variant, **options)[-1]
        for result in results:
            actual = result["lars"][variant][number].numpy().ravel()
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)
