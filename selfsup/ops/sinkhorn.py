"""Balanced soft assignments."""

import torch
from torch import Tensor

from selfsup.ops.dist import all_reduce_max, all_reduce_sum
from selfsup.ops.precision import at_least_float32


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Assign each sample to prototypes so that every prototype is used equally.

    The prototype sums run over the samples of all processes, which may have different numbers of them. Under gradient
    accumulation the assignments are balanced within one micro-batch: only its scores are known.

    The result is that of the paper's listing, computed so that ``exp`` cannot overflow: the first prototype
    normalization removes any factor of a prototype, hence each prototype's largest score over all processes is
    subtracted first; the listing's divisions by the numbers of samples and prototypes cancel and are left out.

    Args:
        scores: similarity of each sample to each prototype, shape (B, K), of any precision.
        epsilon: entropy weight, > 0; smaller gives harder assignments.
        iterations: prototype and sample normalizations, >= 1; each row sums to 1 after the last.

    Returns:
        Assignments, shape (B, K), every row summing to 1; float64 for float64 scores, else float32.

    Raises:
        ValueError: if ``scores`` is no matrix with at least one sample and one prototype, ``epsilon`` is not positive
            or ``iterations`` is below 1.

    Source: Caron et al. 2020, arXiv:2006.09882, listing 1.
    """
    if scores.ndim != 2 or not scores.numel():
        raise ValueError(f"sinkhorn: scores must have shape (samples, prototypes), got {tuple(scores.shape)}")
    if not epsilon > 0:
        raise ValueError(f"sinkhorn: epsilon must be > 0, got {epsilon}")
    if iterations < 1:
        raise ValueError(f"sinkhorn: iterations must be >= 1, got {iterations}")
    logits = at_least_float32(scores) / epsilon
    largest = all_reduce_max(logits.amax(dim=0))
    prototype_sums = all_reduce_sum((logits - largest).exp_().sum(dim=0))
    assignments = (logits - largest - prototype_sums.log()).softmax(dim=1)
    for _ in range(iterations - 1):
        assignments /= all_reduce_sum(assignments.sum(dim=0))
        assignments /= assignments.sum(dim=1, keepdim=True)
    return assignments
