"""Functions of tensors and of processes; no MMEngine, no modules with parameters."""

from selfsup.ops.dist import all_reduce_max, all_reduce_sum, gather, gather_with_gradient, rank, world_size
from selfsup.ops.ema import cosine_momentum, ema_update
from selfsup.ops.mixup import mix
from selfsup.ops.precision import at_least_float32, without_autocast
from selfsup.ops.similarity import cosine_similarity_matrix, l2_normalize, paired_cosines
from selfsup.ops.sinkhorn import sinkhorn

__all__ = [
    "all_reduce_max",
    "all_reduce_sum",
    "at_least_float32",
    "cosine_momentum",
    "cosine_similarity_matrix",
    "ema_update",
    "gather",
    "gather_with_gradient",
    "l2_normalize",
    "mix",
    "paired_cosines",
    "rank",
    "sinkhorn",
    "without_autocast",
    "world_size",
]
