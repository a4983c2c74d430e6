"""The recipe of a run: what a config may hold outside its components, with every default.

A section is a dataclass; its fields are the section's keys. What a *component* (a dict with a ``type``) accepts is read
from the component's own signature, never from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from math import inf
from typing import Any, Literal, Self, get_type_hints

from selfsup import registry
from selfsup.config.annotations import classes
from selfsup.config.default_hooks import DEFAULT_HOOKS
from selfsup.errors import ConfigError, nearest
from selfsup.registry import Registry


@dataclass(frozen=True, kw_only=True)
class TrainDataloader:
    """How training images become batches.

    Args:
        batch_size: images per process and micro-batch, >= 1.
        dataset: images, from DATASETS.
        views: the view pipeline, from TRANSFORMS.
        num_workers: processes that decode and augment, never more than there are processors; 0 works in the main
            process, None takes a number that fits the machine.
        prefetch_factor: batches that each of those prepares ahead, >= 1; they wait in memory.
        shards_at_once: of images in shards (``WebShards``), work through so many at a time, so that few are read from a
            network or a slow disk; None mixes all images.
        max_bad_share: share of images that may be undecodable before the run stops, in [0, 1].
        num_images: size of the data set the recipe was written for, for ``--dry-run``, which reads no data.
    """

    batch_size: int
    dataset: dict[str, Any]
    views: dict[str, Any]
    num_workers: int | None = None
    prefetch_factor: int = 4
    shards_at_once: int | None = None
    max_bad_share: float = 0.01
    num_images: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainCfg:
    """How long to train: passes over the data or optimizer updates, exactly one of the two."""

    max_epochs: int | None = None
    max_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class AutoScaleLr:
    """The recipe's own batch, and how its learning rate follows another one.

    Args:
        base_batch_size: images per optimizer update that the recipe's learning rates belong to.
        rule: learning rate proportional to the batch, or to its square root.
    """

    base_batch_size: int
    rule: Literal["linear", "sqrt"] = "linear"


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Parameters that the optimizer treats differently: which ones, and how; a later group wins.

    Args:
        kinds: ``'bias'``, ``'norm'`` (weights and biases of normalization layers), or both.
        match: shell patterns for parameter names, such as ``'predictor.*'``.
        lr_scale: factor on the optimizer's learning rate.
        fixed_lr, fixed_weight_decay: schedules leave it alone.
        adapt: False takes the parameters out of LARS's adaptation.
        lr, weight_decay, momentum, nesterov, trust_coefficient, betas, eps: replace the optimizer's.
    """

    kinds: str | Sequence[Literal["bias", "norm"]] | None = None
    match: str | Sequence[str] | None = None
    lr: float | None = None
    lr_scale: float | None = None
    fixed_lr: bool | None = None
    weight_decay: float | None = None
    fixed_weight_decay: bool | None = None
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
    """How the method is split over the processes.

    Args:
        min_parameters: blocks with fewer are not gathered one by one.
        copies: groups of processes, each of which holds all parts; within a group blocks are gathered, and between
            groups gradients alone are exchanged. As many as machines, as a rule.
        whole_gradients: keep gradients whole until an update's last micro-batch, which saves their exchange for all
            others and takes the memory of all gradients.
        gather: precision in which the weights of blocks travel and are computed with, all but those of batch norm and
            prototypes; gradients are summed in float32 in any case. ``'bf16'`` goes with the same
            ``optim_wrapper.precision``.
        offload: keep each process's parts of weights, gradients and optimizer state in the memory of the processor,
            where they are updated too, and take to the device only what is gathered.
    """

    min_parameters: int = 1_000_000
    copies: int = 1
    whole_gradients: bool = False
    gather: Literal["fp32", "bf16"] = "fp32"
    offload: bool = False


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images that are held out from the training: ``val`` watches it, ``test`` is for the evaluation after it.

    Args:
        val: share of the images, in [0, 1).
        test: likewise.
        max_images: the most that each of the two takes, >= 1.
        seed: of the choice; not the run's, so that runs with other seeds share one split.
    """

    val: float = 0.1
    test: float = 0.1
    max_images: int = 10_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """How images must be shown to the backbone in an evaluation; None leaves it to the method or the weights.

    The keys are those of :class:`selfsup.data.InputContract`.
    """

    size: int | None = None
    resize: str | None = None
    crop: Literal["center", "none"] | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    value_range: tuple[float, float] | None = None
    channel_order: Literal["rgb", "bgr"] | None = None
    background: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run is made of: the top level of a config; sections are classes of their own.

    Args:
        model: the method, from METHODS.
        split: None trains on all images.
        sharding: None keeps the whole method in every process.
        optim_wrapper: optimizer and precision, from OPTIM_WRAPPERS; ``type`` defaults to PrecisionOptimWrapper.
        param_scheduler: one schedule or several, from PARAM_SCHEDULERS.
        tasks: labeled images to evaluate on by name, from TASKS; without any, the run's own split is the one task.
        evaluators: measures by name, from EVALUATORS; None leaves one out.
        evaluate_every: epochs between two evaluations; 0 evaluates at the end only.
        layer: whose features are evaluated; ``'pooled'`` is the backbone's output.
        custom_hooks: more hooks, from HOOKS.
        default_hooks: changes to the hooks of every run, by the names of
            :data:`~selfsup.config.default_hooks.DEFAULT_HOOKS`: a dict changes a hook's arguments, one with another
            ``type`` replaces it, None switches it off.
        sync_bn: batch-norm statistics over all processes, over groups of that many, or per process.
        channels_last: memory format of images and convolutions.
        compile: compile the blocks of the backbone with ``torch.compile``, where they run first.
        tune_allocator: let the C allocator keep what is freed where the run computes on the CPU, see
            ``selfsup.ops.memory.tune_allocator``.
        tf32: on GPUs, whether training takes TF32's 10 bits for float32 products; evaluations never do.
        cudnn_benchmark: on GPUs, whether the fastest convolutions are found by trying them, once for each size.
        deterministic: on GPUs, whether only what repeats bit by bit is used, which is slower; on CPUs it always is.
        seed: seed of everything random.
        work_dir: where results go; None stands for ``work_dirs/<config name>``.
        load_from: checkpoint whose weights the training starts from.
        find_unused_parameters: for methods that leave parameters without gradient, on several processes.
        dist_timeout: minutes that a process waits for the others before the run is given up; one that lists a billion
            files lets them wait for the better part of an hour.
        slow_step: seconds after which a step of several processes is reported, with what each of them is doing.
        recipe: what the config is called on the cards of what it trains; None stands for its name or path.
        budget: the time that ``--budget`` has fitted the number of steps to, such as ``'30m'``, for the record: a run
            that has it resumes with the recipe that it stored.
    """

    model: dict[str, Any]
    train_dataloader: TrainDataloader
    optim_wrapper: dict[str, Any]
    train_cfg: TrainCfg
    param_scheduler: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    tasks: dict[str, Any] = field(default_factory=dict)
    evaluators: dict[str, Any] = field(default_factory=dict)
    evaluate_every: int = 1
    split: Split | None = field(default_factory=Split)
    input_contract: InputContract = field(default_factory=InputContract)
    layer: str = "pooled"
    custom_hooks: Sequence[dict[str, Any]] = field(default_factory=list)
    default_hooks: dict[str, Any] = field(default_factory=dict)
    auto_scale_lr: AutoScaleLr | None = None
    sync_bn: Literal["all"] | int | None = None
    sharding: Sharding | None = None
    channels_last: bool = True
    compile: bool = False
    tune_allocator: bool = True
    tf32: bool = False
    cudnn_benchmark: bool = True
    deterministic: bool = False
    seed: int = 0
    work_dir: str | None = None
    load_from: str | None = None
    find_unused_parameters: bool = False
    dist_timeout: float = 120.0
    slow_step: float = 120.0
    custom_imports: CustomImports | None = None
    recipe: str | None = None
    budget: str | None = None

    @classmethod
    def of(cls, config: "Recipe | Mapping[str, Any]") -> "Recipe":
        """A recipe as it is, or that of a dict."""
        return config if isinstance(config, Recipe) else cls.from_dict(config)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], *, partial: bool = False) -> Self:
        """The recipe of a valid config, with the defaults of every section; arguments of components stay as they are.

        With ``partial``, what is unknown is left out, and what is required and missing is None.
        """
        values: dict[str, Any] = {}
        for name, value in config.items():
            values[name] = _copied(value)
            if name in SECTIONS and isinstance(value, Mapping):
                values[name] = _made(SECTIONS[name], values[name], partial)
        for name in ("tasks", "evaluators"):
            if isinstance(given := values.get(name), dict):
                values[name] = {key: item for key, item in given.items() if item is not None}
        values["default_hooks"] = {name: {} for name in DEFAULT_HOOKS} | (values.get("default_hooks") or {})
        return _made(cls, values, partial)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, as a config file and a checkpoint hold it, without what is not given."""
        return _plain(self)

    @property
    def accumulate(self) -> int:
        """Micro-batches per optimizer update."""
        return self.optim_wrapper.get("accumulative_counts", 1)

    @property
    def precision(self) -> Literal["auto", "fp32", "bf16", "fp16"]:
        """Of the forward pass: ``'auto'`` leaves it to the device."""
        return self.optim_wrapper.get("precision", "auto")

    @property
    def schedules(self) -> dict[str, dict[str, Any]]:
        """Every schedule by its path: one, several or none."""
        given = self.param_scheduler or []
        if isinstance(given, dict):
            return {"param_scheduler": given}
        return {f"param_scheduler.{number}": schedule for number, schedule in enumerate(given)}

    @property
    def hooks(self) -> dict[str, dict[str, Any]]:
        """The hooks of every run by their path, with the arguments that other sections give.

        Raises:
            ConfigError: if there is a name that none of them has.
        """
        for name in self.default_hooks.keys() - DEFAULT_HOOKS.keys():
            right = nearest(name, DEFAULT_HOOKS)
            raise ConfigError.at(f"default_hooks.{name}", "is no hook of every run", expected=right)
        chosen = {}
        for name, default in DEFAULT_HOOKS.items():
            if (given := self.default_hooks[name]) is not None:
                hook = {"type": default.type, **given}
                if hook["type"] == default.type:  # one that stands in for it has arguments of its own
                    hook = {**{argument: read(self) for argument, read in default.takes.items()}, **hook}
                chosen[f"default_hooks.{name}"] = hook
        return chosen


SECTIONS: dict[str, type] = {
    name: kinds[0] for name, hint in get_type_hints(Recipe).items() if (kinds := classes(hint))
}


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config in a checkpoint of an earlier version, in the words of this one."""
    return {"split": None, "compile": False, "slow_step": 120.0, **config}  # what held until there were these keys


def _made(section: type, values: Mapping[str, Any], partial: bool) -> Any:
    if not partial:
        return section(**values)
    required = {each.name: None for each in fields(section) if each.default is each.default_factory is MISSING}
    known = {each.name: values[each.name] for each in fields(section) if each.name in values}
    return section(**required | known)


def _copied(value: Any) -> Any:
    """A copy of dicts, lists and tuples; what else is in them is the same."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _plain(section: Any) -> dict[str, Any]:
    values = {
        each.name: getattr(section, each.name)
        for each in fields(section)
        if not (each.default is None and getattr(section, each.name) is None)  # not given
    }
    return {name: _plain(value) if is_dataclass(value) else _copied(value) for name, value in values.items()}


ALTERNATIVES: dict[str, tuple[str, ...]] = {"train_cfg": ("max_epochs", "max_steps")}
"""Keys of a section of which exactly one is given."""

LIMITS: dict[str, tuple[float, float]] = {
    "train_dataloader.batch_size": (1, inf),
    "train_dataloader.num_workers": (0, inf),
    "train_dataloader.prefetch_factor": (1, inf),
    "train_dataloader.shards_at_once": (1, inf),
    "train_dataloader.max_bad_share": (0, 1),
    "train_dataloader.num_images": (1, inf),
    "train_cfg.max_epochs": (1, inf),
    "train_cfg.max_steps": (1, inf),
    "split.val": (0, 0.9),
    "split.test": (0, 0.9),
    "auto_scale_lr.base_batch_size": (1, inf),
    "optim_wrapper.accumulative_counts": (1, inf),
    "evaluate_every": (0, inf),
    "sharding.min_parameters": (0, inf),
    "sharding.copies": (1, inf),
    "sync_bn": (1, inf),
    "seed": (0, inf),
    "dist_timeout": (1, 7 * 24 * 60),
    "slow_step": (1, inf),
}
"""The least and the greatest number that makes sense, by path; components check their own arguments."""


@dataclass(frozen=True)
class Place:
    """A key whose value is a component."""

    registry: Registry  # where its ``type`` is looked up
    supplied: tuple[str, ...] = ()  # arguments that the builder knows and the config may leave out
    extra: tuple[tuple[str, Any], ...] = ()  # keys that the builder reads besides, with their annotations
    named: bool = False  # the value is a dict of components by free names
    default_type: str | None = None  # the component meant when there is no ``type``
    members: "Mapping[str, Place] | None" = None  # with ``named``, the only names there are, and what each is
    needs: tuple[str, ...] = ()  # what the component's class must have, because the engine calls it


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
    "val": Place(registry.DATASETS),
    "test": Place(registry.DATASETS),
    "views": Place(registry.TRANSFORMS),
    "transforms": Place(registry.TRANSFORMS),
    "transform": Place(registry.TRANSFORMS),
    "before": Place(registry.TRANSFORMS),
    "shared": Place(registry.TRANSFORMS),
    "optim_wrapper": Place(
        registry.OPTIM_WRAPPERS,
        supplied=("optimizer",),
        extra=(("optimizer", dict[str, Any]), ("param_groups", Sequence[ParamGroup])),
        default_type=DEFAULT_WRAPPER,
        needs=("for_method",),
    ),
    "optimizer": Place(registry.OPTIMIZERS, supplied=("params",)),
    "param_scheduler": Place(registry.PARAM_SCHEDULERS, supplied=("optimizer", "steps_per_epoch", "total_steps")),
    "tasks": Place(registry.TASKS, supplied=("name",), named=True),
    "evaluators": Place(registry.EVALUATORS, extra=(("task", str | None),), named=True),
    "custom_hooks": Place(registry.HOOKS),
    "default_hooks": Place(
        registry.HOOKS,
        named=True,
        members={
            name: Place(registry.HOOKS, supplied=tuple(hook.takes), default_type=hook.type)
            for name, hook in DEFAULT_HOOKS.items()
        },
    ),
}

REGISTRIES: tuple[Registry, ...] = tuple(value for value in vars(registry).values() if isinstance(value, Registry))
"""Every registry of ours, for components in places that :data:`PLACES` does not name."""
