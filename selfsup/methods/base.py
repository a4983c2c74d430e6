"""What every method has: a backbone, a loss over views, and what happens around a step."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from selfsup.backbones.pooling import LAYERS, pool_map
from selfsup.data.preprocess import Preprocess
from selfsup.data.view_dataset import Sample, collate_views
from selfsup.errors import ConfigError, require, under
from selfsup.registry import BACKBONES, LOSSES, NECKS, TRANSFORMS, Registry


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
        channels_last: how uint8 images are laid out before they are normalized; None, the default, leaves them as they
            are. A run sets it.
        uniform_loss: the loss of a method that cannot tell its images apart, such as ln K for K prototypes; a run warns
            when its loss stays there. None where no such number is known.
        joins_views: whether batch norm sees all views of an image together, and not one at a time.
        own_batch_norm: whether batch norm is meant to see the images of one process alone; a run that sets ``sync_bn``
            all the same is told so.
    """

    backbone: Any  # a module with the Backbone protocol: mypy cannot write that as one type
    num_views: int | None = None
    entry_points: tuple[str, ...] = ()
    fresh_parts: tuple[str, ...] | None = None
    uniform_loss: float | None = None
    joins_views: bool = False
    own_batch_norm: bool = False
    channels_last: bool | None = None

    def __init__(self, backbone: nn.Module | dict[str, Any], preprocess: Preprocess | dict[str, Any] | None = None):
        super().__init__()
        self.backbone = _built(BACKBONES, backbone, "backbone")
        if not isinstance(getattr(self.backbone, "out_dim", None), int):
            raise ConfigError.at(
                "backbone", f"{type(self.backbone).__name__} has no 'out_dim' (int), the number of pooled features"
            )
        if preprocess is None:
            preprocess = Preprocess()
        if isinstance(preprocess, dict):
            preprocess = {"type": "Preprocess", **preprocess}
        self.preprocess: Preprocess = _built(TRANSFORMS, preprocess, "preprocess")

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
        return next(self.parameters()).device

    def _normalized(self, views: Sequence[Tensor]) -> list[Tensor]:
        if views[0].is_floating_point():
            return list(views)
        layout = torch.preserve_format
        if self.channels_last is not None:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return self.preprocess([view.to(self._device, memory_format=layout, non_blocking=True) for view in views])


def _built(registry: Registry, part: Any, place: str, **context: Any) -> Any:
    """Build a part of a method; a value that it rejects is an error of the user's, with its place in the config."""
    with under(place):
        return registry.build(part, **context)


def build_part(registry: Registry, part: nn.Module | dict[str, Any], place: str, *, in_dim: int, source: str) -> Any:
    """Build a part of a method that takes the features of another part.

    Args:
        registry: where its type is looked up.
        part: the module, or its dict; ``in_dim`` may be left out of the dict.
        place: its path in the method, for the error message.
        in_dim: the features it is given.
        source: where they come from, for the error message.

    Raises:
        ConfigError: if the part takes another number of features, does not say how many it gives, or rejects a value.
    """
    module = _built(registry, part, place, in_dim=in_dim)
    if not isinstance(getattr(module, "out_dim", None), int):
        raise ConfigError.at(place, f"{type(module).__name__} has no 'out_dim' (int), the number of features it gives")
    wanted = getattr(module, "in_dim", in_dim)
    if wanted != in_dim:
        raise ConfigError.at(
            f"{place}.in_dim", f"must be {source} = {in_dim}", got=wanted, expected="it may be left out of the config"
        )
    return module


def build_predictor(predictor: nn.Module | dict[str, Any], neck: Any) -> Any:
    """Build a predictor, which makes of one embedding another of the same size.

    Args:
        predictor: the module, or its dict; ``in_dim`` and ``out_dim`` may be left out of the dict.
        neck: what embeds, with ``out_dim``.

    Raises:
        ConfigError: if the predictor takes or gives another number of features, or rejects a value.
    """
    module = _built(NECKS, predictor, "predictor", in_dim=neck.out_dim, out_dim=neck.out_dim)
    for name in ("in_dim", "out_dim"):
        if (got := getattr(module, name, neck.out_dim)) != neck.out_dim:
            raise ConfigError.at(
                f"predictor.{name}",
                f"must be neck.out_dim = {neck.out_dim}",
                got=got,
                expected="it may be left out of the config",
            )
    return module


def build_loss(loss: nn.Module | dict[str, Any], place: str, given: Sequence[str] | Mapping[str, Sequence[str]]) -> Any:
    """Build a method's loss, and see whether it takes what the method will hand over.

    Losses are called by position, and two that take as many tensors may mean different ones: what a method hands over
    has names, and the parameters of a loss that fits are called the same. One that takes ``*args`` says that it can do
    with anything.

    Args:
        loss: the module, or its dict.
        place: its path in the method, for the error message.
        given: what it is handed, by position; or, where other methods of the loss are called than its ``forward``,
            what each of them is handed.

    Raises:
        ConfigError: if the loss takes something else, or rejects a value.
    """
    module = _built(LOSSES, loss, place)
    name = type(module).__name__
    for call, handed in (given if isinstance(given, Mapping) else {"forward": given}).items():
        function = getattr(module, call, None)
        needed = f"must take ({', '.join(handed)}){'' if call == 'forward' else f' as its {call}'}"
        if not callable(function):
            raise ConfigError.at(place, f"{needed}, and {name} has no {call}")
        signature = inspect.signature(function)
        if not _takes(signature, handed):
            takes = ", ".join(f"{_STARS.get(p.kind, '')}{p.name}" for p in signature.parameters.values())
            right = "choose another loss, or give the parameters of your own these names"
            raise ConfigError.at(place, f"{needed}, and {name} takes ({takes})", expected=right)
    return module


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _takes(signature: inspect.Signature, names: Sequence[str]) -> bool:
    """Whether what has these names may be handed over by position."""
    try:
        bound = signature.bind(*names).arguments
    except TypeError:
        return False
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    return all(kinds[name] is inspect.Parameter.VAR_POSITIONAL or name == value for name, value in bound.items())


def check_has_negatives(per_process: int, processes: int) -> None:
    """What ``check_batch`` does where images are compared with the others of their batch.

    Raises:
        ConfigError: if there are no others.
    """
    require(
        per_process * processes >= 2, "", "compares images of a batch with each other, which takes two or more", got=1
    )


def check_views(views: Sequence[Tensor], *, needed: int | None, exact: bool, why: str) -> None:
    """Reject a batch whose number of views does not fit the method.

    Args:
        views: the batch.
        needed: how many views it must have; None leaves it open.
        exact: whether more are wrong too.
        why: what asks for them, for the error message.

    Raises:
        ConfigError: if there are too few, or with ``exact`` too many, or if they are no list of normalized images.
    """
    if isinstance(views, Tensor):
        raise ConfigError.at(
            "views", f"must be a list with a batch of images per view, got one of {tuple(views.shape)}"
        )
    if any(not view.is_floating_point() for view in views):
        raise ConfigError.at("views", "must be normalized images, as method.preprocess makes them", got=views[0].dtype)
    if misfit := _misfit(len(views), needed=needed, exact=exact, why=why):
        raise ConfigError.at("views", f"{misfit} (a run's come from train_dataloader.views)")


def check_view_count(num_views: int, *, needed: int | None, exact: bool, why: str) -> None:
    """Reject a config whose number of views does not fit the method; the arguments are those of :func:`check_views`.

    Raises:
        ConfigError: if there are too few, or with ``exact`` too many.
    """
    if misfit := _misfit(num_views, needed=needed, exact=exact, why=why):
        raise ConfigError(misfit)


def _misfit(num_views: int, *, needed: int | None, exact: bool, why: str) -> str:
    if needed is None or (num_views >= needed and not (exact and num_views > needed)):
        return ""
    amount = f"exactly {needed}" if exact else f"at least {needed}"
    return f"{why} needs {amount} view{'' if needed == 1 else 's'} of each image, got {num_views}"
