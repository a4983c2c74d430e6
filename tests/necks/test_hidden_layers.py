import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError
from selfsup.necks import HiddenLayers, ProjectionNeck

_SIMCLR = dict(bias=False)
_PLAIN = dict(bn=False)


@pytest.mark.parametrize("arguments, last", [(_SIMCLR, 3), (_PLAIN, 2)])
@pytest.mark.parametrize("kept", [1, 2])
def test_they_are_the_pretraining_neck_cut_off_after_a_relu(arguments: dict, last: int, kept: int) -> None:
    torch.manual_seed(0)
    whole = ProjectionNeck(6, (5, 4), 3, **arguments)
    part = HiddenLayers(6, (5, 4)[:kept], **arguments)
    part.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in part.state_dict()})
    features = torch.randn(7, 6)
    cut_off = nn.Sequential(*list(whole.mlp)[: last * kept])
    torch.testing.assert_close(part(features), cut_off(features), rtol=0, atol=0)
    assert isinstance(whole.mlp[last * kept - 1], nn.ReLU)
    assert part.out_dim == (5, 4)[kept - 1] and part.fresh_parts == ()


def test_fresh_batch_norm_comes_before_the_relu_and_leaves_the_kept_names_alone() -> None:
    torch.manual_seed(0)
    whole = ProjectionNeck(6, (5,), 3, bn=False)
    part = HiddenLayers(6, (5,), bn=False, fresh_bn=True)
    part.load_state_dict({name: t for name, t in whole.state_dict().items() if name in part.state_dict()}, strict=False)
    features = torch.randn(7, 6)
    linear = whole.mlp[0](features)
    expected = ((linear - linear.mean(0)) / (linear.var(0, unbiased=False) + 1e-5).sqrt()).relu()
    torch.testing.assert_close(part(features), expected)
    kept = {name for name in part.state_dict() if not name.startswith(part.fresh_parts)}
    assert kept == {"mlp.0.weight", "mlp.0.bias"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(hidden_dims=()), r"hidden_dims: must name at least one layer to keep"),
        (dict(hidden_dims=(0,)), r"hidden_dims: must be > 0, got \[0\]"),
        (dict(hidden_dims=(5,), fresh_bn=True), r"fresh_bn: the kept layers have batch norm already"),
    ],
)
def test_bad_arguments_are_named_with_their_place(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HiddenLayers(6, **arguments)
