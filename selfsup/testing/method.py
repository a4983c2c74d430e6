"""The contract of methods."""

import pickle
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods.base import Method, Progress
from selfsup.testing.modules import check_forward, check_gradients, check_nothing_outside_the_state, copied
from selfsup.testing.promise import fits_any, listed, own_random_numbers, promise, promised, seeded_by

STEPS, PER_EPOCH = 12, 4
LEARNING_RATE = 0.05


def check_method(
    method: Method,
    *,
    another: Method | None = None,
    sizes: Sequence[int] = (32, 32),
    labels: Tensor | None = None,
    batch: int = 4,
    untrained: Collection[str] = (),
    steps_before: int = 3,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> None:
    """Check what the engine asks of a method.

    It is a Method; the loss is a dict whose entries named ``loss*`` exist and have a gradient, and whose values are
    finite numbers, under bfloat16 autocast too, of which those that are only logged keep no graph; views, labels and
    training flags are left alone; a batch twice as large is taken; ``check_batch`` needs no weights, rejects with a
    ConfigError alone, and not these batches, nor does ``check_num_views`` reject these views; gradients reach every
    trainable parameter, so that DistributedDataParallel works without looking for unused ones, and not all are zero; a
    part called ``teacher`` is not trained; ``entry_points`` and ``fresh_parts`` name what is there; features are the
    backbone's width and do not depend on the batch in eval mode; ``before_step`` and ``after_step`` can be called in
    every epoch; a step seeds no global random generator; after a few steps the state dict, loaded into a method that
    has not trained, gives exactly the next loss; so does a copy, and one that went through pickle.

    Args:
        method: built; it is the same afterwards.
        another: the same built once more, as in :func:`~selfsup.testing.check_backbone`.
        sizes: sides in pixels of the views it is given, one each.
        labels: classes, shape (batch,), for methods that learn from them.
        batch: images at a time, > 1.
        untrained: shell patterns for trainable parameters that get no gradient by design.
        steps_before: optimizer steps before the state is saved, so that queues and teachers have moved.
        tolerance: of the greatest feature, for results that may differ by rounding.
        seed: of the views and of what the method draws.

    Raises:
        AssertionError: naming the first promise that is broken.
    """
    promise(isinstance(method, Method), method, "must be a selfsup.methods.Method")
    with own_random_numbers(seed):
        views = [torch.randn(batch, 3, size, size) for size in sizes]

        def total(used: Any) -> Tensor:
            parts = used.loss([view.clone() for view in views], labels)
            return torch.stack([value.float() for name, value in parts.items() if name.startswith("loss")]).sum()

        _check_names(method)
        _check_steps(method)
        started = copied(method).train()
        started.before_step(Progress(0, STEPS, 0, PER_EPOCH))
        _check_loss(method, started, views, labels)
        check_gradients(started, total, untrained=untrained)
        _check_twice_the_batch(method, started, sizes, labels, batch)
        _check_batches(method, batch, len(views))
        _check_half_precision(method, started, total)
        check_forward(
            _Features(started),
            views[0],
            method.backbone.out_dim,
            what="the features",
            tolerance=tolerance,
            component=method,
        )
        _check_seeds(method, views, labels, untrained)
        _check_resuming(method, another, views, labels, untrained=untrained, steps_before=steps_before)


def _check_names(method: Method) -> None:
    wrong = [name for name in method.entry_points if not callable(getattr(method, name, None))]
    promise(not wrong, method, f"entry_points must be names of its methods, but it has no {listed(wrong)}")
    parts = {name for name, _ in (*method.named_modules(), *method.named_parameters(), *method.named_buffers())}
    wrong = [name for name in method.fresh_parts or () if name not in parts]
    promise(
        not wrong,
        method,
        f"fresh_parts must be names of its parts, or a run cannot begin with another method's weights; it has no "
        f"{listed(wrong)}",
    )
    trained = [name for name, p in method.named_parameters() if name.startswith("teacher.") and p.requires_grad]
    promise(
        not trained,
        method,
        f"a teacher follows and is not trained: requires_grad must be off, but is on for {listed(trained)}",
    )


def _check_steps(method: Method) -> None:
    """``before_step`` and ``after_step`` through a whole run."""
    used = copied(method).train()
    for step in range(STEPS):
        progress = Progress(step, STEPS, step // PER_EPOCH, PER_EPOCH)
        with promised(method, f"before_step(progress) must not raise, but does in epoch {progress.epoch}"):
            used.before_step(progress)
        with promised(method, f"after_step(progress) must not raise, but does in epoch {progress.epoch}"):
            used.after_step(progress)


class _Features(nn.Module):
    """A method seen as a network from images to features."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        return self.method.features(images)


def _check_loss(method: Method, started: Method, views: Sequence[Tensor], labels: Tensor | None) -> None:
    given = [view.clone() for view in views]
    given_labels = None if labels is None else labels.clone()
    used = copied(started)
    flags = {name: part.training for name, part in used.named_modules()}
    with promised(method, "loss(views, labels) must take the views"):
        parts = used.loss(list(views), labels)
    moved = [name or "the method itself" for name, part in used.named_modules() if part.training != flags[name]]
    promise(not moved, method, f"loss must leave the training flags as they were, but not of {listed(moved)}")
    promise(isinstance(parts, dict), method, f"loss must return a dict, got {type(parts).__name__}")
    promise(
        any(str(name).startswith("loss") for name in parts),
        method,
        f"loss must return an entry whose name starts with 'loss', got {sorted(map(str, parts))}",
    )
    for name, value in parts.items():
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        promise(found == (), method, f"{name!r} of the loss must be a tensor of shape (), got {found}")
        promise(value.is_floating_point(), method, f"{name!r} of the loss must be floating point, got {value.dtype}")
        promise(bool(value.isfinite()), method, f"{name!r} of the loss must be finite, got {float(value.detach())}")
        promise(
            name.startswith("loss") or not value.requires_grad,
            method,
            f"{name!r} of the loss is only logged and must be detached, or the graph of every step stays in memory",
        )
    minimized = [str(name) for name in parts if str(name).startswith("loss")]
    promise(
        any(parts[name].requires_grad for name in minimized),
        method,
        f"the loss must have a gradient, but {listed(minimized)} "
        f"{'has' if len(minimized) == 1 else 'have'} none: detached, or computed under torch.no_grad()",
    )
    promise(
        all(torch.equal(view, before) for view, before in zip(views, given, strict=True)),
        method,
        "must not write to the views",
    )
    if labels is not None and given_labels is not None:
        kept = torch.equal(labels, given_labels)
        labels.copy_(given_labels)
        promise(kept, method, "must not write to the labels")


def _check_twice_the_batch(
    method: Method, started: Method, sizes: Sequence[int], labels: Tensor | None, batch: int
) -> None:
    views = [torch.randn(2 * batch, 3, size, size) for size in sizes]
    with promised(method, f"must take a batch of {2 * batch} as well as one of {batch}"):
        copied(started).loss(views, None if labels is None else torch.cat([labels, labels]))


def _check_batches(method: Method, batch: int, num_views: int) -> None:
    """What ``check_batch`` and ``check_num_views`` say of what ``loss`` took, and of a batch that may not fit."""
    asked = copied(method).to("meta")
    with promised(method, f"check_num_views({num_views}) must not reject the views that loss takes"):
        asked.check_num_views(num_views)
    for size in (batch, 2 * batch):
        with promised(method, f"check_batch({size}, 1) must not reject a batch that loss takes"):
            asked.check_batch(size, 1)
    sentence = f"check_batch({batch + 1}, 3) must raise nothing but a ConfigError, without weights or process group"
    with promised(method, sentence), suppress(ConfigError):
        asked.check_batch(batch + 1, 3)


def _check_half_precision(method: Method, started: Method, total: Callable[[Any], Tensor]) -> None:
    with promised(method, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
        value = total(copied(started))
    promise(
        bool(value.isfinite()), method, f"the loss must be finite under bfloat16 autocast, got {float(value.detach())}"
    )


def _check_resuming(
    method: Method,
    another: Method | None,
    views: Sequence[Tensor],
    labels: Tensor | None,
    *,
    untrained: Collection[str],
    steps_before: int,
) -> None:
    check_nothing_outside_the_state(method)

    def step_of(used: Any, step: int) -> dict[str, Tensor]:
        torch.manual_seed(step)
        return _step(method, used, step, views, labels, untrained)

    trained = copied(method).train()
    for step in range(steps_before):
        step_of(trained, step)
    others: dict[str, Any] = {"a copy": copied(trained)}
    with promised(method, "must survive pickle, as worker processes need; define its parts at the top of a module"):
        others["one that went through pickle"] = pickle.loads(pickle.dumps(trained))
    resumed = copied(method if another is None else another).train()
    with promised(method, "its state dict must load into a method that has not trained"):
        resumed.load_state_dict(trained.state_dict())
    others["one that has not trained, with its state dict loaded,"] = resumed
    expected = step_of(trained, steps_before)
    for what, other in others.items():
        found = step_of(other, steps_before)
        wrong = [name for name in expected if not torch.equal(expected[name], found[name])]
        promise(
            not wrong,
            method,
            f"after {steps_before} steps, {what} must give exactly the next loss; {wrong[0] if wrong else ''!r} is "
            + (f"{float(found[wrong[0]]):.9g} instead of {float(expected[wrong[0]]):.9g}" if wrong else ""),
        )


def _check_seeds(method: Method, views: Sequence[Tensor], labels: Tensor | None, untrained: Collection[str]) -> None:
    seeded = seeded_by(lambda: _step(method, copied(method).train(), 0, views, labels, untrained))
    promise(
        not seeded,
        method,
        f"must not seed a global random generator, but after a step {listed(seeded)} is in the same state, whatever it "
        "was before",
    )


def _step(
    method: Method,
    used: Any,
    step: int,
    views: Sequence[Tensor],
    labels: Tensor | None,
    untrained: Collection[str],
) -> dict[str, Tensor]:
    """One step of plain gradient descent, on views that are a little different each time."""
    progress = Progress(step, STEPS, step // PER_EPOCH, PER_EPOCH)
    used.before_step(progress)
    parts = used.loss([view + 0.1 * torch.randn_like(view) for view in views], labels)
    used.zero_grad()
    torch.stack([value for name, value in parts.items() if name.startswith("loss")]).sum().backward()
    with torch.no_grad():
        for name, parameter in used.named_parameters():
            if parameter.grad is not None and not fits_any(name, untrained):
                parameter -= LEARNING_RATE * parameter.grad
    used.after_step(progress)
    return {name: value.detach().clone() for name, value in parts.items()}
