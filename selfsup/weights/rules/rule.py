"""Name maps: tables of rules that say, for every tensor of a file, what it is called here or why it is ignored."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

HWIO_TO_OIHW = (3, 2, 0, 1)
OIHW_TO_HWIO = (2, 3, 1, 0)


@dataclass(frozen=True)
class Rule:
    """One line of a name map.

    Args:
        pattern: regular expression that the whole name must match.
        becomes: the new name, as ``re.sub`` takes it, or a function of the match.
        ignored: why tensors of such names are not needed; they have no new name then.
        hwio: whether kernels are (height, width, in, out), as TensorFlow and JAX store them.
    """

    pattern: str
    becomes: str | Callable[[re.Match[str]], str] = ""
    ignored: str = ""
    hwio: bool = False

    def new_name(self, match: re.Match[str]) -> str:
        """What a tensor of a matching name is called here."""
        return self.becomes(match) if callable(self.becomes) else match.expand(self.becomes)


@dataclass(frozen=True)
class Layout:
    """How one kind of file names its tensors.

    Args:
        marker: regular expression; a file is of this kind if the whole of some name matches.
        rules: tried in order, the first that matches decides; a name that none matches is unexpected.
    """

    marker: str
    rules: tuple[Rule, ...]


@dataclass
class Translation:
    """The tensors of a file under our names.

    Args:
        weights: by our name.
        names: the file's name of each.
        ignored: the file's names of what is not needed, by reason.
        unexpected: the file's names that no rule knows.
        turned: our names of kernels whose axes were put into PyTorch's order.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    turned: set[str] = field(default_factory=set)


def translate(tensors: Mapping[str, Tensor], layouts: Iterable[Layout]) -> Translation | None:
    """Rename the tensors of a file by the first layout it has.

    A file from which just the marker is missing has the layout that knows most of its names, if that is half of them.

    Returns:
        None if the file has none of the layouts.
    """
    layouts = list(layouts)
    for layout in layouts:
        if any(re.fullmatch(layout.marker, name) for name in tensors):
            return _apply(tensors, layout.rules)
    nearest = max((_apply(tensors, layout.rules) for layout in layouts), key=lambda known: len(known.weights))
    return nearest if tensors and 2 * len(nearest.weights) >= len(tensors) else None


def renamed(weights: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """The weights under other names; every name must have a rule."""
    return _apply(weights, rules).weights


def _apply(tensors: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translation:
    result = Translation()
    for name, tensor in tensors.items():
        rule, match = next(
            ((rule, match) for rule in rules if (match := re.fullmatch(rule.pattern, name))), (None, None)
        )
        if rule is not None and rule.ignored:
            result.ignored.setdefault(rule.ignored, []).append(name)
            continue
        ours = rule.new_name(match) if rule is not None and match is not None else None
        if rule is None or ours is None or ours in result.weights:  # a second head, say: nobody can tell which is meant
            result.unexpected.append(name)
            continue
        if rule.hwio and tensor.ndim == 4:
            tensor = tensor.permute(HWIO_TO_OIHW)
            result.turned.add(ours)
        result.weights[ours] = tensor
        result.names[ours] = name
    return result


def under(prefix: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules for files that put ``prefix``, a regular expression without groups, before every name."""
    return tuple(replace(rule, pattern=prefix + rule.pattern) for rule in rules)


def into(prefix: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules for a model that has ``prefix`` before every name."""

    def longer(rule: Rule) -> Callable[[re.Match[str]], str]:
        return lambda match: prefix + rule.new_name(match)

    return tuple(rule if rule.ignored else replace(rule, becomes=longer(rule)) for rule in rules)
