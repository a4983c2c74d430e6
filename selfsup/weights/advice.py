"""What would be right where a file does not fit, as far as the file shows it."""

import contextlib
from collections.abc import Mapping
from typing import Any

from selfsup.errors import CheckpointError
from selfsup.weights.rules.architecture import identify
from selfsup.weights.rules.rule import HWIO_TO_OIHW, OIHW_TO_HWIO, Translation
from selfsup.weights.rules.sources import SOURCES, Target
from selfsup.weights.state_dicts import Choice, Weights

FITS = "every tensor is there"


def advice(
    state: Mapping[str, Any],
    target: Target,
    source: str,
    prefix: str,
    chosen: Choice,
    translation: Translation | None = None,
) -> str:
    """The end of an error message, after a semicolon; empty if nothing is known.

    It names another source, prefix or key by which every tensor would be found, or the axes of the kernels, or the
    networks that the file and the model have, or the state dicts in the file.
    """
    if reading := _reading(state, target, source, prefix):
        return f"; {reading}"
    under_keys = {key: _reading(tensors, target, source, prefix) for key, tensors in chosen.others.items()}
    for key, reading in sorted(under_keys.items(), key=lambda item: item[1] != FITS):
        if reading:
            return f"; with key={key!r} {reading}"
    if translation is not None:
        if layout := _other_layout(translation, target):
            return f"; {layout}"
        found, wanted = identify(translation.weights), identify(target.own)
        if found is not None and wanted is not None and found != wanted:
            return f"; the file holds a {found}, the model is a {wanted}"
    return f"; {chosen}" if chosen.others else ""


def _reading(state: Mapping[str, Any], target: Target, source: str, prefix: str) -> str:
    """Source and prefix by which every tensor of the model would be found, the most likely; empty if there is none."""
    held: dict[str, Weights] = {}
    for name in [source, *(other for other in SOURCES if other != source)]:
        with contextlib.suppress(CheckpointError):
            held[name] = SOURCES[name].tensors(state)
    if source in held and target.fits(held[source], source, prefix):
        return FITS
    prefixes = sorted({each for tensors in held.values() for each in _prefixes(tensors, target)}, key=len)
    found = [tensors for tensors in held.values() if tensors]
    around = [each for each in prefixes if any(all(n.startswith(each) for n in tensors) for tensors in found)]
    for group in (["", *around], [each for each in prefixes if each not in around]):
        fitting = {each: [name for name in held if target.fits(held[name], name, each)] for each in group}
        for each, names in fitting.items():
            if source in names:
                return f"{FITS} with prefix={each!r}" if each else f"{FITS} if the prefix is left out"
        # where a wrapper such as DistributedDataParallel renamed all, more sources fit by its prefix than allow for it
        each, names = max(fitting.items(), key=lambda item: len(item[1]), default=("", []))
        if names and each:
            others = f" (or {', '.join(map(repr, names[1:]))})" if names[1:] else ""
            return f"{FITS} with source={names[0]!r}{others} and prefix={each!r}"
        if names:
            looks = " or ".join(f"source={name!r}" for name in names)
            return f"it looks like {looks}" + ", without a prefix" * bool(prefix)
    return ""


def _prefixes(tensors: Weights, target: Target) -> list[str]:
    """Beginnings of names up to a dot under which there are at least half as many tensors as the model has."""
    counts: dict[str, int] = {}
    for name in tensors:
        for end, letter in enumerate(name, start=1):
            if letter == ".":
                counts[name[:end]] = counts.get(name[:end], 0) + 1
    return [prefix for prefix, count in counts.items() if 2 * count >= len(target.own)]


def _other_layout(translation: Translation, target: Target) -> str:
    """A permutation of axes that makes every tensor of another shape fit."""
    weights, own = translation.weights, target.own
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
