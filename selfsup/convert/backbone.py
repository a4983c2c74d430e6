"""From what a file holds to the state dict of one of our models, with an account of every tensor."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from selfsup.convert.account import Account, balance, shown
from selfsup.convert.architecture import identify
from selfsup.convert.rules import HWIO_TO_OIHW, Translation, translate
from selfsup.convert.sources import SOURCES, TIMM_INSIDE
from selfsup.errors import CheckpointError, did_you_mean

Weights = dict[str, Tensor]


def convert(
    state: Mapping[str, Any],
    own: Mapping[str, Tensor],
    *,
    source: str,
    prefix: str = "",
    whole: bool = False,
    file: str,
    model: str,
) -> tuple[Weights, Account]:
    """Find a model's tensors in what a file holds.

    Args:
        state: what the file holds.
        own: the model's state dict; only names, shapes and types are looked at.
        source: who wrote the file, a key of :data:`~selfsup.convert.sources.SOURCES`.
        prefix: of the names to look at, taken off first; tensors of other names are left aside.
        whole: whether ``own`` is a whole method, whose heads are wanted too.
        file: its name, for messages.
        model: what ``own`` belongs to, for messages.

    Returns:
        Weights by the model's names, without what it keeps as built, and the account.

    Raises:
        CheckpointError: if the source is unknown or did not write this file, if the account does not balance, where
            the message says what the file looks like instead, or if a number is infinite or none.
    """
    if source not in SOURCES:
        raise CheckpointError(f"{file}: no source is called {source!r}{did_you_mean(source, SOURCES)}")
    if whole and not SOURCES[source].method:
        able = ", ".join(name for name, each in SOURCES.items() if each.method)
        raise CheckpointError(f"{file}: heads of source={source!r} are not known here; those of {able} are")
    try:
        tensors = SOURCES[source].tensors(state)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    if not tensors:
        keys = shown(sorted(map(str, state)))
        raise CheckpointError(
            f"{file}: holds no tensors by name; its keys are {keys}{_advice(state, own, source, None)}"
        )
    translation = _translate(tensors, source, prefix, own, whole=whole)
    if translation is None:
        nothing = (
            f"no tensor's name begins with {prefix!r}" if prefix else f"it is no file that source={source!r} writes"
        )
        raise CheckpointError(
            f"{file}: {nothing}, its names are {shown(sorted(tensors))}" + _advice(state, own, source, None)
        )
    account = balance(translation, own)
    if not account.balanced:
        raise CheckpointError(
            f"{file}: the weights belong to another model than {model}; "
            + "; ".join(account.problems())
            + _advice(state, own, source, translation)
        )
    weights = {name: translation.weights[name] for name in account.taken}
    broken = [name for name, tensor in weights.items() if not tensor.is_meta and not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(
            f"{file}: numbers that are not finite in {shown(broken)}; the training that wrote them had failed, use an "
            "older file"
        )
    return weights, account


def _translate(
    tensors: Weights, source: str, prefix: str, own: Mapping[str, Tensor], *, whole: bool = False
) -> Translation | None:
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    layouts = SOURCES[source].method if whole else SOURCES[source].backbone
    if source == "timm" and own and all(name.startswith("model.") for name in own):
        layouts = TIMM_INSIDE  # the backbone called Timm keeps timm's names
    translation = translate(inside, layouts)
    outside = [name for name in tensors if not name.startswith(prefix)]
    if translation is not None and outside:
        translation.aside[f"without the prefix {prefix!r}"] = outside
    return translation


def _advice(state: Mapping[str, Any], own: Mapping[str, Tensor], source: str, translation: Translation | None) -> str:
    """What would be right, as far as it can be told from the file."""
    for reading in _readings(state, own, source):
        return f"; {reading}"
    if translation is None:
        return ""
    layout = _other_layout(translation.weights, own)
    if layout:
        return f"; {layout}"
    found, wanted = identify(translation.weights), identify(own)
    if found is not None and wanted is not None and found != wanted:
        return f"; the file holds a {found}, the model is a {wanted}"
    return ""


def _readings(state: Mapping[str, Any], own: Mapping[str, Tensor], source: str) -> Iterator[str]:
    """Sources and prefixes by which every tensor of the model would be found."""
    found: dict[str, Weights] = {}
    for name in [source, *(other for other in SOURCES if other != source)]:
        with contextlib.suppress(CheckpointError):
            found[name] = SOURCES[name].tensors(state)
    fitting = [name for name, tensors in found.items() if name != source and _fits(tensors, name, "", own)]
    if fitting:
        yield f"it looks like {' or '.join(f'source={name!r}' for name in fitting)}"
    for name, tensors in found.items():
        said = "" if name == source else f"source={name!r} and "
        for prefix in _prefixes(tensors, own):
            if _fits(tensors, name, prefix, own):
                yield f"every tensor is there with {said}prefix={prefix!r}"


def _fits(tensors: Weights, source: str, prefix: str, own: Mapping[str, Tensor]) -> bool:
    translation = _translate(tensors, source, prefix, own)
    return translation is not None and balance(translation, own).balanced


def _prefixes(tensors: Weights, own: Mapping[str, Tensor]) -> list[str]:
    """Beginnings of names up to a dot under which there are at least half as many tensors as the model has."""
    counts: dict[str, int] = {}
    for name in tensors:
        for end, letter in enumerate(name, start=1):
            if letter == ".":
                counts[name[:end]] = counts.get(name[:end], 0) + 1
    return sorted((prefix for prefix, count in counts.items() if 2 * count >= len(own)), key=len)


def _other_layout(weights: Weights, own: Mapping[str, Tensor]) -> str:
    """A permutation of axes that makes every tensor of another shape fit."""
    reshaped = [
        (weights[name], own[name]) for name in own if name in weights and weights[name].shape != own[name].shape
    ]
    if not reshaped:
        return ""
    for axes, said in (
        (HWIO_TO_OIHW, "(height, width, in, out), as TensorFlow and JAX store them,"),
        ((1, 0), "(in, out)"),
    ):
        turned = [(got, needed) for got, needed in reshaped if got.ndim == len(axes)]
        if turned and all(got.permute(axes).shape == needed.shape for got, needed in turned):
            return f"kernels are {said} here; permute{axes} gives PyTorch's order"
    return ""
