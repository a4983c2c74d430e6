import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.registry import METHODS, NECKS


def test_without_a_head_the_loss_sees_the_features() -> None:
    neck = NECKS.build(dict(type="Identity", in_dim=8))
    features = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert neck(features) is features and not list(neck.parameters())
    backbone = dict(type="RegNet", depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), group_width=8)
    loss = dict(type="NTXentLoss", temperature=0.2)
    method = METHODS.build(dict(type="SimCLR", backbone=backbone, neck=dict(type="Identity"), loss=loss))
    assert method.neck.out_dim == method.backbone.out_dim == 16


def test_another_width_than_the_features_is_rejected() -> None:
    with pytest.raises(ConfigError) as caught:
        NECKS.build(dict(type="Identity", in_dim=8, out_dim=16))
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("out_dim", 16)
