"""Alignment and uniformity, the two things a contrastive loss asks for, asked for separately."""

import torch
from torch import Tensor, nn

from selfsup.ops.dist import gather_with_gradient
from selfsup.ops.precision import without_autocast
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import LOSSES


@LOSSES.register_module()
class AlignUniformLoss(nn.Module):
    """Two views of an image lie close to each other; the images of the global batch spread over the sphere.

    With t = ``temperature``: the mean of |a - b|^2 over the pairs, plus ``uniformity`` times the logarithm of the mean
    of exp(-t |x - y|^2) over all pairs of different images, averaged over the two views. Both means are over the
    images of all processes, gathered with gradient: every process has the loss of the whole batch, and the average of
    their gradients is the gradient of one process with that batch.

    Args:
        uniformity: weight of the second term.
        temperature: t, > 0.

    Raises:
        ValueError: if ``temperature`` is not positive.

    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1 and figure 5 (alpha 2, t 2, weight 1).
    """

    def __init__(self, uniformity: float = 1.0, *, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"AlignUniformLoss.temperature: must be > 0, got {temperature}")
        self.uniformity = uniformity
        self.temperature = temperature

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views of a batch.

        Args:
            z_a: embeddings of the first views, shape (B, D), of any length.
            z_b: embeddings of the second views of the same images, shape (B, D).

        Returns:
            The loss, 0-dim, float32 or better.
        """
        with without_autocast(z_a):
            a, b = (gather_with_gradient(l2_normalize(z)) for z in (z_a, z_b))
            alignment = (a - b).square().sum(dim=1).mean()
            spread = (self._log_mean_potential(a) + self._log_mean_potential(b)) / 2
        return alignment + self.uniformity * spread

    def _log_mean_potential(self, rows: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
        squared = 2 - 2 * (rows @ rows.T)[i, j]  # of unit vectors
        return (-self.temperature * squared).exp().mean().log()
