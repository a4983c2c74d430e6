import numpy as np
import pytest
import torch

from selfsup.losses import NTXentLoss
from selfsup.methods import SimCLR
from selfsup.registry import METHODS
from tests.methods.tiny import Flatten
from tests.reference import record
from tests.reference.nt_xent import nt_xent_by_the_paper


def test_the_loss_is_that_of_the_two_views() -> None:
    z = np.array(record("ntxent/T0.1")["input"]["z"])
    method = SimCLR(Flatten(3), Flatten(3), NTXentLoss(0.1))
    views = [torch.tensor(z[:, view]).view(-1, 3, 1, 1) for view in (0, 1)]
    parts = method.loss(views)
    assert list(parts) == ["loss"]
    assert float(parts["loss"]) == pytest.approx(nt_xent_by_the_paper(z[:, 0], z[:, 1], 0.1), abs=1e-12)


@pytest.mark.parametrize("last_bn_bias", [False, True])
def test_the_whole_of_simclr_on_resnet50_has_the_recorded_number_of_parameters(last_bn_bias: bool) -> None:
    expected = record("params/ssl_r50")["expected"]
    without_biases = dict(bias=False, last_bn=True, last_bn_bias=last_bn_bias)
    with torch.device("meta"):
        method = METHODS.build(
            dict(
                type="SimCLR",
                backbone=dict(type="ResNet", depth=50),
                neck=dict(type="ProjectionNeck", hidden_dims=(2048,), out_dim=128, **without_biases),
                loss=dict(type="NTXentLoss", temperature=0.1),
            )
        )
    counted = sum(parameter.numel() for parameter in method.parameters())
    official = expected["resnet50_trunk"]["w1"] + expected["simclr_v1_head_tf"]
    # the last batch norm shifts in mmpretrain, and only scales in the official code
    assert counted == (expected["simclr_mmpretrain_total"] if last_bn_bias else official)
