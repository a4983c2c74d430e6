import copy

import pytest
import torch

from selfsup.engine.optim.groups import parameter_groups
from selfsup.losses import NegativeCosineLoss
from selfsup.methods import SimSiam
from selfsup.registry import METHODS
from tests.methods.tiny import Flatten, TinyBackbone, images, recorded_embeddings
from tests.reference import record


def _tiny() -> SimSiam:
    torch.manual_seed(0)
    frozen = dict(last_bias=True, last_bias_frozen=True)
    last_bn = dict(last_bn=True, last_bn_weight=False, last_bn_bias=False)
    return METHODS.build(
        dict(
            type="SimSiam",
            backbone=dict(type=TinyBackbone),
            neck=dict(type="ProjectionNeck", hidden_dims=(6,), out_dim=4, bias=False, **frozen, **last_bn),
            predictor=dict(type="ProjectionNeck", hidden_dims=(3,), bias=False, last_bias=True),
            loss=dict(type="NegativeCosineLoss"),
        )
    )


def test_the_loss_is_that_of_the_official_code() -> None:
    views, predictor = recorded_embeddings("byol/loss")
    parts = SimSiam(Flatten(3), Flatten(3), predictor, NegativeCosineLoss()).loss(views)
    assert list(parts) == ["loss"]
    assert float(parts["loss"]) == pytest.approx(record("simsiam/loss")["expected"], abs=1e-9)


def test_the_gradient_is_that_against_constant_targets() -> None:
    method = _tiny().double()
    views = images(8, 8, dtype=torch.float64)
    other = copy.deepcopy(method)
    method.loss(views)["loss"].backward()
    with torch.no_grad():
        targets = [other.neck(other.backbone(view)) for view in views]
    cosines = [
        torch.nn.functional.cosine_similarity(other.predictor(other.neck(other.backbone(view))), target)
        for view, target in zip(views, reversed(targets), strict=True)
    ]
    (-(cosines[0].mean() + cosines[1].mean()) / 2).backward()
    for (name, parameter), expected in zip(method.named_parameters(), other.parameters(), strict=True):
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected.grad, msg=name)


def test_batch_norm_sees_one_view_at_a_time() -> None:
    method = _tiny()
    method.loss(images(8, 8))
    assert int(method.backbone.bn.num_batches_tracked) == 2
    assert method.backbone.sizes == [(4, 3, 8, 8)] * 2


def test_the_frozen_bias_is_the_only_parameter_that_is_not_trained() -> None:
    method = _tiny()
    method.loss(images(8, 8))["loss"].backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == ["neck.mlp.3.bias"]
    trained = {parameter for group in parameter_groups(method) for parameter in group["params"]}
    assert method.neck.mlp[3].bias not in trained
