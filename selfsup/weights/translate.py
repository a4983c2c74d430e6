"""From what a file holds to the state dict of one of our models, with a report on every tensor."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import CheckpointError, did_you_mean
from selfsup.ops.parts import class_name
from selfsup.weights.advice import advice
from selfsup.weights.load_report import LoadReport, compare, shown
from selfsup.weights.rules.sources import SOURCES, Target
from selfsup.weights.state_dicts import Weights, choice, under_key


def find_weights(
    state: Mapping[str, Any],
    model: nn.Module,
    *,
    file: object,
    source: str,
    prefix: str = "",
    key: str = "",
    whole: bool = False,
) -> tuple[Weights, LoadReport]:
    """Find a model's tensors in what a file holds.

    Args:
        state: what the file holds.
        model: wants the tensors; only names, shapes and types are looked at.
        file: its name, for messages.
        source: who wrote the file, a key of :data:`~selfsup.weights.rules.sources.SOURCES`.
        prefix: of the names to look at, taken off first; tensors of other names are ignored.
        key: under which the wanted state dict stands in the file, if it holds several; '' for the usual one.
        whole: whether the model is a whole method, whose heads are wanted too.

    Returns:
        Weights by the model's names, without what it keeps as built, and the report. Numbers of 8 bits are float32
        then, which holds all of them exactly and can be computed with.

    Raises:
        CheckpointError: if the source is unknown or did not write this file, if nothing stands under the key, if a
            tensor does not fit, where the message says what the file looks like instead, or if a number is none, or
            infinite and not alone.
    """
    try:
        _check_source(source, whole=whole)
        looked_at = under_key(state, key) if key else state
        tensors = SOURCES[source].tensors(looked_at)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    target = Target(model, whole)
    chosen = choice(state, tensors)
    what_would_fit = partial(advice, looked_at, target, source, prefix, chosen)
    if not tensors:
        keys = shown(sorted(map(str, state)))
        raise CheckpointError(f"{file}: holds no tensors by name; its keys are {keys}{what_would_fit()}")
    translation = target.translate(tensors, source, prefix)
    if translation is None:
        nothing = (
            f"no tensor's name begins with {prefix!r}" if prefix else f"it is no file that source={source!r} writes"
        )
        raise CheckpointError(f"{file}: {nothing}, its names are {shown(sorted(tensors))}{what_would_fit()}")
    translation.ignored |= chosen.ignored()
    report = compare(translation, target.own)
    if not report.complete:
        raise CheckpointError(mismatch(file, model, report) + what_would_fit(translation))
    weights = {name: _computable(translation.weights[name]) for name in report.loaded}
    broken = [name for name, tensor in weights.items() if not tensor.is_meta and not _sound(tensor)]
    if broken:
        raise CheckpointError(
            f"{file}: numbers that are not finite in {shown(broken)}; the training that wrote them had failed, use an "
            "older file"
        )
    return weights, report


def mismatch(file: object, model: nn.Module, report: LoadReport) -> str:
    """What to say of weights that do not fit a model."""
    return f"{file}: the weights belong to another model than {class_name(model)}; {report.problems()}"


def _check_source(source: str, *, whole: bool) -> None:
    if source not in SOURCES:
        raise CheckpointError(f"no source is called {source!r}{did_you_mean(source, SOURCES)}")
    if whole and not SOURCES[source].method:
        able = ", ".join(name for name, each in SOURCES.items() if each.method)
        raise CheckpointError(f"heads of source={source!r} are not known here; those of {able} are")


def _computable(tensor: Tensor) -> Tensor:
    """The tensor in a precision that arithmetic is there for."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _sound(tensor: Tensor) -> bool:
    """Whether all numbers are finite; a single one may be infinite, as bounds are that do not bind."""
    return bool(torch.isfinite(tensor).all()) or (tensor.ndim == 0 and not torch.isnan(tensor))
