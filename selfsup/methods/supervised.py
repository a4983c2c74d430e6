"""Training with labels: supervised baselines, BiT's upstream, fine-tuning."""

import copy
from collections.abc import Collection
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.backbones.stages import freeze_stages
from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError, nearest, require
from selfsup.losses.cross_entropy import soft_targets
from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss, build_part
from selfsup.ops.dist import broadcast_object
from selfsup.ops.ema import ema_update
from selfsup.ops.mixup import cut, cut_window, mix
from selfsup.registry import METHODS, NECKS

TOP = (1, 5)
BATCH_NORMS = ("train", "frozen")


@METHODS.register_module()
class Supervised(Method):
    """A linear classifier on pooled features, trained together with the backbone.

    Labels are class numbers, or rows of 0 and 1 where an image may belong to several classes.

    ``selfsup train ... --init-from CHECKPOINT`` fine-tunes: the backbone, and the neck's layers if there is one, must
    all be found in the checkpoint of the pretraining method; the classifier starts fresh.

    Args:
        backbone: the encoder, or its dict.
        num_classes: number of classes C, >= 2; labels lie in [0, C).
        loss: a :class:`~selfsup.losses.CrossEntropyLoss`, a :class:`~selfsup.losses.BinaryCrossEntropyLoss` where an
            image may belong to several classes, or their dict.
        neck: layers between features and classifier, such as :class:`~selfsup.necks.HiddenLayers`, or its dict; None
            for none. ``in_dim`` may be left out. :meth:`features` are those before it.
        mixup_alpha: images and labels are mixed with those of another image of the batch; the image's own share is
            drawn from Beta(alpha, alpha), one for the whole optimizer step: all processes, all micro-batches. 0 for
            no MixUp.
        cutmix_alpha: likewise, and a window of that share of the area comes from the other image (CutMix). With MixUp
            too, each step takes one of the two, as often as the other.
        zero_init_head: start the classifier's weights at zero, as BiT and SimCLR's fine-tuning do; otherwise they are
            drawn from N(0, 0.01), as SimCLR and VISSL do.
        head_bias: first value of the classifier's bias; -10 with the sigmoid over thousands of classes says at the
            start that an image hardly ever belongs to any.
        frozen_stages: None trains the whole backbone; 0 leaves the stem as it is, n the stem and the first n of the
            four stages: no gradient, and eval mode, so that running statistics stay too. 4 is a frozen trunk.
        batch_norm: ``'train'``, or ``'frozen'``: the backbone's batch norm keeps its statistics, weights and biases.
        ema: the fraction that is kept of an average of all weights, which is what is evaluated and exported; it rises
            to that from (1 + step) / (10 + step). None for no average.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Attributes:
        mixup_weight: what an image keeps of itself in this step's MixUp or CutMix, in [0, 1].

    Raises:
        ConfigError: if a number is out of its range, or the neck does not fit the backbone.

    Source: MixUp: Zhang et al. 2018, arXiv:1710.09412, with one share per batch as in google-research/big_transfer;
        CutMix: Yun et al. 2019, arXiv:1905.04899, section 3; initial values: google-research/simclr tf2/model.py and
        google-research/big_vision models/bit_paper.py and configs/bit_i21k.py.
    """

    num_views = 1
    entry_points = ("logits",)

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        loss: nn.Module | dict[str, Any],
        *,
        neck: nn.Module | dict[str, Any] | None = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        zero_init_head: bool = False,
        head_bias: float = 0.0,
        frozen_stages: int | None = None,
        batch_norm: Literal["train", "frozen"] = "train",
        ema: float | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        require(num_classes >= 2, "num_classes", "must be >= 2", got=num_classes)
        require(mixup_alpha >= 0, "mixup_alpha", "must be >= 0", got=mixup_alpha)
        require(cutmix_alpha >= 0, "cutmix_alpha", "must be >= 0", got=cutmix_alpha)
        require(ema is None or 0 <= ema < 1, "ema", "must be in [0, 1), or None", got=ema)
        near = nearest(str(batch_norm), BATCH_NORMS)
        require(batch_norm in BATCH_NORMS, "batch_norm", f"unknown {batch_norm!r}", expected=near)
        features, source = self.backbone.out_dim, "backbone.out_dim"
        self.neck: Any = None
        self.fresh_parts = ("classifier",)
        if neck is not None:
            self.neck = build_part(NECKS, neck, "neck", in_dim=features, source=source)
            features = self.neck.out_dim
            self.fresh_parts += tuple(f"neck.{name}" for name in getattr(self.neck, "fresh_parts", ()))
        self.classifier = nn.Linear(features, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.0 if zero_init_head else 0.01)
        nn.init.constant_(self.classifier.bias, head_bias)
        self.criterion: nn.Module = build_loss(loss, "loss", ("scores", "targets"))
        self.num_classes = num_classes
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.mixup_weight = 1.0
        self._cuts = False
        self._resting: list[nn.Module] = []
        if frozen_stages is not None:
            self._resting += freeze_stages(self.backbone, frozen_stages)
        if batch_norm == "frozen":
            norms = [part for part in self.backbone.modules() if isinstance(part, _BatchNorm)]
            self._resting += [part.requires_grad_(False) for part in norms]
        self.ema = ema
        self.average: nn.ModuleDict | None = None
        if ema is not None:
            parts = {"backbone": self.backbone, "classifier": self.classifier}
            parts |= {} if self.neck is None else {"neck": self.neck}
            self.average = nn.ModuleDict(copy.deepcopy(parts)).requires_grad_(False)
            self.fresh_parts += ("average",)

    @property
    def representation(self) -> Any:
        """The backbone, or its average."""
        return self.backbone if self.average is None else self.average["backbone"]

    def train(self, mode: bool = True) -> Self:
        """Training mode for what is trained; what is frozen, and the average, stay in eval mode."""
        super().train(mode)
        for part in [*self._resting, *([] if self.average is None else [self.average])]:
            part.eval()
        return self

    def after_init_from(self, taken: Collection[str]) -> list[str]:
        """The average starts as what the weights of a file have become."""
        state = self.state_dict()
        copied = [name for name in state if name.startswith("average.")]
        for name in copied:
            state[name].copy_(state[name.removeprefix("average.")])
        return copied

    def label_classes(self) -> tuple[str, int]:
        """Those of its classifier."""
        return "model.num_classes", self.num_classes

    def before_step(self, progress: Progress) -> None:
        """Draw the share that an image keeps in MixUp or CutMix; that of process 0 counts."""
        if not self.mixup_alpha and not self.cutmix_alpha:
            return
        self._cuts = not self.mixup_alpha
        if self.mixup_alpha and self.cutmix_alpha:
            self._cuts = broadcast_object(bool(torch.rand(()) < 0.5))
        alpha = torch.tensor(self.cutmix_alpha if self._cuts else self.mixup_alpha, dtype=torch.float64)
        drawn = float(torch.distributions.Beta(alpha, alpha).sample())
        self.mixup_weight = broadcast_object(drawn)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the average towards the new weights; counters of batch norm are copied."""
        if self.average is None or self.ema is None:
            return
        state = self.state_dict()
        pairs = [(tensor, state[name]) for name, tensor in self.average.state_dict().items()]
        kept = min(self.ema, (1 + progress.step) / (10 + progress.step))
        floating = [(mean, now) for mean, now in pairs if mean.is_floating_point()]
        ema_update([mean for mean, _ in floating], [now for _, now in floating], kept)
        for mean, now in pairs:
            if not mean.is_floating_point():
                mean.copy_(now)

    def scores(self, images: Tensor) -> Tensor:
        """The score of every class, before softmax or sigmoid.

        Args:
            images: shape (B, 3, h, w), normalized.

        Returns:
            Shape (B, C).
        """
        features = self.backbone(images)
        return self.classifier(features if self.neck is None else self.neck(features))

    @property
    def head(self) -> nn.Sequential:
        """What follows the backbone, the neck first: of the average if there is one."""
        parts: Any = self._modules if self.average is None else self.average._modules
        return nn.Sequential(*(part for part in (parts.get("neck"), parts["classifier"]) if part is not None))

    def logits(self, features: Tensor) -> Tensor:
        """The score of every class from :meth:`features`, shape (B, out_dim)."""
        return self.head(features)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The classification loss, and how often the labels were found.

        Args:
            views: one, of shape (B, 3, h, w).
            labels: class numbers, shape (B,), or 0 and 1 for each class, shape (B, C).

        Returns:
            - ``loss``: to be minimized.
            - ``top1``, and ``top5`` where there are more than five classes: share of the images of which one of the
              1 or 5 highest scores is a class of theirs. With MixUp it is the classes of whichever image has the
              larger share.

        Raises:
            ConfigError: unless there is one view, and labels that fit the number of classes.
        """
        check_views(views, needed=self.num_views, exact=True, why="Supervised")
        labels = checked_labels(labels, self.num_classes, self.criterion)
        shares, evaluated, images = soft_targets(labels, self.num_classes), labels, views[0]
        if (self.mixup_alpha or self.cutmix_alpha) and self.training:
            order, share = torch.randperm(len(images)).to(images.device), self.mixup_weight
            if self._cuts:
                images, share = cut(images, order, cut_window(images.shape[2], images.shape[3], share))
            else:
                images = mix(images, order, share)
            shares = mix(shares, order, share)
            evaluated = labels if share >= 0.5 else labels[order]
        scores = self.scores(images)
        return {"loss": self.criterion(scores, shares), **accuracies(scores, evaluated)}


def checked_labels(labels: Tensor | None, num_classes: int, criterion: nn.Module, *, place: str = "model") -> Tensor:
    """The labels of a batch, if there are any and they fit the number of classes and the loss.

    Args:
        labels: class numbers, shape (B,), or 0 and 1 for each class, shape (B, C).
        num_classes: C.
        criterion: the loss; where its ``several_classes`` is False, each image must have one class.
        place: path in the config of what says ``num_classes``.

    Raises:
        ConfigError: if there are none, or they do not fit.
    """
    if labels is None:
        raise ConfigError.at(
            "train_dataloader.dataset",
            "the method learns from labels, and these images have none",
            expected="for an ImageList, labels='folder' or labels='column' says where they are",
        )
    if labels.ndim == 2:
        if labels.shape[1] != num_classes:
            raise ConfigError.at(
                f"{place}.num_classes", f"must be the data's {labels.shape[1]} classes", got=num_classes
            )
        if not labels.is_floating_point() and not getattr(criterion, "several_classes", True):
            raise ConfigError.at(
                "train_dataloader.dataset",
                f"{type(criterion).__name__} needs one class for each image, and these may belong to several",
                expected="BinaryCrossEntropyLoss takes those",
            )
        return labels
    lowest, highest = torch.stack(torch.aminmax(labels)).tolist()  # one wait for the GPU, not two
    if lowest < 0 or highest >= num_classes:
        wrong = lowest if lowest < 0 else highest
        raise ConfigError.at(
            f"{place}.num_classes",
            f"labels must be in [0, num_classes), got num_classes {num_classes} and label {wrong}",
        )
    return labels


@torch.no_grad()
def accuracies(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """``top1`` and, where there are more than five classes, ``top5``, see :meth:`Supervised.loss`."""
    found = {}
    for top in TOP:
        if scores.shape[1] > top:
            highest = scores.topk(top, dim=1).indices
            hits = labels.gather(1, highest) > 0 if labels.ndim == 2 else highest == labels.unsqueeze(1)
            found[f"top{top}"] = hits.any(dim=1).float().mean()
    return found
