"""From what a file holds to the state dict of one of our models, with a report on every tensor."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import CheckpointError, nearest, under
from selfsup.ops.parts import class_name
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.load_report import LoadReport, compare, shown
from selfsup.weights.rules.architecture import described
from selfsup.weights.rules.bit import adapt
from selfsup.weights.rules.rule import Translation, translate
from selfsup.weights.rules.sources import SOURCES, layouts
from selfsup.weights.settings import check_settings
from selfsup.weights.state_dicts import Weights, others, under_key


def find_weights(
    state: Mapping[str, Any],
    model: Any,
    *,
    file: str | Path,
    source: str = "selfsup",
    prefix: str = "",
    key: str = "",
    whole: bool = False,
    adapting: bool = False,
    hint: str = "",
) -> tuple[Weights, LoadReport]:
    """Find a model's tensors in what a file holds, and reject those of a backbone that computes something else.

    Args:
        state: what the file holds.
        model: wants the tensors: a backbone or a whole method; it may be on the meta device.
        file: its path, for messages and its card.
        source, prefix, key: see :func:`~selfsup.weights.load.load_backbone`.
        whole: whether the model is a whole method, whose heads are wanted too.
        adapting: whether the backbone takes over settings of the weights' network, such as eps.
        hint: what else helps where other arguments would fit.

    Returns:
        Weights by the model's names, without what it keeps as built, and the report. Numbers of 8 bits are float32
        then, which holds all of them exactly and can be computed with.

    Raises:
        CheckpointError: see :func:`~selfsup.weights.load.load_backbone`.
    """
    place = str(file)
    if source not in SOURCES:
        raise CheckpointError.at(place, f"no source is called {source!r}", expected=nearest(source, SOURCES))
    if whole and not SOURCES[source].method:
        able = ", ".join(name for name, each in SOURCES.items() if each.method)
        raise CheckpointError.at(place, f"heads of source={source!r} are not known; those of {able} are")
    with under(place):
        looked_at = under_key(state, key) if key else state
        tensors = SOURCES[source].tensors(looked_at)
    target = _Target(model, whole=whole)
    rest = others(state, tensors)

    def remedy(*found: Translation) -> str:
        arguments = _remedy(looked_at, target, source, prefix, rest, *found)
        return f"{arguments}; {hint}" if arguments and hint else arguments

    translation = target.translate(tensors, source, prefix)
    if translation is None:
        begin = f"no tensor's name begins with {prefix!r}" if prefix else f"it is no file that source={source!r} writes"
        what = f"{begin}, its names are {shown(sorted(tensors))}"
        if not tensors:
            what = f"holds no tensors by name, its keys are {shown(sorted(map(str, state)))}"
        raise CheckpointError.at(place, what, expected=remedy())
    translation.ignored |= {f"{key} (key={key!r} takes it)": list(tensors) for key, tensors in rest.items()}
    report = compare(translation, target.own)
    if not report.complete:
        raise mismatch(place, model, report, expected=remedy(translation))
    found = {name: translation.weights[name] for name in report.loaded}
    small = {name for name, tensor in found.items() if tensor.is_floating_point() and tensor.element_size() == 1}
    weights = {name: tensor.float() if name in small else tensor for name, tensor in found.items()}
    if empty := [name for name, tensor in weights.items() if tensor.is_meta and not target.own[name].is_meta]:
        what = f"has the shapes of tensors and no numbers: {shown(empty)}"
        raise CheckpointError.at(place, what, expected="save it from a network that is not on the meta device")
    if broken := [name for name, tensor in weights.items() if not tensor.is_meta and not _sound(tensor)]:
        raise CheckpointError.at(place, f"numbers are not finite in {shown(broken)}", expected="use an older file")
    checkpoint = Checkpoint.of(state, file) if source == "selfsup" else None
    config = None if checkpoint is None else checkpoint.config
    backbone = model.backbone if whole else model
    eps = check_settings(file, backbone, config=config, source=source, adapting=adapting)
    return weights, replace(report, changed=adapt(backbone, eps))


def mismatch(place: str, model: nn.Module, report: LoadReport, expected: str = "") -> CheckpointError:
    """The error of weights that do not fit a model."""
    what = f"the weights belong to another model than {class_name(model)}; {report.problems()}"
    return CheckpointError.at(place, what, expected=expected)


class _Target:
    """The model that wants a file's tensors; of it names, shapes and types are looked at."""

    def __init__(self, model: nn.Module, *, whole: bool) -> None:
        self.own: Mapping[str, Tensor] = model.state_dict()
        self.layouts = cache(partial(layouts, model=model, whole=whole))

    def translate(self, tensors: Weights, source: str, prefix: str) -> Translation | None:
        """Rename the tensors under a prefix; those of other names are ignored. None if it is another source's."""
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        translation = translate(inside, self.layouts(source))
        if translation is not None and len(inside) < len(tensors):
            outside = [name for name in tensors if not name.startswith(prefix)]
            translation.ignored[f"without the prefix {prefix!r}"] = outside
        return translation

    def fits(self, tensors: Weights, source: str, prefix: str) -> bool:
        """Whether every tensor has its place if the file is read so."""
        translation = self.translate(tensors, source, prefix)
        return translation is not None and compare(translation, self.own).complete


def _remedy(
    state: Mapping[str, Any],
    target: _Target,
    source: str,
    prefix: str,
    rest: Mapping[str, Weights],
    translation: Translation | None = None,
) -> str:
    """By which arguments every tensor would be found, or which networks the file and the model have."""
    here = _arguments(state, target, source, prefix)
    under_keys = {key: _arguments(tensors, target, source, prefix) for key, tensors in rest.items()}
    ways = [[f"key={key!r}", *arguments] for key, arguments in under_keys.items() if arguments is not None]
    if way := here or min(ways, key=lambda each: len(each), default=None):
        return f"every tensor is there with {' and '.join(way)}"
    theirs, ours = described(translation.weights if translation else {}), described(target.own)
    if theirs and ours and theirs != ours:
        return f"the file holds a {theirs}, the model is a {ours}"
    return f"key= takes another of its state dicts: {', '.join(rest)}" if rest else ""


def _arguments(state: Mapping[str, Any], target: _Target, source: str, prefix: str) -> list[str] | None:
    """What to say instead of a source and a prefix so that every tensor is found; None if nothing helps."""
    held: dict[str, Weights] = {}
    for name in [source, *(other for other in SOURCES if other != source)]:
        with contextlib.suppress(CheckpointError):
            held[name] = SOURCES[name].tensors(state)
    if source in held and target.fits(held[source], source, prefix):
        return []
    prefixes = ["", *sorted({each for tensors in held.values() for each in _prefixes(tensors, target)}, key=len)]
    around = [
        each for each in prefixes if any(all(n.startswith(each) for n in names) for names in held.values() if names)
    ]
    for group in (around, prefixes):
        fitting = {each: [name for name in held if target.fits(held[name], name, each)] for each in group}
        # where a wrapper such as DistributedDataParallel renamed all, more sources fit by its prefix than allow for it
        best = max(group, key=lambda each: (source in fitting[each], len(fitting[each])), default="")
        if names := fitting.get(best):
            sources = [] if source in names else [f"source={' or '.join(map(repr, names))}"]
            return [*sources, *([] if best == prefix else [f"prefix={best!r}"])]
    return None


def _prefixes(tensors: Weights, target: _Target) -> list[str]:
    """Beginnings of names up to a dot under which there are at least half as many tensors as the model has."""
    ends = ((name, end) for name in tensors for end, letter in enumerate(name, start=1) if letter == ".")
    counts = Counter(name[:end] for name, end in ends)
    return [prefix for prefix, count in counts.items() if 2 * count >= len(target.own)]


def _sound(tensor: Tensor) -> bool:
    """Whether all numbers are finite; a single one may be infinite, as bounds are that do not bind."""
    return bool(torch.isfinite(tensor).all()) or (tensor.ndim == 0 and not torch.isnan(tensor))
