"""From what a file holds to the state dict of one of our models, with an account of every tensor."""

from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import CheckpointError, did_you_mean
from selfsup.weights.account import Account, balance, shown
from selfsup.weights.advice import advice
from selfsup.weights.reading import Model, read
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.state_dicts import Weights, choice, under_key


def convert(
    state: Mapping[str, Any],
    own: Mapping[str, Tensor],
    *,
    source: str,
    prefix: str = "",
    key: str = "",
    whole: bool = False,
    file: str,
    model: str,
    classifier: Callable[[], Collection[str]] | None = None,
) -> tuple[Weights, Account]:
    """Find a model's tensors in what a file holds.

    Args:
        state: what the file holds.
        own: the model's state dict; only names, shapes and types are looked at.
        source: who wrote the file, a key of :data:`~selfsup.weights.rules.sources.SOURCES`.
        prefix: of the names to look at, taken off first; tensors of other names are left aside.
        key: under which the wanted state dict stands in the file, if it holds several; '' for the usual one.
        whole: whether ``own`` is a whole method, whose heads are wanted too.
        file: its name, for messages.
        model: what ``own`` belongs to, for messages.
        classifier: of the backbone called Timm, gives timm's names of the tensors that it is built without.

    Returns:
        Weights by the model's names, without what it keeps as built, and the account. Numbers of 8 bits are float32
        then, which holds all of them exactly and can be computed with.

    Raises:
        CheckpointError: if the source is unknown or did not write this file, if nothing stands under the key, if the
            account does not balance, where the message says what the file looks like instead, or if a number is none,
            or infinite and not alone.
    """
    try:
        _check_words(source, prefix, key, whole=whole)
        looked_at = under_key(state, key) if key else state
        tensors = SOURCES[source].tensors(looked_at)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    wanted = Model(own, cache(classifier) if classifier else None)
    chosen = choice(state, tensors)
    what_would_fit = partial(advice, looked_at, wanted, source, prefix, chosen)
    if not tensors:
        keys = shown(sorted(map(str, state)))
        raise CheckpointError(f"{file}: holds no tensors by name; its keys are {keys}{what_would_fit()}")
    translation = read(tensors, source, prefix, wanted, whole=whole)
    if translation is None:
        nothing = (
            f"no tensor's name begins with {prefix!r}" if prefix else f"it is no file that source={source!r} writes"
        )
        raise CheckpointError(f"{file}: {nothing}, its names are {shown(sorted(tensors))}{what_would_fit()}")
    translation.aside |= chosen.aside()
    account = balance(translation, own)
    if not account.balanced:
        raise CheckpointError(
            f"{file}: the weights belong to another model than {model}; "
            + "; ".join(account.problems())
            + what_would_fit(translation)
        )
    weights = {name: _computable(translation.weights[name]) for name in account.taken}
    broken = [name for name, tensor in weights.items() if not tensor.is_meta and not _sound(tensor)]
    if broken:
        raise CheckpointError(
            f"{file}: numbers that are not finite in {shown(broken)}; the training that wrote them had failed, use an "
            "older file"
        )
    return weights, account


def _check_words(source: object, prefix: object, key: object, *, whole: bool) -> None:
    """Reject what no file can be read by."""
    if not isinstance(source, str) or source not in SOURCES:
        raise CheckpointError(f"no source is called {source!r}{did_you_mean(str(source), SOURCES)}")
    for name, value in (("prefix", prefix), ("key", key)):
        if not isinstance(value, str):
            raise CheckpointError(f"a {name} must be a string, '' for none, got {value!r}")
    if whole and not SOURCES[source].method:
        able = ", ".join(name for name, each in SOURCES.items() if each.method)
        raise CheckpointError(f"heads of source={source!r} are not known here; those of {able} are")


def _computable(tensor: Tensor) -> Tensor:
    """The tensor in a precision that arithmetic is there for."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _sound(tensor: Tensor) -> bool:
    """Whether all numbers are finite; a single one may be infinite, as bounds are that do not bind."""
    return bool(torch.isfinite(tensor).all()) or (tensor.ndim == 0 and not torch.isnan(tensor))
