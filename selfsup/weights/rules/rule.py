"""Name maps: tables of rules that say, for every tensor of a file, what it is called here or why it is ignored."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

HWIO_TO_OIHW = (3, 2, 0, 1)


@dataclass(frozen=True)
class Rule:
    """One line of a name map."""

    pattern: str  # regular expression that the whole name must match
    becomes: str | Callable[[re.Match[str]], str] = ""  # the new name, as ``re.sub`` takes it, or made of the match
    ignored: str = ""  # why tensors of such names are not needed; they have no new name then
    hwio: bool = False  # whether kernels are (height, width, in, out), as TensorFlow and JAX store them
    into: str = ""  # what is put before the new name

    def new_name(self, match: re.Match[str]) -> str:
        """What a tensor of a matching name is called here."""
        return self.into + (self.becomes(match) if callable(self.becomes) else match.expand(self.becomes))


@dataclass(frozen=True)
class Layout:
    """How one kind of file names its tensors."""

    marker: str  # regular expression; a file is of this kind if the whole of some name matches
    rules: tuple[Rule, ...]  # the first that matches decides; a name that none matches is unexpected


@dataclass
class Translation:
    """The tensors of a file under our names."""

    weights: dict[str, Tensor] = field(default_factory=dict)  # by our name
    names: dict[str, str] = field(default_factory=dict)  # the file's name of each
    ignored: dict[str, list[str]] = field(default_factory=dict)  # the file's names of what is not needed, by reason
    unexpected: list[str] = field(default_factory=list)  # the file's names that no rule knows


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
    return tuple(replace(rule, into=prefix + rule.into) for rule in rules)
