"""Which transfer fits some weights, images, a device and a time; and why."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfsup.data.draws import draw
from selfsup.errors import ConfigError, DecodeError, nearest
from selfsup.ops.launch import local_device
from selfsup.planning.budget import clock, parse_budget
from selfsup.planning.own_images import device_kind
from selfsup.registry import BACKBONES
from selfsup.transfer.fine_tune import SMALL, FineTune
from selfsup.transfer.hyper_rule_transfer import BATCH, HyperRuleTransfer
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.linear_sgd import LinearSGD
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer, batch_for, begun, shown, stored

RULES = ("fine-tune", "linear", "bit")
USUAL_BUDGET = {"cpu": "4m", "small_gpu": "15m", "large_gpu": "30m"}
"""Of a transfer without ``--budget``, at the most, by the kind of device."""
ENOUGH_PASSES = 30
"""Passes over the images from which on fine-tuning the whole network pays."""
FEW = 5
"""Labels of a class (the median) below which the network itself is left alone."""
BACKWARD = 3.0  # a training step costs so many times what its forward pass does
OF_BUDGET = 0.7  # is spent in steps
STEPS = (300, 20_000)  # of fine-tuning, at the least and at the most
EPOCHS = 50


@dataclass(frozen=True)
class Choice:
    """A transfer for some images.

    Args:
        transfer: what is done.
        rule: its name.
        why: for the user, a sentence each, beside what :meth:`Transfer.run` tells.
    """

    transfer: Transfer
    rule: str
    why: tuple[str, ...]


def choose(
    start: Start,
    data: Labelled,
    *,
    budget: str,
    rule: str | None = None,
    work_dir: Path | None = None,
    size: int | None = None,
    micro_batch: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Choice:
    """The transfer that fits.

    Args:
        start: the weights.
        data: the images.
        budget: how long it may take, such as ``'5m'``.
        rule: one of :data:`RULES`, where the user has said; None to choose.
        work_dir: of the run: what the same request has begun there is what is chosen again, whatever an image takes
            this time.
        size: side of the images in pixels; None for the weights'.
        micro_batch: images at a time; None for the transfer's own.
        seed: of the run.
        device: where it computes; None takes the GPU where there is one.

    Raises:
        ConfigError: if there is no such rule.
    """
    if rule is not None and rule not in RULES:
        raise ConfigError.at("--rule", "no such rule", got=rule, expected=nearest(rule, RULES))
    how: dict[str, Any] = {"size": size, "micro_batch": micro_batch, "seed": seed}
    if rule is not None:
        return _by(rule, start, data, **how)
    saved = None if work_dir is None else stored(work_dir)
    if saved is not None and saved.recipe in RULES:
        earlier = _by(saved.recipe, start, data, **how)
        recipe = dataclasses.replace(earlier.transfer.recipe(start, data), work_dir=str(work_dir))
        if begun(recipe, start, budget) is not None:
            return dataclasses.replace(earlier, why=(f"{saved.recipe}: as it was begun in {work_dir}",))
    rule, reason = _fitting(start, data, parse_budget(budget), size=size, device=device)
    found = _by(rule, start, data, **how)
    return dataclasses.replace(found, why=(f"{rule}: {reason}; --rule names another", *found.why))


def _by(rule: str, start: Start, data: Labelled, *, size: int | None, micro_batch: int | None, seed: int) -> Choice:
    """The transfer of a rule, and what it does."""
    images = len(data.source)
    side = size or start.input_contract.size
    workers = 0 if side is not None and side <= SMALL else None  # to start one takes longer than it would save
    common: dict[str, Any] = {"micro_batch": micro_batch, "num_workers": workers, "seed": seed}
    if rule == "bit":
        resized = None if size is None else (round(size * 512 / 480), size)
        bit = HyperRuleTransfer(size=resized, **common)
        return Choice(bit, rule, ())  # the run itself tells
    if rule == "linear":
        linear = LinearSGD(steps=_steps(images, 256, epochs=100), size=size, **common)
        rates = ", ".join(f"{0.1 * rate:g}" for rate in linear.rates)
        by = "the best on val counts" if data.val else "there is no val to choose by, so that of rate 0.1 counts"
        return Choice(linear, rule, (f"linear: classifiers with rates {rates} on one pass of the trunk; {by}",))
    tuned = FineTune(steps=_steps(images, 64, epochs=EPOCHS), size=size, **common)
    by = "the best step on val counts" if data.val else "there is no val to choose by, so the last step counts"
    return Choice(tuned, rule, (f"fine-tune: AdamW, a cosine, the whole network; {by}",))


def _fitting(start: Start, data: Labelled, seconds: float, *, size: int | None, device: str | None) -> tuple[str, str]:
    """A rule, and why."""
    images, per_class, kind = len(data.source), data.per_class, device_kind(local_device(device))
    where = {"cpu": "no GPU", "small_gpu": "a GPU of less than 20 GB", "large_gpu": "a GPU"}[kind]
    labels = f"{images:,} labelled images, {per_class} a class"
    if per_class < FEW:
        return "linear", f"{labels}: so few say little about the network itself"
    each, side = _seconds_per_image(start, data, size=size, device=device)
    shown_images = OF_BUDGET * seconds / each
    passes = shown_images / images
    told = (
        f"{where}, {labels}; an image of {side} px takes {1000 * each:,.1f} ms to learn from, and {clock(seconds)} are "
        f"enough for {passes:,.0f} passes"
    )
    if start.backbone.get("type") == "BiTResNet" and kind != "cpu":
        rule = HyperRuleTransfer().rule(start, data)
        needed = rule.steps * BATCH * (rule.crop / side) ** 2
        if shown_images >= needed:
            return "bit", f"{told}, and these weights are BiT's"
    if passes >= ENOUGH_PASSES:
        return "fine-tune", told
    return "linear", f"{told} through the whole network, fewer than {ENOUGH_PASSES}"


def _steps(images: int, batch: int, *, epochs: int) -> int:
    return min(max(STEPS[0], epochs * (images // batch_for(images, batch))), STEPS[1])


@torch.no_grad()
def _seconds_per_image(start: Start, data: Labelled, *, size: int | None, device: str | None) -> tuple[float, int]:
    """What learning from an image takes about, from a forward pass of some; and their side."""
    where, contract = local_device(device), shown(start, size)
    views = []
    for index in draw(len(data.source), min(8, len(data.source))).tolist():
        try:
            views.append(torch.from_numpy(contract.view(data.source.image(index)).copy()).permute(2, 0, 1))
        except DecodeError:
            continue
    if not views:
        raise ConfigError.at("--data", "none of the images looked at can be read")
    images = contract.normalize(torch.stack(views).to(where))
    backbone = BACKBONES.build(dict(start.backbone)).to(where).eval()
    times = []
    for _ in range(3):
        if where.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        backbone(images).sum().item()
        times.append(time.perf_counter() - began)
    return BACKWARD * min(times) / len(images), images.shape[-1]
