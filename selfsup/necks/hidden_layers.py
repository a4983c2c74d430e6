"""The first layers of a projection head, kept for fine-tuning."""

from collections.abc import Sequence

from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.layers.mlp import hidden_layers
from selfsup.registry import NECKS


@NECKS.register_module()
class HiddenLayers(nn.Module):
    """The first hidden layers of a :class:`~selfsup.necks.ProjectionNeck`, under the same names.

    Put between a backbone and a classifier, they let fine-tuning set out from the middle of the pretraining head.

    | paper | pretraining neck | arguments |
    |---|---|---|
    | SimCLR v2 | ``hidden_dims=(2048, 2048), bias=False, ...`` | ``hidden_dims=(2048,), bias=False`` |
    | SEER | ``hidden_dims=(8192, 8192), bn=False, ...`` | ``hidden_dims=(8192,), bn=False, fresh_bn=True`` |

    Args:
        in_dim: features of the backbone; in a config left out, the method fills in ``backbone.out_dim``.
        hidden_dims: features after each kept layer, the first ones of the pretraining neck's ``hidden_dims``.
        bn: as in the pretraining neck.
        bias: as in the pretraining neck.
        fresh_bn: put batch norm before each ReLU where the pretraining neck has none; it starts fresh.

    Attributes:
        fresh_parts: names of the submodules that no pretraining neck has.

    Raises:
        ConfigError: if there is no layer, a size is not positive, or ``fresh_bn`` meets a neck that has batch norm.

    Source: Chen et al. 2020, arXiv:2006.10029, section 2, and ft_proj_selector in google-research/simclr tf2/model.py;
        SEER: VISSL's configs/config/benchmark/fulltune/imagenet1k/models/regnet256Gf_swav_head.yaml.
    """

    def __init__(
        self, in_dim: int, hidden_dims: Sequence[int], *, bn: bool = True, bias: bool = True, fresh_bn: bool = False
    ) -> None:
        super().__init__()
        if not hidden_dims:
            raise ConfigError.at(
                "hidden_dims", "must name at least one layer to keep", expected="leave out the neck for none"
            )
        if bn and fresh_bn:
            raise ConfigError.at("fresh_bn", "the kept layers have batch norm already (bn=True)")
        self.in_dim = in_dim
        self.out_dim = hidden_dims[-1]
        self.fresh_parts: tuple[str, ...] = ("norms",) if fresh_bn else ()
        self.mlp = nn.Sequential(*hidden_layers(in_dim, hidden_dims, bn=bn, bias=bias))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in hidden_dims) if fresh_bn else None

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features, shape (B, in_dim), to those after the last kept layer, shape (B, out_dim)."""
        if self.norms is None:
            return self.mlp(features)
        norms = iter(self.norms)
        for layer in self.mlp:
            features = layer(features)
            if isinstance(layer, nn.Linear):
                features = next(norms)(features)
        return features
