"""Parameter groups from rules: which parameters the optimizer treats differently."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from selfsup.errors import ConfigError, nearest, require

KINDS = ("bias", "norm")
SELECTORS = ("kinds", "match")
OPTIONS = (
    "lr",
    "lr_scale",
    "fixed_lr",
    "weight_decay",
    "fixed_weight_decay",
    "adapt",
    "momentum",
    "nesterov",
    "trust_coefficient",
    "betas",
    "eps",
)


def parameter_groups(
    model: nn.Module, rules: Sequence[Mapping[str, Any]] = (), *, lr: float | None = None
) -> list[dict[str, Any]]:
    """Sort a model's trainable parameters into groups for an optimizer.

    Every rule is a dict with ``kinds``, ``match`` or both, and options. ``kinds`` is a name or several of ``'bias'``
    (any parameter called bias) and ``'norm'`` (weights and biases of normalization layers); ``match`` is a shell
    pattern or several for the parameter's whole name, such as ``'predictor.*'``. A rule with both applies where both
    hold. Rules apply in order and a later one wins, option by option. The options are those of the optimizer and

    - ``fixed_lr=True``, ``fixed_weight_decay=True``: schedules leave it as it is (SimSiam's predictor);
    - ``lr_scale``: factor on ``lr``, instead of a learning rate of the group's own;
    - ``adapt=False``: plain momentum SGD in LARS.

    Args:
        model: whose trainable parameters are sorted; a shared one counts once.
        rules: see above; ``dict(kinds=('bias', 'norm'), weight_decay=0.0, adapt=False)`` is SimCLR's and BYOL's.
        lr: the optimizer's learning rate, for ``lr_scale``.

    Raises:
        ConfigError: if a rule has an unknown key or kind, selects nothing, or the model has nothing to train.
    """
    checked = [_checked(rule, f"param_groups.{number}", lr) for number, rule in enumerate(rules)]
    selecting: set[int] = set()
    groups: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
    for name, parameter, kinds in _described(model):
        options: dict[str, Any] = {}
        for number, rule in enumerate(rules):
            if _selects(rule, name, kinds):
                selecting.add(number)
                options |= checked[number]
        if parameter.requires_grad:
            key = tuple(sorted(options.items()))
            groups.setdefault(key, {"params": [], **options})["params"].append(parameter)
    for number, rule in enumerate(rules):
        if number not in selecting:
            selection = ", ".join(f"{selector}={rule[selector]!r}" for selector in SELECTORS if selector in rule)
            names = ", ".join(name for name, _ in list(model.named_parameters())[:8])
            raise ConfigError.at(
                f"param_groups.{number}", f"{selection} matches no parameter", expected=f"they are called {names}, ..."
            )
    require(groups, "", "the model has no parameter that is trained")
    return list(groups.values())


def _described(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, set[str]]]:
    """Every parameter once, with its name and kinds."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for module in model.modules():
        norm = {"norm"} if _is_norm(module) else set()
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in names:
                yield names.pop(parameter), parameter, norm | ({"bias"} if name == "bias" else set())


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes: PyTorch's own, and any other whose class is called ...Norm."""
    if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm):
        return True
    return type(module).__name__.rstrip("123d").lower().endswith("norm")


def _checked(rule: Mapping[str, Any], where: str, lr: float | None) -> dict[str, Any]:
    """The options of a rule, as the optimizer takes them."""
    for key in rule:
        if key not in SELECTORS + OPTIONS:
            raise ConfigError.at(where, f"unknown key {key!r}", expected=nearest(key, SELECTORS + OPTIONS))
    for kind in _several(rule.get("kinds", ())):
        if kind not in KINDS:
            raise ConfigError.at(f"{where}.kinds", f"unknown kind {kind!r}", expected=nearest(kind, KINDS))
    if not any(_several(rule.get(selector, ())) for selector in SELECTORS):
        raise ConfigError.at(where, f"needs kinds or match to say which parameters, got keys {sorted(rule)}")
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in rule.items() if key not in SELECTORS
    }
    require(given, where, "selects parameters but changes nothing", expected=f"add one of {', '.join(OPTIONS)}")
    if "lr_scale" in given:
        require("lr" not in given, where, "give lr or lr_scale, not both")
        if lr is None:
            raise ConfigError.at(where, "lr_scale needs the optimizer's lr, got none")
        given["lr"] = lr * given.pop("lr_scale")
    return given


def _selects(rule: Mapping[str, Any], name: str, kinds: set[str]) -> bool:
    wanted, patterns = _several(rule.get("kinds", ())), _several(rule.get("match", ()))
    return (not wanted or not kinds.isdisjoint(wanted)) and (
        not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
