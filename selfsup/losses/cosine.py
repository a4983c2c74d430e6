"""The regression losses of BYOL and SimSiam."""

from torch import Tensor, nn

from selfsup.ops.similarity import paired_cosines
from selfsup.registry import LOSSES


@LOSSES.register_module()
class CosineLoss(nn.Module):
    """The squared distance of unit vectors, 2 - 2 cos.

    BYOL's loss is the sum of this over both directions; SimSiam's, which has a class of its own below, is a quarter of
    that sum, minus 1.

    Source: Grill et al. 2020, arXiv:2006.07733, equation 2.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch.

        Args:
            prediction: shape (B, D), of any length.
            target: shape (B, D), of any length; no gradient reaches it.

        Returns:
            The loss, 0-dim, in [0, 4].
        """
        return (2 - 2 * paired_cosines(prediction, target.detach())).mean()


@LOSSES.register_module()
class NegativeCosineLoss(nn.Module):
    """The cosine, negated.

    SimSiam's loss is the mean of this over both directions: -1 at best, about 0 for unrelated vectors.

    Source: Chen and He 2020, arXiv:2011.10566, equation 1.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch.

        Args:
            prediction: shape (B, D), of any length.
            target: shape (B, D), of any length; no gradient reaches it.

        Returns:
            The loss, 0-dim, in [-1, 1].
        """
        return -paired_cosines(prediction, target.detach()).mean()
