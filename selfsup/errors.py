"""What goes wrong because of the user's input, each with one clear message.

Every message says where, what was got and what would be right. The command line prints the message alone;
a traceback means a fault of ours.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class SelfsupError(Exception):
    """Base of every error caused by input; the message is meant for the user as it is."""


class ConfigError(SelfsupError, ValueError):
    """A config that cannot be built; the message lists every problem with its path in the config."""


class RegistryError(SelfsupError, KeyError):
    """A name that no registry knows, or one that is registered twice."""

    def __str__(self) -> str:
        return str(self.args[0])


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

    def __init__(self, message: str, bad: Sequence[tuple[int, str, str]] = ()) -> None:
        super().__init__(message, list(bad))
        self.bad = list(bad)

    def __str__(self) -> str:
        return str(self.args[0])


class CheckpointError(SelfsupError, RuntimeError):
    """A checkpoint that cannot be read, is not safe to read, or does not fit the model."""


class RecordError(SelfsupError, OSError):
    """What a run has to leave on record cannot be written, as on a full disk."""


class NonFiniteError(SelfsupError, ArithmeticError):
    """A loss or gradient that is not finite."""


def listing(problems: Sequence[str], *, source: str = "") -> str:
    """One message for several problems.

    Args:
        problems: one or more.
        source: what has them, for the heading; without it a single problem stands alone.
    """
    if len(problems) == 1 and not source:
        return problems[0]
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    heading = f"{source} has {count}" if source else count
    return f"{heading}:\n" + "\n".join(f"  {problem}" for problem in problems)


@contextmanager
def at_place(place: str, component: object = None) -> Iterator[None]:
    """What a part rejects inside is an error of the user's, with the part's place in the config.

    A part knows its class only: ``NTXentLoss.temperature: must be > 0`` at ``model.loss`` becomes
    ``model.loss.temperature: must be > 0``. A method inside another one calls itself ``model`` and is told apart too:
    ``model.neck`` at ``model.teacher`` is ``model.teacher.neck``. Any other message that names a place stays as it is.

    Args:
        place: path in the config.
        component: the ``type`` of what is built there, or its dict.

    Raises:
        ConfigError: for a ValueError or TypeError inside; errors of ours keep their kind.
    """
    try:
        yield
    except SelfsupError as error:
        said = str(error)
        if said.startswith("model.") and re.match(rf"{re.escape(place)}\b", said) is None:
            raise type(error)(place + said.removeprefix("model")) from error
        if re.match(r"[A-Z]\w*[.:]", said) is None:
            raise
        raise type(error)(_placed(place, component, said)) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(_placed(place, component, str(error))) from error


def _placed(place: str, component: object, said: str) -> str:
    kind = component.get("type") if isinstance(component, dict) else component
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    own = name and said.startswith((f"{name}.", f"{name}:"))
    return f"{place}{said.removeprefix(name)}" if own else f"{place}: {said}"


def did_you_mean(name: str, choices: Iterable[str], *, show: int = 12) -> str:
    """The end of an error message about an unknown name.

    Args:
        name: what was asked for.
        choices: every name that would have been right.
        show: how many choices to list when none is near.

    Returns:
        ``"; did you mean 'x'?"`` when a choice is near, else ``"; choose from a, b, c"``, or ``""`` without choices.
    """
    known = sorted(set(choices))
    by_lower_case = {choice.lower(): choice for choice in known}
    near = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {by_lower_case[near[0]]!r}?"
    if not known:
        return ""
    return f"; choose from {', '.join(known[:show])}{', ...' if len(known) > show else ''}"
