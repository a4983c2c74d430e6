import numpy as np
import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.losses import InfoNCELoss
from selfsup.methods import MoCo, Progress
from selfsup.necks import ProjectionNeck
from tests.methods.tiny import Flatten, TinyBackbone, images
from tests.reference import record
from tests.reference.moco import RingByTheCode, info_nce_by_the_paper, unit


def _tiny(*, queue_length: int = 12, momentum: float = 0.9) -> MoCo:
    torch.manual_seed(0)
    neck = ProjectionNeck(8, (6,), 4)
    return MoCo(TinyBackbone(), neck, InfoNCELoss(0.2), queue_length=queue_length, momentum=momentum)


def _progress(step: int = 0) -> Progress:
    return Progress(step, 100, 0, 10)


@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_loss_and_queue_are_the_papers_over_many_steps(temperature: float) -> None:
    generator = np.random.default_rng(0)
    method = MoCo(Flatten(5), Flatten(5), InfoNCELoss(temperature), queue_length=12).double()
    reference = RingByTheCode(unit(method.queue.rows.numpy()))
    method.queue.rows.copy_(torch.tensor(reference.rows))  # of unit length in float64 too
    for step in range(7):  # the ring is full after three
        q, k = generator.normal(size=(2, 4, 5))
        method.before_step(_progress(step))
        parts = method.loss([torch.tensor(view).view(4, 5, 1, 1) for view in (q, k)])
        assert list(parts) == ["loss"]
        expected = info_nce_by_the_paper(q, k, reference.rows, temperature)
        assert float(parts["loss"]) == pytest.approx(expected, rel=1e-9), f"step {step}"
        reference.push(unit(k))
        torch.testing.assert_close(method.queue.rows, torch.tensor(reference.rows))
        assert int(method.queue.pointer) == reference.pointer


def test_the_first_view_asks_and_only_the_student_learns() -> None:
    method = _tiny()
    views = images(8, 8)
    expected = method.neck(method.backbone(views[0]))
    keys = method.teacher(views[1])
    torch.testing.assert_close(
        method.loss(views)["loss"], InfoNCELoss(0.2)(expected, keys, _tiny().queue.rows), rtol=1e-5, atol=0
    )
    method.loss(views)["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert all(gradient is None for name, gradient in gradients.items() if name.startswith("teacher."))
    assert all(gradient.any() for name, gradient in gradients.items() if not name.startswith("teacher."))


def test_the_teacher_follows_the_student_as_the_step_before_left_it() -> None:
    check = record("ema/moco")
    method = MoCo(Flatten(1), ProjectionNeck(1, (), 1, bias=False), InfoNCELoss(0.2), queue_length=4).double()
    student, teacher = method.neck.mlp[0].weight, method.teacher.neck.mlp[0].weight
    assert method.momentum == check["input"]["m"]
    torch.nn.init.zeros_(teacher)
    for step, (online, expected) in enumerate(zip(check["input"]["online"], check["expected"], strict=True)):
        torch.nn.init.constant_(student, online)
        method.after_step(_progress(step))
        method.before_step(_progress(step + 1))
        assert float(teacher) == pytest.approx(expected, abs=check["tol"])


def test_on_one_process_the_official_shuffle_would_change_no_key() -> None:
    method = _tiny().double()
    view = images(8, batch=6, dtype=torch.float64)[0]
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(method.teacher(view[order])[order.argsort()], method.teacher(view))


@pytest.mark.parametrize(
    "length, nearest", [(10, "the nearest are 8 and 12"), (3, "the nearest is 4"), (4095, "are 4,092 and 4,096")]
)
def test_a_queue_that_does_not_hold_whole_batches_is_rejected_with_lengths_that_do(length: int, nearest: str) -> None:
    method = _tiny(queue_length=length)
    for reject in (
        lambda: method.loss(images(8, 8)),
        lambda: method.check_batch(4, 1),
        lambda: method.check_batch(1, 4),
    ):
        with pytest.raises(ConfigError) as caught:
            reject()
        assert str(caught.value).startswith(
            f"queue_length: must be a multiple of the batch of all processes, 4 images, got {length}; "
        )
        assert str(caught.value).endswith(nearest)
    assert int(method.queue.pointer) == 0
