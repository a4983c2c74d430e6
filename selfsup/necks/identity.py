"""No projection head."""

from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.registry import NECKS


@NECKS.register_module()
class Identity(nn.Module):
    """Embeddings are the pooled features as they are: what a projection head is compared with.

    Args:
        in_dim: features of the backbone; in a config left out, the method fills in ``backbone.out_dim``.
        out_dim: the same, or left out.

    Raises:
        ConfigError: if ``out_dim`` is another number.

    Source: Chen et al. 2020, arXiv:2002.05709, figure 8, 'None'.
    """

    def __init__(self, in_dim: int, out_dim: int | None = None) -> None:
        super().__init__()
        if out_dim not in (None, in_dim):
            raise ConfigError.at("out_dim", "must be that of the features", got=out_dim, expected=str(in_dim))
        self.in_dim = self.out_dim = in_dim

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features, shape (B, in_dim), unchanged."""
        return features
