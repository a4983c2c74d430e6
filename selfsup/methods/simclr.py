"""SimCLR."""

from typing import Any

import torch
from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.methods.base import Method
from selfsup.methods.batch_checks import check_has_negatives, check_views
from selfsup.methods.multi_view import forward_by_size
from selfsup.methods.parts import build_loss, build_part
from selfsup.registry import METHODS, NECKS


@METHODS.register_module()
class SimCLR(Method):
    """Two views of an image attract each other and repel the views of all other images of the global batch.

    Both views pass the backbone and the neck in one call, so that batch norm sees them together, as in the reference
    code. Under gradient accumulation each micro-batch only has its own negatives.

    Args:
        backbone: the encoder, or its dict.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        loss: an :class:`~selfsup.losses.NTXentLoss`, or its dict.
        preprocess: see :class:`~selfsup.methods.base.Method`; the paper normalizes neither mean nor deviation.

    Raises:
        ConfigError: if the neck does not fit the backbone.

    Source: Chen et al. 2020, arXiv:2002.05709 (v1) and arXiv:2006.10029 (v2).
    """

    joins_views = True
    num_views = 2

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        self.neck = build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")
        self.criterion: nn.Module = build_loss(loss, "loss", ("z_a", "z_b"))

    def check_batch(self, per_process: int, processes: int) -> None:
        """Reject a batch of one image, which has no negatives."""
        check_has_negatives(per_process, processes)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The NT-Xent loss of two views.

        Args:
            views: two, each of shape (B, 3, h, w).
            labels: not looked at.

        Returns:
            ``loss``.

        Raises:
            ConfigError: unless there are exactly two views.
        """
        check_views(views, needed=self.num_views, exact=True, why="SimCLR")
        embeddings = self.neck(torch.cat(forward_by_size(self.backbone, views)))
        return {"loss": self.criterion(*embeddings.chunk(2))}
