"""Linear layers with batch norm and ReLU between them."""

from collections.abc import Sequence

from torch import nn

from selfsup.errors import ConfigError, require


class MLP(nn.Sequential):
    """Linear, optional batch norm, ReLU; repeated, without the ReLU after the last.

    Args:
        in_dim: input features.
        hidden_dims: features after each hidden layer; may be empty.
        out_dim: output features.
        bn: whether hidden layers have batch norm.
        bias: whether hidden linear layers have a bias.
        last_bias: whether the last linear layer has a bias; None does as the hidden ones.
        last_bn: whether batch norm follows the last linear layer.
        last_bn_weight: whether that batch norm is scaled.
        last_bn_bias: whether that batch norm is shifted.

    Raises:
        ConfigError: if a size is not positive, or only the shift of the last batch norm is wanted.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dims: Sequence[int],
        out_dim: int,
        *,
        bn: bool = True,
        bias: bool = True,
        last_bias: bool | None = None,
        last_bn: bool = False,
        last_bn_weight: bool = True,
        last_bn_bias: bool = True,
    ) -> None:
        layers = hidden_layers(in_dim, hidden_dims, bn=bn, bias=bias)
        require(out_dim >= 1, "out_dim", "must be > 0", got=out_dim)
        if last_bn_bias and not last_bn_weight:
            raise ConfigError.at("last_bn_bias", "a batch norm with shift and without scale is not supported")
        features = [in_dim, *hidden_dims][-1]
        layers.append(nn.Linear(features, out_dim, bias=bias if last_bias is None else last_bias))
        if last_bn:
            norm = nn.BatchNorm1d(out_dim, affine=last_bn_weight)
            if not last_bn_bias:
                norm.register_parameter("bias", None)
            layers.append(norm)
        super().__init__(*layers)


def hidden_layers(in_dim: int, hidden_dims: Sequence[int], *, bn: bool, bias: bool) -> list[nn.Module]:
    """Linear, optional batch norm, ReLU; repeated.

    Args:
        in_dim: input features.
        hidden_dims: features after each layer; may be empty.
        bn: whether there is batch norm.
        bias: whether linear layers have a bias.

    Raises:
        ConfigError: if a size is not positive.
    """
    require(in_dim >= 1, "in_dim", "must be > 0", got=in_dim)
    if any(hidden_dim < 1 for hidden_dim in hidden_dims):
        raise ConfigError.at("hidden_dims", "must be > 0", got=list(hidden_dims))
    layers: list[nn.Module] = []
    features = in_dim
    for hidden_dim in hidden_dims:
        layers.append(nn.Linear(features, hidden_dim, bias=bias))
        if bn:
            layers.append(nn.BatchNorm1d(hidden_dim))
        layers.append(nn.ReLU(inplace=True))
        features = hidden_dim
    return layers
