"""What would be right where a file does not fit, as far as the file tells."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from selfsup.errors import CheckpointError
from selfsup.weights.families import identify
from selfsup.weights.reading import Model, fits
from selfsup.weights.rules.rule import HWIO_TO_OIHW, OIHW_TO_HWIO, Translation
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.state_dicts import Choice, Weights


def advice(
    state: Mapping[str, Any],
    model: Model,
    source: str,
    prefix: str,
    chosen: Choice,
    translation: Translation | None = None,
) -> str:
    """The end of an error message.

    Args:
        state: what the file holds, under the key that the user says.
        model: what wants its tensors.
        source: who wrote the file, as the user says.
        prefix: of the names to look at, as the user says.
        chosen: which of the file's state dicts was looked at.
        translation: what that gave; None if nothing.

    Returns:
        Another source, prefix or key by which every tensor would be found, or the axes of the kernels, or the networks
        that the file and the model have, or the state dicts in the file, after a semicolon; empty if nothing is known.
    """
    for reading in _readings(state, model, source, prefix):
        return f"; {reading}"
    for key, tensors in chosen.beside.items():
        if _fits(tensors, source, prefix, model):
            return f"; with key={key!r} every tensor is there"
    for key, tensors in chosen.beside.items():
        for reading in _readings(tensors, model, source, prefix):
            return f"; with key={key!r} {reading}"
    if translation is not None:
        layout = _other_layout(translation, model)
        if layout:
            return f"; {layout}"
        found, wanted = identify(translation.weights), identify(model.own)
        if found is not None and wanted is not None and found != wanted:
            return f"; the file holds a {found}, the model is a {wanted}"
    return f"; {chosen}" if chosen.beside else ""


def _fits(state: Mapping[str, Any], source: str, prefix: str, model: Model) -> bool:
    """Whether every tensor is accounted for if this is read as the user says."""
    with contextlib.suppress(CheckpointError):
        return fits(SOURCES[source].tensors(state), source, prefix, model)
    return False


def _readings(state: Mapping[str, Any], model: Model, source: str, prefix: str) -> Iterator[str]:
    """Sources and prefixes by which every tensor of the model would be found, the most likely first."""
    held: dict[str, Weights] = {}
    for name in [source, *(other for other in SOURCES if other != source)]:
        with contextlib.suppress(CheckpointError):
            held[name] = SOURCES[name].tensors(state)
    if prefix and source in held and fits(held[source], source, "", model):
        yield "every tensor is there if the prefix is left out"
    around = _around(held, model)
    for each, names in around.items():
        if source in names:
            yield f"every tensor is there with prefix={each!r}"
    plain = [name for name in held if name != source and fits(held[name], name, "", model)]
    for each, names in around.items():
        if len(names) > len(plain):  # those that allow for a prefix would take the file too, but did not write it
            yield f"every tensor is there with {_spelled(names)} and prefix={each!r}"
    if plain:
        yield f"it looks like {' or '.join(f'source={name!r}' for name in plain)}" + (
            ", without a prefix" * bool(prefix)
        )
    for name, tensors in held.items():
        said = "" if name == source else f"source={name!r} and "
        for each in _prefixes(tensors, model):
            if fits(tensors, name, each, model):
                yield f"every tensor is there with {said}prefix={each!r}"


def _around(held: Mapping[str, Weights], model: Model) -> dict[str, list[str]]:
    """Sources that fit by prefixes that all names have, as wrappers such as DistributedDataParallel put there."""
    found: dict[str, list[str]] = {}
    for name, tensors in held.items():
        for prefix in _prefixes(tensors, model):
            if all(each.startswith(prefix) for each in tensors) and fits(tensors, name, prefix, model):
                found.setdefault(prefix, []).append(name)
    return found


def _spelled(sources: list[str]) -> str:
    others = f" (or {', '.join(map(repr, sources[1:]))})" if sources[1:] else ""
    return f"source={sources[0]!r}{others}"


def _prefixes(tensors: Weights, model: Model) -> list[str]:
    """Beginnings of names up to a dot under which there are at least half as many tensors as the model has."""
    counts: dict[str, int] = {}
    for name in tensors:
        for end, letter in enumerate(name, start=1):
            if letter == ".":
                counts[name[:end]] = counts.get(name[:end], 0) + 1
    return sorted((prefix for prefix, count in counts.items() if 2 * count >= len(model.own)), key=len)


def _other_layout(translation: Translation, model: Model) -> str:
    """A permutation of axes that makes every tensor of another shape fit."""
    weights, own = translation.weights, model.own
    reshaped = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    for axes, turned, said, gives in (
        (HWIO_TO_OIHW, False, "(height, width, in, out), as TensorFlow and JAX store them,", "PyTorch's order"),
        ((1, 0), False, "(in, out)", "PyTorch's order"),
        (OIHW_TO_HWIO, True, "(out, in, height, width), PyTorch's order,", "the one that such files have"),
    ):
        kernels = [name for name in reshaped if weights[name].ndim == len(axes)]
        if (
            kernels
            and all((name in translation.turned) == turned for name in kernels)
            and all(weights[name].permute(axes).shape == own[name].shape for name in kernels)
        ):
            return f"kernels are {said} here; permute{axes} gives {gives}"
    return ""
