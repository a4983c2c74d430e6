"""SimCLR's contrastive loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from selfsup.errors import require
from selfsup.losses.in_batch import anchors_and_keys
from selfsup.ops.precision import without_autocast
from selfsup.registry import LOSSES

_BLOCK = 1 << 23  # similarities held at once: 32 MiB in float32


@LOSSES.register_module()
class NTXentLoss(nn.Module):
    """Normalized temperature-scaled cross entropy: find an image's other view among all views of the global batch.

    Each process takes its own 2B views as anchors and the 2N views of all processes as keys, gathered with gradient:
    averaged over processes, as DistributedDataParallel does, loss and gradient are those of one process with the whole
    batch. Computed in float32 or better, a block of anchors at a time, so that memory grows with the batch and not with
    its square. Under gradient accumulation the negatives are those of one micro-batch: more accumulation does not mean
    more negatives.

    Args:
        temperature: > 0; 0.1 for ImageNet, 0.5 for CIFAR in the paper.
        official_factor: whether to return twice the paper's mean, as the reference code does. LARS takes the same step
            either way for what it adapts; biases and normalization layers, which it does not, take twice the step.
        normalize: compare embeddings of length 1, as the paper does; False for its study of the temperature (table 5).

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, equation 1 and algorithm 1; factor 2 as in tf2/objective.py.
    """

    def __init__(self, temperature: float = 0.1, official_factor: bool = False, *, normalize: bool = True) -> None:
        super().__init__()
        require(temperature > 0, "temperature", "must be > 0", got=temperature)
        self.temperature = temperature
        self.official_factor = official_factor
        self.normalize = normalize

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views of a batch.

        Args:
            z_a: embeddings of the first views, shape (B, D), of any length; every process has the same B.
            z_b: embeddings of the second views of the same images, shape (B, D).

        Returns:
            The mean over 2B anchors (twice that with ``official_factor``), 0-dim.

        Raises:
            ValueError: if the shapes differ.
        """
        with without_autocast(z_a):
            compared = anchors_and_keys(z_a, z_b, normalize=self.normalize, name="NTXentLoss")
            loss = _MeanCrossEntropy.apply(*compared, self.temperature)
        return 2 * loss if self.official_factor else loss


class _MeanCrossEntropy(torch.autograd.Function):
    """Cross entropy of anchors against keys, averaged over the anchors; an anchor is no key of itself.

    The gradients are computed along with the loss, which is a mean and scales them by one number: nothing of the size
    of all similarities is kept, and none is computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, keys: Tensor, itself: Tensor, positive: Tensor, temperature: float
    ) -> Tensor:
        """Anchors (M, D), keys (K, D), and for each anchor the number of itself and of its positive among the keys."""
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        of_anchors = torch.empty_like(anchors) if wanted else None
        of_keys = torch.zeros_like(keys) if wanted else None
        loss = anchors.new_zeros(())
        scale = 1 / (temperature * len(anchors))
        rows = max(1, _BLOCK // len(keys))
        for start in range(0, len(anchors), rows):
            part = slice(start, start + rows)
            logits = (anchors[part] @ keys.T).div_(temperature)
            logits.scatter_(1, itself[part, None], float("-inf"))
            loss -= logits.gather(1, positive[part, None]).sum()
            total = logits.logsumexp(dim=1, keepdim=True)
            loss += total.sum()
            if of_anchors is not None and of_keys is not None:
                shares = logits.sub_(total).exp_()
                shares.scatter_add_(1, positive[part, None], shares.new_full((len(shares), 1), -1.0))
                torch.mm(shares, keys, out=of_anchors[part])
                of_keys.addmm_(shares.T, anchors[part], alpha=scale)
        if of_anchors is not None:
            ctx.save_for_backward(of_anchors.mul_(scale), of_keys)
        return loss / len(anchors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # type: ignore[override]
        """Both gradients, scaled."""
        of_anchors, of_keys = ctx.saved_tensors
        return of_anchors * gradient, of_keys * gradient, None, None, None
