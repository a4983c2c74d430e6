import copy

import pytest
import torch
from torch import nn

from selfsup.backbones import RegNet
from selfsup.errors import ConfigError
from selfsup.losses import CrossEntropyLoss
from selfsup.methods import LinearHeads
from selfsup.transfer.linear_sgd import folded
from selfsup.weights.digest import fingerprint

NETWORK = {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8}
IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def heads(**changes: object) -> LinearHeads:
    torch.manual_seed(0)
    return LinearHeads(RegNet(**NETWORK), 3, CrossEntropyLoss(), **changes)


def trained(method: LinearHeads, rates: list[float]) -> LinearHeads:
    groups = [{"params": head.parameters(), "lr": rate} for head, rate in zip(method.heads, rates, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    method.train()
    for _ in range(3):
        optimizer.zero_grad()
        method.loss([IMAGES], LABELS)["loss"].backward()
        optimizer.step()
    return method


@pytest.mark.parametrize("bn", [False, True])
def test_heads_side_by_side_learn_what_each_would_alone(bn: bool) -> None:
    together = heads(copies=2, bn=bn)
    for number, rate in enumerate((0.05, 0.5)):
        alone = heads(bn=bn)
        alone.heads[0].load_state_dict(copy.deepcopy(together.heads[number].state_dict()))
        alone = trained(alone, [rate])
        both = trained(copy.deepcopy(together), [0.05, 0.5])
        for name, tensor in alone.heads[0].state_dict().items():
            torch.testing.assert_close(both.heads[number].state_dict()[name], tensor, msg=name)


def test_the_trunk_does_not_change_and_has_no_gradient() -> None:
    method = heads(layers=("res4:2x1", "pooled"), image_size=32)
    before = fingerprint(method.backbone)
    trained(method, [0.1, 0.1])
    assert fingerprint(method.backbone) == before
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    assert not any(module.training for module in method.backbone.modules())


def test_batch_norm_of_a_map_is_one_for_each_channel_as_vissls() -> None:
    method = heads(layers=("res4:2x1",), image_size=32, bn=True).train()
    map4 = method.backbone.feature_maps(IMAGES)[2].detach()
    pooled = nn.AdaptiveAvgPool2d((2, 1))(map4)
    theirs = nn.Sequential(nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(32, 3))
    theirs[-1].load_state_dict(method.heads[0][-1].state_dict())
    torch.testing.assert_close(method.heads[0](pooled.flatten(1)), theirs(pooled))
    with torch.no_grad():
        one = folded(method.eval().heads[0])
    assert len(one) == 1
    torch.testing.assert_close(one(pooled.flatten(1)), theirs.eval()(pooled))


def test_flattened_maps_have_their_own_length_and_need_the_images_side() -> None:
    method = heads(layers=("res4:2x1", "res5", "pooled"), image_size=32)
    assert [head[-1].in_features for head in method.heads] == [32, 16, 16]
    assert method.head_layers == ["res4:2x1", "res5", "pooled"]
    with pytest.raises(ConfigError) as caught:
        heads(layers=("res4",))
    assert caught.value.problems[0].path == "image_size"
