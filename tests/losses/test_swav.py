import math

import numpy as np
import pytest
import torch

from selfsup.losses import SwAVLoss
from selfsup.registry import LOSSES
from tests.reference import record
from tests.reference.swav import swav_loss_by_the_paper


def _double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", ["swav/loss_2crops", "swav/loss_3crops", "swav/loss_3crops_seer"])
def test_gives_the_recorded_loss(name: str) -> None:
    check = record(name)
    given = check["input"]
    loss = LOSSES.build(
        dict(type="SwAVLoss", temperature=given["temperature"], epsilon=given["epsilon"], iterations=given["iters"])
    )
    actual = loss([_double(scores) for scores in given["scores"]])
    assert float(actual) == pytest.approx(check["expected"], abs=1e-12)


def test_gives_the_recorded_assignments_with_a_queue_in_front() -> None:
    check = record("sinkhorn/with_queue")
    given = check["input"]
    loss = SwAVLoss(0.1, given["epsilon"], given["iters"], assign_views=(0,))
    assignments = loss.assign([_double(given["scores"])] * 2, [_double(given["queue_scores"])])
    torch.testing.assert_close(assignments[0], _double(check["expected"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("views, assign_views, queued", [(2, (0, 1), 0), (6, (0, 1), 0), (4, (0, 1), 5), (3, (2,), 3)])
def test_agrees_with_the_paper(views: int, assign_views: tuple[int, ...], queued: int) -> None:
    generator = np.random.default_rng(0)
    scores = [generator.uniform(-1, 1, (7, 5)) for _ in range(views)]
    queue = [generator.uniform(-1, 1, (queued, 5)) for _ in assign_views] if queued else None
    expected = swav_loss_by_the_paper(
        scores, temperature=0.1, epsilon=0.05, iterations=3, assign_views=assign_views, queue_scores=queue
    )
    loss = SwAVLoss(assign_views=assign_views)
    actual = loss([_double(s) for s in scores], [_double(s) for s in queue] if queue else None)
    assert float(actual) == pytest.approx(expected, rel=1e-9)
    in_single = loss([_double(s).float() for s in scores], [_double(s).float() for s in queue] if queue else None)
    assert float(in_single) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("prototypes, key", [(7, "loss_lnK7"), (3000, "loss_ln3000"), (16000, "loss_ln16000")])
def test_a_collapsed_model_has_the_logarithm_of_the_number_of_prototypes(prototypes: int, key: str) -> None:
    expected = record("sinkhorn/collapse")["expected"][key]
    assert expected == pytest.approx(math.log(prototypes))
    scores = torch.full((5, prototypes), 0.4, dtype=torch.float64)
    assert float(SwAVLoss()([scores, scores, scores])) == pytest.approx(expected, abs=1e-9)


def test_no_gradient_flows_through_assignments() -> None:
    torch.manual_seed(0)
    scores = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    loss = SwAVLoss(assign_views=(0,))
    loss(scores).backward()
    assert scores[0].grad is None or not scores[0].grad.any()
    assignment = loss.assign(scores)[0]
    expected = ((scores[1] / 0.1).softmax(1) - assignment) / 0.1 / 4  # of a cross entropy, averaged over the batch
    torch.testing.assert_close(scores[1].grad, expected.detach())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(temperature=0.0), "temperature: must be > 0, got 0.0"),
        (dict(epsilon=-1.0), "epsilon: must be > 0, got -1.0"),
        (dict(iterations=0), "iterations: must be > 0, got 0"),
        (dict(assign_views=()), r"assign_views: must be different view indices >= 0, got \(\)"),
        (dict(assign_views=(0, 0)), "assign_views"),
        (dict(assign_views=(-1,)), "assign_views"),
    ],
)
def test_rejects_parameters_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SwAVLoss(**arguments)


@pytest.mark.parametrize("views, assign_views, needed", [(1, (0,), 2), (2, (0, 2), 3)])
def test_rejects_too_few_views(views: int, assign_views: tuple[int, ...], needed: int) -> None:
    with pytest.raises(ValueError, match=f"needs at least {needed} views, got {views}"):
        SwAVLoss(assign_views=assign_views)([torch.zeros(2, 3)] * views)
