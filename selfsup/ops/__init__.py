"""Pure tensor functions; no MMEngine, no modules with parameters."""

from selfsup.ops.ema import cosine_momentum, ema_update
from selfsup.ops.mixup import mix
from selfsup.ops.similarity import cosine_similarity_matrix, l2_normalize, paired_cosines
from selfsup.ops.sinkhorn import sinkhorn

__all__ = [
    "cosine_momentum",
    "cosine_similarity_matrix",
    "ema_update",
    "l2_normalize",
    "mix",
    "paired_cosines",
    "sinkhorn",
]
