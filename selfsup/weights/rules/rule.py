"""Name maps: tables of rules that say, for every tensor of a file, what it is called here or why it is not needed."""

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
        aside: why tensors of such names are not needed; they have no new name then.
        hwio: whether kernels are (height, width, in, out), as TensorFlow and JAX store them.
    """

    pattern: str
    becomes: str | Callable[[re.Match[str]], str] = ""
    aside: str = ""
    hwio: bool = False


@dataclass(frozen=True)
class Layout:
    """How one kind of file names its tensors.

    Args:
        marker: regular expression; a file is of this kind if the whole of some name matches.
        rules: tried in order, the first that matches decides; a name that none matches is left over.
    """

    marker: str
    rules: tuple[Rule, ...]


@dataclass
class Translation:
    """The tensors of a file under our names.

    Args:
        weights: by our name.
        names: the file's name of each.
        aside: the file's names of what is not needed, by reason.
        left_over: the file's names that no rule knows.
        turned: our names of kernels whose axes were put into PyTorch's order.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    aside: dict[str, list[str]] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
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


def _apply(tensors: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translation:
    result = Translation()
    for name, tensor in tensors.items():
        for rule in rules:
            match = re.fullmatch(rule.pattern, name)
            if match is None:
                continue
            if rule.aside:
                result.aside.setdefault(rule.aside, []).append(name)
                break
            ours = rule.becomes(match) if callable(rule.becomes) else match.expand(rule.becomes)
            if ours in result.weights:  # a second head, say: which one is meant cannot be told
                result.left_over.append(name)
                break
            if rule.hwio and tensor.ndim == 4:
                tensor = tensor.permute(HWIO_TO_OIHW)
                result.turned.add(ours)
            result.weights[ours] = tensor
            result.names[ours] = name
            break
        else:
            result.left_over.append(name)
    return result


def under(prefix: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules for files that put ``prefix``, a regular expression without groups, before every name."""
    return tuple(replace(rule, pattern=prefix + rule.pattern) for rule in rules)


def into(prefix: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules for a model that has ``prefix`` before every name."""

    def longer(becomes: str | Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        return lambda match: prefix + (becomes(match) if callable(becomes) else match.expand(becomes))

    return tuple(rule if rule.aside else replace(rule, becomes=longer(rule.becomes)) for rule in rules)
