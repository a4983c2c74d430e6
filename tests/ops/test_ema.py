import pytest
import torch
from torch import nn

from selfsup.ops import cosine_momentum, ema_update
from tests.reference import record


def test_momentum_is_the_fraction_kept() -> None:
    check = record("ema/moco")
    teacher = torch.zeros((), dtype=torch.float64)
    for online, expected in zip(check["input"]["online"], check["expected"], strict=True):
        ema_update([teacher], [torch.tensor(online, dtype=torch.float64)], check["input"]["m"])
        assert float(teacher) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("momentum, follows", [(1.0, False), (0.0, True)])
def test_the_ends_keep_the_teacher_or_copy_the_student(momentum: float, follows: bool) -> None:
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    before = teacher.weight.detach().clone()
    ema_update(teacher.parameters(), student.parameters(), momentum)
    assert torch.equal(teacher.weight, student.weight if follows else before)


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_rejects_a_momentum_outside_zero_and_one(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\]"):
        ema_update([], [], momentum)


def test_rejects_networks_that_differ() -> None:
    with pytest.raises(ValueError, match="same shapes in the same order, got 1 and 2 parameters"):
        ema_update([torch.zeros(2)], [torch.zeros(2), torch.zeros(2)], 0.9)


def test_a_teacher_equal_to_its_student_stays_so_to_the_bit() -> None:
    student = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    teacher = student.clone()
    ema_update([teacher], [student], 0.999)
    assert torch.equal(teacher, student)


@pytest.mark.parametrize("base", ["0.97", "0.99", "0.996"])
def test_the_cosine_momentum_is_that_of_byols_code(base: str) -> None:
    check = record("byol/tau")
    found = [cosine_momentum(step / check["input"]["K"], start=float(base)) for step in check["input"]["k"]]
    assert found == pytest.approx(check["expected"][base], abs=check["tol"])
