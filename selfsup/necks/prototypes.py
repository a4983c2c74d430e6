"""Prototype vectors that embeddings are scored against."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.precision import at_least_float32, without_autocast
from selfsup.registry import NECKS


@NECKS.register_module()
class Prototypes(nn.Module):
    """A linear layer without bias whose rows are the prototypes.

    Scores are computed in float32 or better under autocast too: they are divided by temperatures as small as 0.03, so
    that bfloat16's rounding of a cosine near 1 (0.004) would change assignments by more than a tenth.

    Args:
        in_dim: features of an embedding; in a config left out, the method fills in ``neck.out_dim``.
        num_prototypes: number of prototypes K.

    Attributes:
        weight: the prototypes, shape (K, in_dim).

    Raises:
        ConfigError: if a size is not positive.
    """

    def __init__(self, in_dim: int, num_prototypes: int) -> None:
        super().__init__()
        for name, size in (("in_dim", in_dim), ("num_prototypes", num_prototypes)):
            require(size >= 1, name, "must be > 0", got=size)
        self.in_dim = in_dim
        self.out_dim = num_prototypes
        self.weight = nn.Parameter(torch.empty(num_prototypes, in_dim))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # nn.Linear's, as in the reference code

    def forward(self, embeddings: Tensor) -> Tensor:
        """Score embeddings against every prototype.

        Args:
            embeddings: shape (B, in_dim); of unit length where scores are meant to be cosines.

        Returns:
            Scores, shape (B, K), float32 or better.
        """
        with without_autocast(embeddings):
            weight = at_least_float32(self.weight)
            return F.linear(embeddings.to(weight.dtype), weight)

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale every prototype to unit length, in place; the optimizer's momentum stays as it is."""
        self.weight.copy_(F.normalize(self.weight, dim=1))
