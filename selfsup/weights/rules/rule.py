"""Name maps: tables of rules that say, for every tensor of a file, what it is called here or why it is ignored."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

HWIO_TO_OIHW = (3, 2, 0, 1)


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
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)


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
    readings = (_apply(tensors, layout.rules) for layout in layouts)
    nearest = max(readings, key=lambda known: len(known.weights), default=Translation())
    return nearest if tensors and 2 * len(nearest.weights) >= len(tensors) else None


def _apply(tensors: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translation:
    result = Translation()
    for name, tensor in tensors.items():
        found = next(((rule, match) for rule in rules if (match := re.fullmatch(rule.pattern, name))), None)
        if found is not None and found[0].ignored:
            result.ignored.setdefault(found[0].ignored, []).append(name)
        elif found is None or (ours := found[0].new_name(found[1])) in result.weights:  # a second head, say
            result.unexpected.append(name)
        else:
            result.weights[ours] = tensor.permute(HWIO_TO_OIHW) if found[0].hwio and tensor.ndim == 4 else tensor
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
