import pytest
from torch import nn

from selfsup.layers import MLP


def _kinds(mlp: MLP) -> list[str]:
    return [type(layer).__name__ for layer in mlp]


def test_hidden_layers_have_norm_and_relu_and_the_last_neither() -> None:
    mlp = MLP(4, [5, 6], 3)
    assert _kinds(mlp) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert [layer.bias is not None for layer in mlp if isinstance(layer, nn.Linear)] == [True] * 3


def test_without_norm_only_linear_and_relu_are_left() -> None:
    assert _kinds(MLP(4, [5], 3, bn=False)) == ["Linear", "ReLU", "Linear"]


def test_the_last_bias_is_chosen_on_its_own() -> None:
    mlp = MLP(4, [5], 3, bias=True, last_bias=False)
    assert mlp[0].bias is not None
    assert mlp[-1].bias is None


@pytest.mark.parametrize("weight, bias", [(True, True), (True, False), (False, False)])
def test_the_last_norm_has_the_scale_and_shift_asked_for(weight: bool, bias: bool) -> None:
    norm = MLP(4, [], 3, last_bn=True, last_bn_weight=weight, last_bn_bias=bias)[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert (norm.weight is not None, norm.bias is not None) == (weight, bias)


def test_a_shift_without_scale_is_rejected() -> None:
    with pytest.raises(ValueError, match="last_bn_bias"):
        MLP(4, [], 3, last_bn=True, last_bn_weight=False)
