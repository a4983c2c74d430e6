"""What goes wrong because of the user's input, each as a :class:`Problem`: where, what, what was got, what is right.

The command line prints the problems alone; a traceback means a fault of ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Self

_LONGEST = 100  # characters of a value


@dataclass(frozen=True)
class Problem:
    """One mistake of the user's.

    Args:
        path: where, dotted; relative to the component that finds it, whose own path :func:`under` puts before it.
        message: what is wrong, or what must be.
        got: what was found instead; None where that says nothing.
        expected: what would be right, such as the nearest name.
    """

    path: str
    message: str
    got: Any = None
    expected: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        got = "" if self.got is None else f", got {shown(self.got)}"
        return f"{where}{self.message}{got}" + (f"; {self.expected}" if self.expected else "")

    def under(self, path: str) -> "Problem":
        """The same problem of a component that stands at ``path``."""
        separator = "." if path and self.path and not self.path.startswith("[") else ""
        return replace(self, path=f"{path}{separator}{self.path}")


def shown(value: Any) -> str:
    """A value in a message: a class by its name, anything else as Python writes it, shortened."""
    text = value.__name__ if isinstance(value, type) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


class SelfsupError(Exception):
    """Base of every error caused by input; what it prints is meant for the user as it is.

    Args:
        problems: one or more; a text is a problem without a path.
        source: the file that has them, for the heading.
        note: what is said once, after all of them.
    """

    def __init__(self, *problems: Problem | str, source: str = "", note: str = "") -> None:
        self.problems = [Problem("", each) if isinstance(each, str) else each for each in problems]
        self.source = source
        self.note = note
        super().__init__(*problems)

    @classmethod
    def at(cls, path: str, message: str, *, got: Any = None, expected: str = "") -> Self:
        """An error with one :class:`Problem`."""
        return cls(Problem(path, message, got, expected))

    def under(self, path: str) -> None:
        """Put before every problem's path that of the component that has found it."""
        self.problems = [problem.under(path) for problem in self.problems]

    def __str__(self) -> str:
        lines = [*map(str, self.problems), *self.note.splitlines()]
        if len(self.problems) != 1 or self.source:
            count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
            lines.insert(0, f"{self.source} has {count}:" if self.source else f"{count}:")
        return "\n  ".join(lines)


class ConfigError(SelfsupError, ValueError):
    """A config that cannot be built, or an argument that a component rejects."""


class RegistryError(SelfsupError, KeyError):
    """A name that no registry knows, or one that is registered twice."""


class DataError(SelfsupError, ValueError):
    """Images that are missing, unreadable beyond the tolerated share, or too few."""


class DecodeError(DataError):
    """One image that cannot be decoded."""


class UnreadableError(DataError):
    """So many images in a row that cannot be decoded that nothing can take their place.

    Args:
        message: for the user.
        bad: index, name and reason of each.
    """

    def __init__(self, message: Problem | str, bad: Sequence[tuple[int, str, str]] = ()) -> None:
        super().__init__(message)
        self.bad = list(bad)


class CheckpointError(SelfsupError, RuntimeError):
    """A checkpoint that cannot be read, is not safe to read, or does not fit the model."""


class RecordError(SelfsupError, OSError):
    """What a run has to leave on record cannot be written, as on a full disk."""


class NonFiniteError(SelfsupError, ArithmeticError):
    """A loss or gradient that is not finite."""


def require(condition: object, path: str, message: str, *, got: Any = None, expected: str = "") -> None:
    """Reject an argument unless a condition holds.

    Args:
        condition: that must hold.
        path, message, got, expected: of the :class:`Problem` otherwise.

    Raises:
        ConfigError: if it does not.
    """
    if not condition:
        raise ConfigError.at(path, message, got=got, expected=expected)


@contextmanager
def under(path: str) -> Iterator[None]:
    """What a component rejects inside is a problem at its path in the config.

    Raises:
        ConfigError: for a ValueError or TypeError of somebody else's component; errors of ours keep their kind.
    """
    try:
        yield
    except SelfsupError as error:
        error.under(path)
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError.at(path, str(error)) from error


def nearest(name: str, choices: Iterable[str], *, show: int = 12) -> str:
    """What would have been right instead of an unknown name.

    Args:
        name: what was asked for.
        choices: every name that would have been right.
        show: how many choices to list when none is near.

    Returns:
        ``"did you mean 'x'?"`` when a choice is near, else ``"choose from a, b, c"``, or ``""`` without choices.
    """
    known = sorted(set(choices))
    by_lower_case = {choice.lower(): choice for choice in known}
    near = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    if near:
        return f"did you mean {by_lower_case[near[0]]!r}?"
    if not known:
        return ""
    return f"choose from {', '.join(known[:show])}{', ...' if len(known) > show else ''}"


def did_you_mean(name: str, choices: Iterable[str], *, show: int = 12) -> str:
    """:func:`nearest` as the end of a text."""
    near = nearest(name, choices, show=show)
    return near and f"; {near}"
