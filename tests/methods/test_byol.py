import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.losses import CosineLoss
from selfsup.methods import BYOL, Progress
from selfsup.necks import ProjectionNeck
from selfsup.registry import METHODS
from tests.methods.tiny import Flatten, TinyBackbone, images, recorded_embeddings
from tests.reference import record


def _tiny(**arguments: str) -> BYOL:
    torch.manual_seed(0)
    return METHODS.build(
        dict(
            type="BYOL",
            backbone=dict(type=TinyBackbone),
            neck=dict(type="ProjectionNeck", hidden_dims=(6,), out_dim=4, last_bias=False),
            predictor=dict(type="ProjectionNeck", hidden_dims=(6,), last_bias=False),
            loss=dict(type="CosineLoss"),
            **arguments,
        )
    )


def test_the_loss_is_that_of_the_official_code() -> None:
    views, predictor = recorded_embeddings("byol/loss")
    parts = BYOL(Flatten(3), Flatten(3), predictor, CosineLoss(), teacher_init="copy").loss(views)
    assert list(parts) == ["loss"]
    assert float(parts["loss"]) == pytest.approx(record("byol/loss")["expected"]["official"], abs=1e-9)


def test_the_teacher_follows_the_new_weights_after_the_step() -> None:
    check = record("ema/order")
    method = _tiny(momentum=check["input"]["tau"]).double()
    student, teacher = method.neck.mlp[0].weight, method.teacher.neck.mlp[0].weight
    with torch.no_grad():
        student.fill_(check["input"]["online_before"]), teacher.fill_(check["input"]["target"])
        method.before_step(Progress(0, 1000, 0, 10))
        student.fill_(check["input"]["online_after"])
        method.after_step(Progress(0, 1000, 0, 10))
    torch.testing.assert_close(teacher, torch.full_like(teacher, check["expected"]["official_after_step"]))


@pytest.mark.parametrize("index", range(7))
def test_tau_is_that_of_the_official_code(index: int) -> None:
    check = record("byol/tau")
    method = _tiny().double()  # 0.996
    weight = method.teacher.neck.mlp[0].weight
    with torch.no_grad():
        method.neck.mlp[0].weight.fill_(0), weight.fill_(1)
    method.after_step(Progress(check["input"]["k"][index], check["input"]["K"], 0, 10))
    torch.testing.assert_close(weight, torch.full_like(weight, check["expected"]["0.996"][index]), rtol=0, atol=1e-12)


def test_both_networks_see_one_view_at_a_time_and_are_in_training_mode() -> None:
    method = _tiny()
    views = images(8, 8)
    method.loss(views)
    for bn in (method.backbone.bn, method.teacher.backbone.bn):
        assert int(bn.num_batches_tracked) == 2
    first, second = (method.teacher.backbone.conv(view).mean((0, 2, 3)) for view in views)
    torch.testing.assert_close(method.teacher.backbone.bn.running_mean, 0.9 * 0.1 * first + 0.1 * second)


def test_a_fresh_teacher_has_weights_of_its_own_and_a_copy_the_students() -> None:
    fresh, copied = _tiny(), _tiny(teacher_init="copy")
    assert torch.equal(copied.teacher.backbone.conv.weight, copied.backbone.conv.weight)
    assert not torch.equal(fresh.teacher.backbone.conv.weight, fresh.backbone.conv.weight)
    assert torch.equal(fresh.backbone.conv.weight, copied.backbone.conv.weight)
    assert list(fresh.state_dict()) == list(copied.state_dict())
    assert not any(parameter.requires_grad for parameter in fresh.teacher.parameters())


@pytest.mark.parametrize(
    "backbone, neck, message",
    [
        (TinyBackbone(), dict(type="ProjectionNeck", hidden_dims=(), out_dim=4), r"backbone: .*TinyBackbone"),
        (dict(type=TinyBackbone), ProjectionNeck(8, (), 4), r"neck: .*ProjectionNeck"),
    ],
)
def test_a_fresh_teacher_cannot_be_made_of_parts_that_are_built_already(backbone, neck, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message + " that is built already; pass the dict, or teacher_init='copy'"):
        BYOL(backbone, neck, ProjectionNeck(4, (), 4), CosineLoss())
