"""SimSiam."""

from typing import Any

from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.methods.base import Method
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss, build_part, build_predictor
from selfsup.registry import METHODS, NECKS


@METHODS.register_module()
class SimSiam(Method):
    """A view's prediction meets the other view's own embedding, which gets no gradient: no negatives and no teacher.

    Each view passes the network in a call of its own, so that batch norm never mixes the two. Batch norm is
    synchronized in the reference code (``sync_bn='all'``). Two traits of the reference code are left to the config: the
    neck's last batch norm has neither scale nor shift, and the predictor's learning rate stays constant
    (``optim_wrapper.param_groups=[dict(match='predictor.*', fixed_lr=True)]``).

    Args:
        backbone: the encoder, or its dict.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        predictor: the prediction head, or its dict; ``in_dim`` and ``out_dim`` may be left out.
        loss: a :class:`~selfsup.losses.NegativeCosineLoss`, or its dict.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Raises:
        ConfigError: if the parts do not fit each other.

    Source: Chen and He 2020, arXiv:2011.10566, algorithm 1; facebookresearch/simsiam builder.py and main_simsiam.py.
    """

    num_views = 2

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        predictor: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        self.neck = build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")
        self.predictor = build_predictor(predictor, self.neck)
        self.criterion: nn.Module = build_loss(loss, "loss", ("prediction", "target"))

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The mean of the losses of both directions.

        Args:
            views: two, each of shape (B, 3, h, w).
            labels: not looked at.

        Returns:
            ``loss``, in [-1, 1].

        Raises:
            ConfigError: unless there are exactly two views.
        """
        check_views(views, needed=self.num_views, exact=True, why="SimSiam")
        first, second = (self.neck(self.backbone(view)) for view in views)
        forth = self.criterion(self.predictor(first), second)
        back = self.criterion(self.predictor(second), first)
        return {"loss": (forth + back) / 2}
