"""Linear classifiers on a frozen trunk, as the papers train them: with augmentation, several side by side."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from selfsup.backbones.pooling import check_layer, map_of, pool_map
from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError, require
from selfsup.losses.cross_entropy import soft_targets
from selfsup.methods.base import Method
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss
from selfsup.methods.supervised import accuracies, checked_labels
from selfsup.registry import METHODS


@METHODS.register_module()
class LinearHeads(Method):
    """One or several linear classifiers on each of some layers of a trunk that does not change.

    The trunk is in eval mode and runs once for all heads. Their losses are added, and as they share nothing, each is
    trained as if it were alone: parameter groups that match ``heads.0.*`` and so on give them rates of their own.

    Args:
        backbone: the trunk, or its dict.
        num_classes: number of classes C, >= 2.
        loss: see :class:`~selfsup.methods.Supervised`.
        layers: ``'pooled'``, ``'res4'``, or a pooling of a map such as ``'res5:2x1'``, see
            :class:`~selfsup.evaluation.Representation`.
        copies: heads on each layer; head ``copies * layer + copy`` is called ``heads.<number>``.
        bn: put batch norm between features and classifier, as VISSL does: over the channels of a map, whose places
            share them, before it is flattened.
        affine: whether that has weights and biases.
        image_size: side of the images, which the length of flattened maps depends on; needed for those alone.
        init_std: standard deviation of the classifiers' first weights.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Raises:
        ConfigError: if a number is out of its range, or a layer is unknown.

    Source: VISSL's configs/config/benchmark/linear_image_classification and linear_eval_mlp.py (a head for each layer,
        batch norm); SwAV's eval_linear.py (no batch norm, N(0, 0.01)).
    """

    num_views = 1
    entry_points = ("logits",)

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        loss: nn.Module | dict[str, Any],
        *,
        layers: Sequence[str] = ("pooled",),
        copies: int = 1,
        bn: bool = False,
        affine: bool = True,
        image_size: int | None = None,
        init_std: float = 0.01,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        require(num_classes >= 2, "num_classes", "must be >= 2", got=num_classes)
        require(copies >= 1, "copies", "must be >= 1", got=copies)
        require(layers, "layers", "must name at least one layer, got none")
        for layer in layers:
            check_layer(layer)
        self.backbone.requires_grad_(False)
        self.num_classes = num_classes
        self.layers = tuple(layers)
        self.copies = copies
        self.criterion: nn.Module = build_loss(loss, "loss", ("scores", "targets"))
        self.heads = nn.ModuleList(
            nn.Sequential(*(_norm(channels, size // channels, affine) if bn else ()), nn.Linear(size, num_classes))
            for size, channels in self._sizes(image_size)
            for _ in range(copies)
        )
        for part in self.heads.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=init_std)
                nn.init.zeros_(part.bias)
        self.fresh_parts = ("heads",)
        self.chosen = 0

    def _sizes(self, image_size: int | None) -> list[tuple[int, int]]:
        """Length of each layer's features, and channels."""
        whole = self.backbone.out_dim, self.backbone.out_dim
        if set(self.layers) == {"pooled"}:
            return [whole] * len(self.layers)
        if image_size is None:
            raise ConfigError.at("image_size", "must be given for layers other than 'pooled'")
        self.backbone.eval()
        with torch.random.fork_rng(devices=()), torch.no_grad():
            maps = self.backbone.feature_maps(torch.zeros(1, 3, image_size, image_size))
        return [
            whole if layer == "pooled" else (pool_map(maps, layer).shape[1], map_of(maps, layer).shape[1])
            for layer in self.layers
        ]

    def train(self, mode: bool = True) -> Self:
        """Training mode for the heads alone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def label_classes(self) -> tuple[str, int]:
        """Those of its classifiers."""
        return "model.num_classes", self.num_classes

    @property
    def head(self) -> nn.Sequential:
        """The head that counts: the first, or one that was chosen since."""
        chosen: Any = self.heads[self.chosen]
        return chosen

    @property
    def head_layers(self) -> list[str]:
        """The layer that each head reads."""
        return [layer for layer in self.layers for _ in range(self.copies)]

    def logits(self, features: Tensor) -> Tensor:
        """The score of every class from the features of the layer of :attr:`head`."""
        return self.head(features)

    @torch.no_grad()
    def _features(self, images: Tensor) -> list[Tensor]:
        """The features of each layer; one pass."""
        self.backbone.eval()
        if set(self.layers) == {"pooled"}:
            return [self.backbone(images)] * len(self.layers)
        maps = self.backbone.feature_maps(images)
        pooled = self.backbone(images) if "pooled" in self.layers else None
        return [pooled if layer == "pooled" else pool_map(maps, layer) for layer in self.layers]  # type: ignore[misc]

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The sum of the heads' losses.

        Args:
            views: one, of shape (B, 3, h, w).
            labels: class numbers, shape (B,), or 0 and 1 for each class, shape (B, C).

        Returns:
            ``loss``, and the first head's ``top1`` and, where there are more than five classes, ``top5``.

        Raises:
            ConfigError: unless there is one view, and labels that fit the number of classes.
        """
        check_views(views, needed=1, exact=True, why="LinearHeads")
        labels = checked_labels(labels, self.num_classes, self.criterion)
        targets = soft_targets(labels, self.num_classes)
        features = [each for each in self._features(views[0]) for _ in range(self.copies)]
        scores = [head(each) for head, each in zip(self.heads, features, strict=True)]
        loss = torch.stack([self.criterion(each, targets) for each in scores]).sum()
        return {"loss": loss, **accuracies(scores[self.chosen], labels)}


def _norm(channels: int, places: int, affine: bool) -> list[nn.Module]:
    """Batch norm of flattened features, each channel over all its places."""
    norm = nn.BatchNorm1d(channels, affine=affine)
    return [norm] if places == 1 else [nn.Unflatten(1, (channels, places)), norm, nn.Flatten()]
