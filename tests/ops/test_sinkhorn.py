import numpy as np
import pytest
import torch

from selfsup.ops import sinkhorn
from tests.reference import record
from tests.reference.sinkhorn import sinkhorn_by_the_paper


@pytest.mark.parametrize("name", ["eps0.05_it3", "eps0.05_it10", "eps0.03_it10", "eps0.5_it3"])
def test_gives_the_recorded_assignments(name: str) -> None:
    check = record(f"sinkhorn/{name}")
    scores = torch.tensor(check["input"]["scores"], dtype=torch.float64)
    actual = sinkhorn(scores, check["input"]["epsilon"], check["input"]["iters"])
    torch.testing.assert_close(actual, torch.tensor(check["expected"]["Q"], dtype=torch.float64), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        actual.sum(0), torch.tensor(check["expected"]["col_sums"], dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("batch, prototypes", [(8, 3), (3, 8), (1, 5), (4, 1), (64, 30)])
@pytest.mark.parametrize("epsilon, iterations", [(0.05, 3), (0.03, 10), (1.0, 1)])
def test_agrees_with_the_paper(batch: int, prototypes: int, epsilon: float, iterations: int) -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, (batch, prototypes))
    expected = torch.tensor(sinkhorn_by_the_paper(scores, epsilon, iterations))
    in_double = sinkhorn(torch.tensor(scores), epsilon, iterations)
    torch.testing.assert_close(in_double, expected, rtol=1e-9, atol=1e-12)
    in_single = sinkhorn(torch.tensor(scores, dtype=torch.float32), epsilon, iterations)
    torch.testing.assert_close(in_single.double(), expected, rtol=1e-4, atol=1e-6)


def test_samples_come_last_so_that_their_sums_are_one() -> None:
    check = record("sinkhorn/wrong_order")
    scores = torch.tensor(check["input"]["scores"], dtype=torch.float64)
    actual = sinkhorn(scores, check["input"]["epsilon"], check["input"]["iters"])
    torch.testing.assert_close(actual.sum(1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-14)
    assert not torch.allclose(actual, torch.tensor(check["expected"]["Q"], dtype=torch.float64), atol=1e-3)


def test_equal_scores_are_shared_out_evenly() -> None:
    check = record("sinkhorn/collapse")
    scores = torch.full((check["input"]["B"], check["input"]["K"]), 0.7, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores), torch.full_like(scores, check["expected"]["code"]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("epsilon", [0.05, 0.03])
def test_half_precision_scores_are_assigned_in_float32(dtype: torch.dtype, epsilon: float) -> None:
    limits = record("sinkhorn/fp16_overflow")["expected"]
    scores = torch.tensor([[1.0, 0.1, -0.3], [0.7, 0.6, 0.0], [-0.2, 1.0, 0.4], [0.5, -0.5, 1.0]], dtype=dtype)
    assert scores.max() > limits["fp16_max_score_eps005"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = sinkhorn(scores, epsilon)
    assert actual.dtype == torch.float32
    expected = sinkhorn_by_the_paper(scores.double().numpy(), epsilon, 3)
    torch.testing.assert_close(actual.double(), torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_scores_beyond_the_range_of_float32_do_not_overflow() -> None:
    scores = np.random.default_rng(1).uniform(3, 6, (6, 4))  # exp(6 / 0.05) is 1e52
    actual = sinkhorn(torch.tensor(scores, dtype=torch.float32))
    expected = torch.tensor(sinkhorn_by_the_paper(scores, 0.05, 3))
    torch.testing.assert_close(actual.double(), expected, rtol=1e-3, atol=1e-6)


def test_double_scores_give_double_assignments_without_gradient_and_stay_as_they_are() -> None:
    scores = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    before = scores.detach().clone()
    assignments = sinkhorn(scores)
    assert assignments.dtype == torch.float64 and not assignments.requires_grad
    assert torch.equal(scores, before)


def test_a_constant_added_to_all_scores_or_to_a_prototype_changes_nothing() -> None:
    scores = torch.rand(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = sinkhorn(scores)
    torch.testing.assert_close(sinkhorn(scores + 3), expected, rtol=1e-9, atol=1e-12)
    shifted = scores + torch.tensor([0.0, 40.0, -40.0, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(shifted), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "scores, epsilon, iterations, message",
    [
        (torch.zeros(3), 0.05, 3, r"scores must have shape \(samples, prototypes\), got \(3,\)"),
        (torch.zeros(0, 3), 0.05, 3, r"got \(0, 3\)"),
        (torch.zeros(2, 3), 0.0, 3, "epsilon must be > 0, got 0.0"),
        (torch.zeros(2, 3), 0.05, 0, "iterations must be >= 1, got 0"),
    ],
)
def test_rejects(scores: torch.Tensor, epsilon: float, iterations: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sinkhorn(scores, epsilon, iterations)
