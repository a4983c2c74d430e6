import torch
from torch import nn

from selfsup.methods import Teacher
from selfsup.necks import ProjectionNeck
from tests.methods.tiny import TinyBackbone, images


def _student() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return TinyBackbone(), ProjectionNeck(8, (6,), 4)


def test_a_copy_gives_what_its_student_gives_and_shares_nothing_with_it() -> None:
    backbone, neck = _student()
    teacher = Teacher.copy_of(backbone, neck)
    view = images(8)[0]
    assert torch.equal(teacher(view), neck(backbone(view)))
    storages = {parameter.data_ptr() for module in (backbone, neck) for parameter in module.parameters()}
    assert not storages & {parameter.data_ptr() for parameter in teacher.parameters()}


def test_parameters_follow_and_running_statistics_do_not() -> None:
    backbone, neck = _student()
    teacher = Teacher.copy_of(backbone, neck)
    backbone(images(8)[0])  # the student's statistics move
    statistics = [buffer.clone() for buffer in teacher.buffers()]
    before = [parameter.clone() for parameter in teacher.parameters()]
    students = [*backbone.parameters(), *neck.parameters()]
    with torch.no_grad():
        for parameter in students:
            parameter.add_(torch.randn_like(parameter))
    teacher.follow(backbone, neck, 0.75)
    for old, new, student in zip(before, teacher.parameters(), students, strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * student)
    assert all(torch.equal(old, new) for old, new in zip(statistics, teacher.buffers(), strict=True))


def test_its_statistics_come_from_its_own_forward_passes_in_training_mode() -> None:
    backbone, neck = _student()
    teacher = Teacher.copy_of(backbone, neck)
    view = images(8)[0]
    teacher(view)
    assert int(teacher.backbone.bn.num_batches_tracked) == 1
    assert int(backbone.bn.num_batches_tracked) == 0
    torch.testing.assert_close(teacher.backbone.bn.running_mean, 0.1 * backbone.conv(view).mean((0, 2, 3)))
    teacher.eval()(view)
    assert int(teacher.backbone.bn.num_batches_tracked) == 1
