"""What a config may hold outside its components: the sections, and which registry each place looks its names up in.

A section is a dataclass; its fields are the section's keys, their annotations are checked and their defaults are filled
in. What a *component* accepts is read from the component's own signature, never from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from selfsup import registry
from selfsup.config.default_hooks import DEFAULT_HOOKS, DefaultHook
from selfsup.registry import Registry


@dataclass(frozen=True, kw_only=True)
class TrainDataloader:
    """How training images become batches.

    Args:
        batch_size: images per process and micro-batch, >= 1.
        dataset: images, from DATASETS.
        views: the view pipeline, from TRANSFORMS.
        num_workers: processes that decode and augment; 0 works in the main process.
        prefetch_factor: batches that each of those prepares ahead, >= 1; they wait in memory.
        max_bad_share: share of images that may be undecodable before the run stops, in [0, 1].
        num_images: size of the data set the recipe was written for, for ``--dry-run``, which reads no data.
    """

    batch_size: int
    dataset: dict[str, Any]
    views: dict[str, Any]
    num_workers: int = 2
    prefetch_factor: int = 4
    max_bad_share: float = 0.01
    num_images: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainCfg:
    """How long to train; exactly one of the two.

    Args:
        max_epochs: passes over the data, >= 1.
        max_steps: optimiser updates, >= 1.
    """

    max_epochs: int | None = None
    max_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class AutoScaleLr:
    """The recipe's own batch, and how its learning rate follows another one.

    Args:
        base_batch_size: images per optimiser update that the recipe's learning rates belong to.
        rule: learning rate proportional to the batch, or to its square root.
    """

    base_batch_size: int
    rule: Literal["linear", "sqrt"] = "linear"


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Parameters that the optimiser treats differently: which ones, and how; a later group wins.

    Args:
        kinds: ``'bias'``, ``'norm'`` (weights and biases of normalisation layers), or both.
        match: shell patterns for parameter names, such as ``'predictor.*'``.
        lr: replaces the optimiser's learning rate.
        lr_scale: factor on the optimiser's learning rate.
        fixed_lr: schedules leave the learning rate alone.
        weight_decay: replaces the optimiser's.
        adapt: False takes the parameters out of LARS's adaptation.
        momentum: replaces the optimiser's.
        nesterov: replaces the optimiser's.
        trust_coefficient: replaces LARS's.
        betas: replaces Adam's.
        eps: replaces Adam's.
    """

    kinds: str | Sequence[Literal["bias", "norm"]] | None = None
    match: str | Sequence[str] | None = None
    lr: float | None = None
    lr_scale: float | None = None
    fixed_lr: bool | None = None
    weight_decay: float | None = None
    adapt: bool | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    trust_coefficient: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None


@dataclass(frozen=True, kw_only=True)
class CustomImports:
    """Modules imported before anything is looked up, so that they can register components.

    Args:
        imports: module names, or paths of ``.py`` files relative to the config that names them.
        allow_failed_imports: whether a module that cannot be imported is passed over; one that registers a taken name
            never is.
    """

    imports: str | Sequence[str]
    allow_failed_imports: bool = False


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How the method is split over the processes, so that none needs memory for all of it.

    Args:
        min_parameters: blocks with fewer parameters are not gathered one by one, >= 0.
    """

    min_parameters: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The top level of a config.

    Args:
        model: the method, from METHODS.
        train_dataloader: see :class:`TrainDataloader`.
        optim_wrapper: optimiser and precision, from OPTIM_WRAPPERS; ``type`` defaults to PrecisionOptimWrapper.
        train_cfg: see :class:`TrainCfg`.
        param_scheduler: one schedule or several, from PARAM_SCHEDULERS.
        evaluators: measures by name, from EVALUATORS; None leaves one out.
        evaluate_every: epochs between two evaluations; 0 evaluates at the end only.
        custom_hooks: more hooks, from HOOKS.
        default_hooks: changes to the hooks of every run, by the names of
            :data:`~selfsup.config.default_hooks.DEFAULT_HOOKS`: a dict changes a hook's arguments, one with another
            ``type`` replaces it, None switches it off.
        auto_scale_lr: see :class:`AutoScaleLr`.
        sync_bn: batch-norm statistics over all processes, over groups of that many, or per process.
        sharding: see :class:`Sharding`; None keeps the whole method in every process.
        channels_last: memory format of images and convolutions.
        tune_allocator: let the C allocator keep what is freed where the run computes on the CPU, see
            :func:`~selfsup.ops.memory.tune_allocator`.
        seed: seed of everything random.
        work_dir: where results go; None stands for ``work_dirs/<config name>``.
        load_from: checkpoint whose weights the training starts from.
        find_unused_parameters: for methods that leave parameters without gradient, on several processes.
        dist_timeout: minutes that a process waits for the others before the run is given up. A machine that lists a
            billion files lets the others wait for the better part of an hour; a process that is stuck lets them wait
            for as long as this says.
        custom_imports: see :class:`CustomImports`.
        recipe: what the config is called on the cards of what it trains; None stands for its name or path.
    """

    model: dict[str, Any]
    train_dataloader: dict[str, Any]
    optim_wrapper: dict[str, Any]
    train_cfg: dict[str, Any]
    param_scheduler: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    evaluators: dict[str, Any] = field(default_factory=dict)
    evaluate_every: int = 1
    custom_hooks: Sequence[dict[str, Any]] = field(default_factory=list)
    default_hooks: dict[str, Any] = field(default_factory=dict)
    auto_scale_lr: dict[str, Any] | None = None
    sync_bn: Literal["all"] | int | None = None
    sharding: dict[str, Any] | None = None
    channels_last: bool = True
    tune_allocator: bool = True
    seed: int = 0
    work_dir: str | None = None
    load_from: str | None = None
    find_unused_parameters: bool = False
    dist_timeout: float = 120.0
    custom_imports: dict[str, Any] | None = None
    recipe: str | None = None


SECTIONS: dict[str, type] = {
    "train_dataloader": TrainDataloader,
    "train_cfg": TrainCfg,
    "auto_scale_lr": AutoScaleLr,
    "param_groups": ParamGroup,
    "custom_imports": CustomImports,
    "sharding": Sharding,
}


ALTERNATIVES: dict[str, tuple[str, ...]] = {"train_cfg": ("max_epochs", "max_steps")}
"""Keys of a section of which exactly one is given."""

AT_LEAST: dict[str, int] = {
    "train_dataloader.batch_size": 1,
    "train_dataloader.num_workers": 0,
    "train_dataloader.prefetch_factor": 1,
    "train_dataloader.max_bad_share": 0,
    "train_dataloader.num_images": 1,
    "train_cfg.max_epochs": 1,
    "train_cfg.max_steps": 1,
    "auto_scale_lr.base_batch_size": 1,
    "optim_wrapper.accumulative_counts": 1,
    "evaluate_every": 0,
    "sharding.min_parameters": 0,
    "sync_bn": 1,
    "seed": 0,
    "dist_timeout": 1,
}
"""The least number that makes sense, by path; components check their own arguments."""

AT_MOST: dict[str, int] = {"train_dataloader.max_bad_share": 1, "dist_timeout": 7 * 24 * 60}
"""The greatest."""


@dataclass(frozen=True)
class Place:
    """A key whose value is a component.

    Args:
        registry: where its ``type`` is looked up.
        supplied: arguments that the builder knows and the config may leave out.
        extra: keys besides the component's own arguments that the builder reads, with their annotations.
        named: the value is a dict of components by free names.
        default_type: the component meant when there is no ``type``.
        members: with ``named``, the only names there are, and what is meant by each.
        needs: what the component's class must have, because the engine calls it.
    """

    registry: Registry
    supplied: tuple[str, ...] = ()
    extra: tuple[tuple[str, Any], ...] = ()
    named: bool = False
    default_type: str | None = None
    members: Mapping[str, DefaultHook] | None = None
    needs: tuple[str, ...] = ()


DEFAULT_WRAPPER = "PrecisionOptimWrapper"

PLACES: dict[str, Place] = {
    "model": Place(registry.METHODS, needs=("before_step", "after_step", "check_batch")),
    "teacher": Place(registry.METHODS),
    "backbone": Place(registry.BACKBONES),
    "neck": Place(registry.NECKS, supplied=("in_dim",)),
    "predictor": Place(registry.NECKS, supplied=("in_dim", "out_dim")),
    "prototypes": Place(registry.NECKS, supplied=("in_dim",)),
    "loss": Place(registry.LOSSES),
    "dataset": Place(registry.DATASETS),
    "train": Place(registry.DATASETS),
    "test": Place(registry.DATASETS),
    "views": Place(registry.TRANSFORMS),
    "transforms": Place(registry.TRANSFORMS),
    "transform": Place(registry.TRANSFORMS),
    "before": Place(registry.TRANSFORMS),
    "shared": Place(registry.TRANSFORMS),
    "optim_wrapper": Place(
        registry.OPTIM_WRAPPERS,
        supplied=("optimizer",),
        extra=(("optimizer", dict[str, Any]), ("param_groups", Sequence[dict[str, Any]])),
        default_type=DEFAULT_WRAPPER,
        needs=("for_method",),
    ),
    "optimizer": Place(registry.OPTIMIZERS, supplied=("params",)),
    "param_scheduler": Place(registry.PARAM_SCHEDULERS, supplied=("optimizer", "steps_per_epoch", "total_steps")),
    "evaluators": Place(registry.EVALUATORS, supplied=("train", "test", "preprocess", "size", "resize"), named=True),
    "custom_hooks": Place(registry.HOOKS),
    "default_hooks": Place(registry.HOOKS, named=True, members=DEFAULT_HOOKS),
}

REGISTRIES: tuple[Registry, ...] = tuple(value for value in vars(registry).values() if isinstance(value, Registry))
"""Every registry of ours, for components in places that :data:`PLACES` does not name."""
