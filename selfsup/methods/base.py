"""What every method has: a backbone, a loss over views, and what happens around a step."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from selfsup.backbones.pooling import LAYERS, pool_map
from selfsup.data.preprocess import Preprocess
from selfsup.data.view_dataset import Sample, collate_views
from selfsup.errors import ConfigError
from selfsup.methods.batch_checks import check_view_count
from selfsup.methods.parts import built
from selfsup.ops.parts import computed_on
from selfsup.registry import BACKBONES, TRANSFORMS


@dataclass(frozen=True)
class Progress:
    """Where a run stands before a step.

    Args:
        step: optimizer updates done.
        total_steps: optimizer updates of the whole run, > 0.
        epoch: passes over the data done, from 0.
        steps_per_epoch: optimizer updates per pass.
        micro_batches: calls of the loss that make one update.
    """

    step: int
    total_steps: int
    epoch: int
    steps_per_epoch: int
    micro_batches: int = 1

    @property
    def fraction(self) -> float:
        """The share of the run that is done, in [0, 1]."""
        return self.step / self.total_steps


class Method(BaseModel):
    """Base of every method; the only base class of ours.

    State that a paper needs (queue, teacher, prototypes) is held in submodules and buffers, so that the method's
    state dict resumes exactly.

    Args:
        backbone: a module with ``out_dim`` and ``feature_maps``, or its dict.
        preprocess: turns a list of uint8 views on the device into what the backbone takes, or its arguments; None
            takes :class:`~selfsup.data.preprocess.Preprocess` with its defaults.

    Raises:
        ConfigError: if the backbone has no ``out_dim``.

    Attributes:
        num_views: views of each image that ``loss`` takes; None leaves it open, or to :meth:`check_num_views`.
        entry_points: names of methods beside ``forward`` that use parameters and are called from outside, never from
            ``forward``.
        fresh_parts: names of the submodules that start fresh in a run that begins with the weights of another method's
            checkpoint: all others must be found there, and what else it holds is left behind. None, the default,
            stands for a method that only begins with a checkpoint of its own kind, tensor by tensor.
        moved_before_step: names of the submodules whose parameters ``before_step`` changes. Where an update is left out
            (``optim_wrapper.max_skipped_updates``), they are restored, and so are all buffers.
        channels_last: how uint8 images are laid out before they are normalized; None, the default, leaves them as they
            are. A run sets it.
        uniform_loss: the loss of a method that cannot tell its images apart, such as ln K for K prototypes; a run warns
            when its loss stays there. None where no such number is known.
        joins_views: whether batch norm sees all views of an image together, and not one at a time.
        own_batch_norm: whether batch norm is meant to see the images of one process alone; a run that sets ``sync_bn``
            all the same is told so.
        classes: names of the classes of the images that it is trained on, where they have any. A run sets it.
    """

    backbone: Any  # a module with the Backbone protocol: mypy cannot write that as one type
    num_views: int | None = None
    entry_points: tuple[str, ...] = ()
    fresh_parts: tuple[str, ...] | None = None
    moved_before_step: tuple[str, ...] = ()
    uniform_loss: float | None = None
    joins_views: bool = False
    classes: Sequence[str] | None = None
    own_batch_norm: bool = False
    channels_last: bool | None = None

    def __init__(self, backbone: nn.Module | dict[str, Any], preprocess: Preprocess | dict[str, Any] | None = None):
        super().__init__()
        self.backbone = built(BACKBONES, backbone, "backbone")
        if not isinstance(getattr(self.backbone, "out_dim", None), int):
            raise ConfigError.at(
                "backbone", f"{type(self.backbone).__name__} has no 'out_dim' (int), the number of pooled features"
            )
        if preprocess is None:
            preprocess = Preprocess()
        if isinstance(preprocess, dict):
            preprocess = {"type": "Preprocess", **preprocess}
        self.preprocess: Preprocess = built(TRANSFORMS, preprocess, "preprocess")

    @property
    def representation(self) -> Any:
        """The module that is evaluated, exported and described on cards, with ``out_dim``: the backbone."""
        return self.backbone

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Any:
        """Make a batch of samples; worker processes call this, without the method.

        A method that learns from something else than views brings its own, together with its own :meth:`forward`. Of a
        batch the engine reads ``index`` and ``bad`` alone.

        Raises:
            DataError: if no batch can be made of them.
        """
        return collate_views(samples)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            views: per view, normalized images, shape (B, 3, h, w); sizes may differ between views.
            labels: classes, shape (B,), where the data have them; only supervised methods look at them.

        Returns:
            0-dim tensors: those whose key starts with ``loss`` are summed and minimized, the others logged.
        """
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        """The features that are evaluated: what :attr:`representation` makes of the images.

        Args:
            images: shape (B, 3, h, w), normalized.

        Returns:
            Shape (B, representation.out_dim).
        """
        return self.representation(images)

    def after_init_from(self, taken: Collection[str]) -> list[str]:
        """Called where a new run begins with the weights of a file, once they are in place; not on resume.

        A teacher that starts as a copy of the student becomes one here, as the student has other weights now.

        Args:
            taken: names of the method's tensors that the file gave; all others are as they were built.

        Returns:
            Names of the tensors that were copied from the student's.
        """
        return []

    def before_training(self, load_trained: Callable[[str, nn.Module], None]) -> None:
        """Called once before the first step of a run, also of one that is resumed.

        Args:
            load_trained: fills a module with the weights of a method's checkpoint, given the path of the file or of
                its work dir; every tensor must find its place. In a run that is resumed, calls in the same order are
                answered from the same files.
        """

    def before_step(self, progress: Progress) -> None:
        """Called before the forward pass of every optimizer step."""

    def after_step(self, progress: Progress) -> None:
        """Called after every optimizer step, with the progress from before it."""

    def check_batch(self, per_process: int, processes: int) -> None:
        """Reject a batch that the method cannot train with; asked before anything is written, and by a dry run.

        Where several micro-batches make an update it is asked for one of them and for all of them together. It may be
        called without weights, on the meta device, and without a process group.

        Args:
            per_process: images per process, > 0.
            processes: how many take part, > 0.

        Raises:
            ConfigError: if the method cannot train with it, saying what would fit.
        """

    def check_num_views(self, num_views: int) -> None:
        """Reject a number of views of each image that ``loss`` would reject; asked when :meth:`check_batch` is.

        Args:
            num_views: how many ``train_dataloader.views`` makes.

        Raises:
            ConfigError: if the method cannot train with it, saying how many it needs.
        """
        check_view_count(num_views, needed=self.num_views, exact=True, why=type(self).__name__)

    def advice(self, batch_size: int, *, recipe: "tuple[Method, int] | None" = None) -> list[str]:
        """What somebody who trains with this batch should know beforehand; empty if all is well.

        Args:
            batch_size: images of all processes per micro-batch.
            recipe: the method and batch of the recipe that is followed, of which nothing need be said.
        """
        return []

    def label_classes(self) -> tuple[str, int] | None:
        """How many classes the labels are taken to have: the path in the config that says so, and the number.

        None, the default, stands for a method that does not look at labels.
        """
        return None

    def forward(self, batch: Any, mode: Literal["loss", "features"] = "loss", *, layer: str = "pooled") -> Any:
        """Wrappers such as DistributedDataParallel call the method through here; only this gathers split weights.

        uint8 views and images are moved to the method's device and normalized; floating-point ones are taken as they
        are, as normalized already.

        Args:
            batch: for ``'loss'`` what :meth:`collate` gives; for ``'features'`` images, shape (B, 3, H, W).
            mode: ``'loss'`` for :meth:`loss`, ``'features'`` for :meth:`features`.
            layer: for ``'features'``: ``'pooled'``, or one of the four feature maps averaged over its places,
                ``'res2'`` (stride 4) to ``'res5'`` (stride 32).

        Raises:
            ValueError: if the mode or the layer is none of these.
        """
        if mode == "loss":
            labels = batch.get("label")
            if labels is not None:
                labels = labels.to(self._device, non_blocking=True)
            return self.loss(self._normalized(batch["views"]), labels)
        if mode != "features":
            raise ValueError(f"mode: must be 'loss' or 'features', got {mode!r}")
        (images,) = self._normalized([batch])
        if layer == "pooled":
            return self.features(images)
        if layer not in LAYERS:
            raise ValueError(f"layer: must be one of {', '.join(LAYERS)}, got {layer!r}")
        return pool_map(self.representation.feature_maps(images), layer)

    @property
    def _device(self) -> torch.device:
        return computed_on(next(self.parameters()))

    def _normalized(self, views: Sequence[Tensor]) -> list[Tensor]:
        if views[0].is_floating_point():
            return list(views)
        layout = torch.preserve_format
        if self.channels_last is not None:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return self.preprocess([view.to(self._device, memory_format=layout, non_blocking=True) for view in views])
