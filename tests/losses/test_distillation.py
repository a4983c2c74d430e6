import numpy as np
import pytest
import torch

from selfsup.losses import DistillationLoss
from tests.reference.cross_entropy import softmax_by_the_definition


def _scores() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(0, 3, (4, 6)), generator.normal(0, 3, (4, 6))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_it_agrees_with_equation_2(temperature: float) -> None:
    student, teacher = _scores()
    p_teacher = softmax_by_the_definition(teacher, temperature)
    p_student = softmax_by_the_definition(student, temperature)
    expected = 0.0
    for b in range(4):
        for y in range(6):
            expected -= p_teacher[b, y] * np.log(p_student[b, y]) / 4
    loss = DistillationLoss(temperature)(torch.tensor(student), torch.tensor(teacher))
    assert float(loss) == pytest.approx(expected, rel=1e-10)
    official = DistillationLoss(temperature, official_factor=True)(torch.tensor(student), torch.tensor(teacher))
    assert float(official) == pytest.approx(temperature**2 * expected, rel=1e-10)


def test_a_student_that_agrees_has_the_teacher_s_entropy_and_no_gradient() -> None:
    teacher = torch.tensor(_scores()[1])
    student = teacher.clone().requires_grad_()
    loss = DistillationLoss(2.0)(student, teacher)
    loss.backward()
    probabilities = (teacher / 2.0).softmax(1)
    torch.testing.assert_close(loss.detach(), torch.special.entr(probabilities).sum(1).mean())
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher), rtol=0, atol=1e-15)
