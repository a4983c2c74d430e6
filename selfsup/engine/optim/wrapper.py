"""One optimizer update: precision, accumulation, frozen parameters, clipping, and a guard against bad gradients."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Self, get_args

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from selfsup.engine.optim.groups import parameter_groups
from selfsup.errors import CheckpointError, ConfigError, NonFiniteError, nearest, require, under
from selfsup.ops.parts import all_finite, computed_on, is_split, split_like, total_norm
from selfsup.ops.precision import DTYPES, Precision, fast_precision
from selfsup.registry import OPTIM_WRAPPERS, OPTIMIZERS

PRECISIONS = ("auto", *get_args(Precision))
SMALLEST_LOSS_SCALE = 1.0  # below it fp16 gradients overflow without any scaling: the fault is not the scale's


class Clipping(NamedTuple):
    """What ``clip_grad`` may say."""

    max_norm: float
    norm_type: float = 2.0


@OPTIM_WRAPPERS.register_module()
class PrecisionOptimWrapper(OptimWrapper):
    """Runs the forward pass in a precision and turns losses into updates, on the CPU and GPUs alike.

    ``with wrapper.optim_context(model): ...`` around the forward pass, then ``wrapper.update_params(loss)``. Between
    backward pass and update, in this order: gradients of frozen parameters are dropped, fp16's loss scale is taken out,
    the norm of the gradients is computed and must be finite, and gradients are clipped.

    Args:
        optimizer: whose parameters are updated.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, by autocast; fp16 scales the loss, and skips the updates whose
            gradients overflow while the scale adapts. ``'auto'`` takes what the parameters' device computes fast.
        accumulative_counts: losses per update, >= 1; each is divided by it.
        clip_grad: ``dict(max_norm=..., norm_type=2.0)``, or None.
        freeze: part of a parameter's name -> how long such parameters have no gradient, and so get neither weight
            decay nor momentum: a number of updates, or ``'1 epoch'``. SwAV freezes its prototypes for 313 updates at
            batch 4096: one epoch and one iteration.
        cache_casts: keep each weight's low-precision copy from its first use to the end of the forward pass: little
            gain, and with more than one forward pass per update the copies of all weights stay alive.
        check_finite: stop at gradients that are not finite, before they reach the weights. Costs the wait for one
            number per update on a GPU.
        max_skipped_updates: how many updates of the whole run may be left out because a loss or a gradient is not
            finite; 0 stops the run at the first. Those that fp16 skips while its scale adapts are not among them.

    Attributes:
        precision: that of the forward pass, never ``'auto'``.
        updates: updates so far, skipped ones included.
        skipped_updates: how many of them :meth:`skip` has left out.
        steps_per_epoch: updates in one pass over the data, which the training loop sets; needed to freeze for epochs.
        whole_gradients: of a sharded model, whether gradients stay whole until the last loss of an update; the config's
            ``sharding`` says it.
        last_grad_norm: norm of all gradients at the last update, before clipping, without frozen ones.

    Raises:
        ConfigError: if an argument is unknown or out of its range.

    Source: freezing: Caron et al. 2020, arXiv:2006.09882, and its code, which drops gradients in the same place.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        accumulative_counts: int = 1,
        clip_grad: Mapping[str, float] | None = None,
        freeze: Mapping[str, int | str] | None = None,
        cache_casts: bool = False,
        check_finite: bool = True,
        max_skipped_updates: int = 0,
    ) -> None:
        near = nearest(precision, PRECISIONS)
        require(precision in PRECISIONS, "precision", f"unknown precision {precision!r}", expected=near)
        require(accumulative_counts >= 1, "accumulative_counts", "must be >= 1", got=accumulative_counts)
        require(max_skipped_updates >= 0, "max_skipped_updates", "must be >= 0", got=max_skipped_updates)
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.base_param_settings = None  # MMEngine's own, which would show as one more parameter group
        for key in clip_grad or ():
            near = nearest(key, Clipping._fields)
            require(key in Clipping._fields, "clip_grad", f"unknown key {key!r}", expected=near)
        self.clipping = None if clip_grad is None else Clipping(**clip_grad)
        if self.clipping is not None:
            require(self.clipping.max_norm > 0, "clip_grad.max_norm", "must be > 0", got=self.clipping.max_norm)
        self.freeze = {key: frozen_for(key, given) for key, given in (freeze or {}).items()}
        self.steps_per_epoch: int | None = None
        self.whole_gradients = False
        self.cache_casts = cache_casts
        self.check_finite = check_finite
        self.max_skipped_updates = max_skipped_updates
        self.updates = self.skipped_updates = 0
        self.last_grad_norm: Tensor | None = None
        self._names: dict[Tensor, str] | None = None
        device = computed_on(optimizer.param_groups[0]["params"][0])
        self._device_type = "cpu" if device.type == "meta" else device.type
        self.automatic = precision == "auto"
        self.compute_in(fast_precision(device) if precision == "auto" else precision)

    @classmethod
    def for_method(cls, method: nn.Module, section: Mapping[str, Any]) -> Self:
        """Build and bind what a config's ``optim_wrapper`` says, with its ``optimizer`` and ``param_groups``.

        The method may be on the meta device.
        """
        options = dict(section) | {"type": cls}
        optimizer = options.pop("optimizer")
        groups = parameter_groups(method, options.pop("param_groups", None) or (), lr=optimizer.get("lr"))
        with under("optimizer"):
            built = OPTIMIZERS.build(optimizer, params=groups)
        wrapper: Self = OPTIM_WRAPPERS.build(options, optimizer=built)
        wrapper.bind(method)
        return wrapper

    def bind(self, model: nn.Module) -> None:
        """Learn the names of a model's parameters; needed for ``freeze``, and for messages that name a parameter.

        Raises:
            ConfigError: if a key of ``freeze`` is part of no parameter's name.
        """
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        for key in self.freeze:
            if not any(key in name for name in self._names.values()):
                parts = {part for name in self._names.values() for part in name.split(".")}
                raise ConfigError.at("freeze", f"no parameter's name holds {key!r}", expected=nearest(key, parts))

    def compute_in(self, precision: Precision) -> None:
        """Take another precision from here on; fp16's loss scale starts anew."""
        self.precision = precision
        self.scaler = torch.amp.GradScaler(self._device_type, enabled=precision == "fp16")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast for the forward pass, and no exchange of gradients but for the last loss of an update."""
        kind, lower = self._device_type, self.precision != "fp32"
        autocast = torch.autocast(kind, DTYPES[self.precision], enabled=lower, cache_enabled=self.cache_casts)
        if hasattr(model, "set_requires_all_reduce"):  # sharded; MMEngine knows DistributedDataParallel alone
            sharded: Any = model
            last = self.should_sync()
            sharded.set_requires_gradient_sync(last or not self.whole_gradients)
            sharded.set_requires_all_reduce(last)  # after the other, which sets both
        with super().optim_context(model), autocast:
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add a loss's gradients to those accumulated so far; it is divided by the number of losses already."""
        super().backward(self.scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Update the parameters from their gradients.

        Raises:
            NonFiniteError: if the gradients are not finite; the parameters are untouched.
        """
        self._drop_frozen_gradients()
        gradients = [parameter.grad for parameter in self._parameters() if parameter.grad is not None]
        if gradients:
            self.scaler.unscale_(self.optimizer)
            self.last_grad_norm = total_norm(gradients, 2.0 if self.clipping is None else self.clipping.norm_type)
            if self.check_finite and not torch.isfinite(self.last_grad_norm):
                self._raise_unless_scale_can_adapt()
            if self.clipping is not None:
                clip_grads_with_norm_(self._parameters(), self.clipping.max_norm, self.last_grad_norm)
            self.scaler.step(self.optimizer, **kwargs)
            self.scaler.update()
        self.updates += 1

    @property
    def can_skip(self) -> bool:
        """Whether one more update may be left out."""
        return self.skipped_updates < self.max_skipped_updates

    def skip(self) -> None:
        """Leave out the update whose losses have all been added: their gradients are dropped, nothing else changes."""
        assert self.can_skip
        self.zero_grad()
        self.updates += 1
        self.skipped_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizer and of fp16's loss scale, updates so far, and the parameters' names in order."""
        names = None if self._names is None else [self._names[parameter] for parameter in self._parameters()]
        counts = {"updates": self.updates, "skipped_updates": self.skipped_updates}
        return {**super().state_dict(), **counts, "scaler": self.scaler.state_dict(), "names": names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state with whole tensors, each parameter its own, by name: other groups may hold it than did.

        A state without names, as earlier versions saved it, is taken over by position.

        Raises:
            CheckpointError: if it is of other parameters than the optimizer's.
        """
        state = {name: state_dict[name] for name in ("state", "param_groups")}
        self.updates = state_dict["updates"]
        self.skipped_updates = state_dict.get("skipped_updates", 0)  # not in earlier versions' checkpoints
        self._inner_count = self.updates * self._accumulative_counts
        if state_dict["scaler"]:
            self.scaler.load_state_dict(state_dict["scaler"])
        if (names := state_dict.get("names")) is not None and self._names is not None:
            state |= _regrouped(state, names, self._named_groups(self._names))
        parameters = list(self._parameters())
        state["state"] = {
            number: {name: _split(value, parameters[number]) for name, value in _read(values, parameters[number])}
            for number, values in state["state"].items()
        }
        super().load_state_dict(state)

    def has_groups_of(self, state_dict: Mapping[str, Any]) -> bool:
        """Whether a state's parameters are sorted into the same groups as the optimizer's, as far as it names them."""
        if (names := state_dict.get("names")) is None or self._names is None:
            return True
        saved = [[names[number] for number in group["params"]] for group in state_dict["param_groups"]]
        return saved == self._named_groups(self._names)

    def _named_groups(self, names: Mapping[Tensor, str]) -> list[list[str]]:
        return [[names[parameter] for parameter in group["params"]] for group in self.optimizer.param_groups]

    def _parameters(self) -> Iterator[nn.Parameter]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _drop_frozen_gradients(self) -> None:
        if not self.freeze:
            return
        in_epochs = any(unit == "epochs" for _, unit in self.freeze.values())
        if self._names is None or (in_epochs and self.steps_per_epoch is None):
            raise RuntimeError("freeze needs bind(model) before training, and steps_per_epoch where it counts epochs")
        steps = {"updates": 1, "epochs": self.steps_per_epoch or 0}
        frozen = [key for key, (number, unit) in self.freeze.items() if self.updates < number * steps[unit]]
        for parameter, name in self._names.items():
            if any(key in name for key in frozen):
                parameter.grad = None

    def _raise_unless_scale_can_adapt(self) -> None:
        if self.scaler.is_enabled() and self.scaler.get_scale() >= SMALLEST_LOSS_SCALE:
            return
        fault = "the norm of all gradients overflows"
        for number, parameter in enumerate(self._parameters()):
            if parameter.grad is not None and not all_finite(parameter.grad):
                name = f"parameter {number}" if self._names is None else self._names[parameter]
                fault = f"the gradient of {name} is not finite"
                break
        self.scaler.update()  # takes in the overflow, and is ready for the next update if this one is left out
        raise NonFiniteError(f"{fault} (norm {float(self.last_grad_norm or 0):g})")


def _split(value: Any, parameter: Tensor) -> Any:
    """A part of an optimizer's state, split over the processes as its parameter is."""
    if not isinstance(value, Tensor) or is_split(value) or value.shape != parameter.shape:
        return value
    return split_like(value, parameter)


def _read(values: Mapping[str, Any], parameter: Tensor) -> Iterable[tuple[str, Any]]:
    """What an optimizer keeps of a parameter; of a checkpoint's folder each process reads its own rows."""
    if hasattr(values, "parts_like"):
        values = values.parts_like(dict.fromkeys(values, parameter))
    return values.items()


def _regrouped(state: Mapping[str, Any], names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The state of an optimizer, which knows its parameters by number, for one with other groups of these names.

    A group whose members were in several ones has the options of its first member's.

    Raises:
        CheckpointError: if the two have not the same parameters.
    """
    before = {name: number for number, name in enumerate(names)}
    now = {name: number for number, name in enumerate(name for group in groups for name in group)}
    missing, unexpected = ([name for name in one if name not in other] for one, other in ((now, before), (before, now)))
    if missing or unexpected:
        raise CheckpointError.at(
            "optim_wrapper",
            f"the saved optimizer is not of the parameters that are trained now: missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}",
            expected="train the same ones, or start a new run from the weights with --init-from",
        )
    options = {number: group for group in state["param_groups"] for number in group["params"]}
    return {
        "state": {now[name]: state["state"][before[name]] for name in now if before[name] in state["state"]},
        "param_groups": [{**options[before[group[0]]], "params": [now[name] for name in group]} for group in groups],
    }


def frozen_for(key: str, given: int | str) -> tuple[float, str]:
    """How long a parameter is frozen: number and unit, ``'updates'`` or ``'epochs'``."""
    if isinstance(given, int) and given >= 0:
        return given, "updates"
    match = re.fullmatch(r"(\d+(?:\.\d+)?) epochs?", str(given))
    if match is None:
        raise ConfigError.at(f"freeze.{key}", "must be a number of updates >= 0, or text such as '1 epoch'", got=given)
    return float(match[1]), "epochs"
