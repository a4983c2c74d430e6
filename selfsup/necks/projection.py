"""Projection heads."""

from collections.abc import Sequence

from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.layers.mlp import MLP
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import NECKS


@NECKS.register_module()
class ProjectionNeck(nn.Module):
    """A multilayer perceptron from pooled features to embeddings.

    | paper | arguments |
    |---|---|
    | SwAV | ``hidden_dims=(2048,), out_dim=128`` |
    | SEER | ``hidden_dims=(8192, 8192), out_dim=256, bn=False`` |
    | SimCLR v1 | ``hidden_dims=(2048,), out_dim=128, bias=False, last_bn=True, last_bn_bias=False`` |
    | SimCLR v2 | ``hidden_dims=(2048, 2048), out_dim=128, bias=False, last_bn=True, last_bn_bias=False`` |
    | MoCo v2 | ``hidden_dims=(2048,), out_dim=128, bn=False`` |
    | BYOL | ``hidden_dims=(4096,), out_dim=256, last_bias=False`` |

    Args:
        in_dim: features of the backbone; in a config left out, the method fills in ``backbone.out_dim``.
        hidden_dims: features after each hidden layer; empty for a linear neck.
        out_dim: features of the embedding.
        bn: whether hidden layers have batch norm.
        bias: whether hidden linear layers have a bias.
        last_bias: whether the last linear layer has a bias; None does as the hidden ones.
        last_bn: whether batch norm follows the last linear layer.
        last_bn_weight: whether that batch norm is scaled.
        last_bn_bias: whether that batch norm is shifted.
        normalize: whether embeddings get unit length; the losses of contrastive methods and SwAV do so themselves.

    Raises:
        ConfigError: if a size is not positive, or the last batch norm has a shift and no scale.

    Source: SwAV and SEER heads as in main_swav.py and VISSL's swav_prototypes_head.py; SimCLR's as in tf2/model.py.
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
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.normalize = normalize
        try:
            self.mlp = MLP(
                in_dim,
                hidden_dims,
                out_dim,
                bn=bn,
                bias=bias,
                last_bias=last_bias,
                last_bn=last_bn,
                last_bn_weight=last_bn_weight,
                last_bn_bias=last_bn_bias,
            )
        except ValueError as error:
            raise ConfigError(f"model.neck.{error}") from None

    def forward(self, features: Tensor) -> Tensor:
        """Embed pooled features.

        Args:
            features: shape (B, in_dim).

        Returns:
            Embeddings, shape (B, out_dim).
        """
        embeddings = self.mlp(features)
        return l2_normalize(embeddings) if self.normalize else embeddings
