import numpy as np
import pytest
import torch

from selfsup.losses import InBatchInfoNCELoss
from selfsup.methods import MoCoV3, Progress
from selfsup.necks import ProjectionNeck
from tests.methods.tiny import Flatten, TinyBackbone, images
from tests.reference.moco import in_batch_by_the_paper


def _linear(dim: int) -> ProjectionNeck:
    return ProjectionNeck(dim, (), dim, bias=False)


def _tiny(*, momentum: float = 0.99, end_momentum: float = 1.0) -> MoCoV3:
    torch.manual_seed(0)
    neck, predictor = ProjectionNeck(8, (6,), 4), ProjectionNeck(4, (6,), 4)
    return MoCoV3(
        TinyBackbone(), neck, predictor, InBatchInfoNCELoss(0.2), momentum=momentum, end_momentum=end_momentum
    )


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_the_loss_is_the_papers_in_both_directions(temperature: float) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 6, 5))
    torch.manual_seed(0)
    method = MoCoV3(Flatten(5), _linear(5), _linear(5), InBatchInfoNCELoss(temperature)).double()
    with torch.no_grad():
        method.neck.mlp[0].weight.mul_(torch.rand(5, 5, dtype=torch.float64))  # no longer the teacher's
    project, predict, teach = (
        neck.mlp[0].weight.detach().numpy() for neck in (method.neck, method.predictor, method.teacher.neck)
    )
    predictions = [view @ project.T @ predict.T for view in (first, second)]
    keys = [view @ teach.T for view in (first, second)]
    expected = sum(in_batch_by_the_paper(predictions[a], keys[1 - a], temperature) for a in (0, 1))
    parts = method.loss([torch.tensor(view).view(6, 5, 1, 1) for view in (first, second)])
    assert list(parts) == ["loss"]
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_batch_norm_sees_one_view_at_a_time() -> None:
    method = _tiny()
    method.loss(images(8, 8))
    assert int(method.backbone.bn.num_batches_tracked) == int(method.teacher.backbone.bn.num_batches_tracked) == 2
    assert method.backbone.sizes == [(4, 3, 8, 8)] * 2


@pytest.mark.parametrize("step, kept", [(0, 0.99), (500, 0.995), (1000, 1.0)])
def test_the_teacher_follows_before_the_step_with_a_rising_momentum(step: int, kept: float) -> None:
    method = _tiny()
    weight = method.teacher.neck.mlp[0].weight
    with torch.no_grad():
        method.neck.mlp[0].weight.fill_(0), weight.fill_(1)
    method.after_step(Progress(step, 1000, 0, 10))
    assert weight.eq(1).all()
    method.before_step(Progress(step, 1000, 0, 10))
    torch.testing.assert_close(weight, torch.full_like(weight, kept), rtol=1e-6, atol=0)
