"""Projection and prediction heads."""

from collections.abc import Sequence

from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.layers.mlp import MLP
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import NECKS


@NECKS.register_module()
class ProjectionNeck(nn.Module):
    """A multilayer perceptron from pooled features to embeddings, or from embeddings to predictions of embeddings.

    | paper | arguments |
    |---|---|
    | SwAV | ``hidden_dims=(2048,), out_dim=128`` |
    | SEER | ``hidden_dims=(8192, 8192), out_dim=256, bn=False`` |
    | SimCLR v1 | ``hidden_dims=(2048,), out_dim=128, bias=False, last_bn=True, last_bn_bias=False`` |
    | SimCLR v2 | ``hidden_dims=(2048, 2048), out_dim=128, bias=False, last_bn=True, last_bn_bias=False`` |
    | MoCo v2 | ``hidden_dims=(2048,), out_dim=128, bn=False`` |
    | MoCo v3 | ``hidden_dims=(4096,), out_dim=256, bias=False``, and a last batch norm without scale and shift |
    | BYOL | ``hidden_dims=(4096,), out_dim=256, last_bias=False``; its predictor has the same layers |
    | SimSiam | as MoCo v3 with ``hidden_dims=(2048, 2048), out_dim=2048, last_bias=True, last_bias_frozen=True`` |
    | SimSiam's predictor | ``hidden_dims=(512,), bias=False, last_bias=True`` |

    Args:
        in_dim: features of the backbone; in a config left out, the method fills in ``backbone.out_dim``, or
            ``neck.out_dim`` for a predictor.
        hidden_dims: features after each hidden layer; empty for a linear neck.
        out_dim: features of the embedding; left out for a predictor, which gives what it is given.
        bn: whether hidden layers have batch norm.
        bias: whether hidden linear layers have a bias.
        last_bias: whether the last linear layer has a bias; None does as the hidden ones.
        last_bias_frozen: whether that bias keeps its first value, as in SimSiam's code, where the batch norm after it
            takes it out again.
        last_bn: whether batch norm follows the last linear layer.
        last_bn_weight: whether that batch norm is scaled.
        last_bn_bias: whether that batch norm is shifted.
        normalize: whether embeddings get unit length; the losses of contrastive methods and SwAV do so themselves.

    Raises:
        ConfigError: if a size is not positive, the last batch norm has a shift and no scale, or a bias that is not
            there is to be frozen.

    Source: SwAV and SEER heads as in main_swav.py and VISSL's swav_prototypes_head.py; SimCLR's as in tf2/model.py;
        those of MoCo v2 and v3 and of SimSiam as in their builder.py; BYOL's as in utils/networks.py.
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
        last_bias_frozen: bool = False,
        last_bn: bool = False,
        last_bn_weight: bool = True,
        last_bn_bias: bool = True,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.normalize = normalize
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
        if last_bias_frozen:
            last = [layer for layer in self.mlp if isinstance(layer, nn.Linear)][-1]
            if last.bias is None:
                raise ConfigError.at("last_bias_frozen", "the last linear layer has no bias to freeze")
            last.bias.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Embed pooled features.

        Args:
            features: shape (B, in_dim).

        Returns:
            Embeddings, shape (B, out_dim).
        """
        embeddings = self.mlp(features)
        return l2_normalize(embeddings) if self.normalize else embeddings
