"""The contract of methods."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods.base import Method, Progress
from selfsup.testing.contract import (
    fits_any,
    listed,
    must,
    own_random_numbers,
    require,
    same_values,
)
from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_nothing_outside_the_state,
    check_seeds_nothing,
    check_use,
    copied,
    state_of,
)

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
    teacher_moves: bool = True,
    per_process: Collection[str] = (),
    steps_before: int = 3,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> None:
    """Check what the engine asks of a method.

    - ``loss`` returns finite numbers, under bfloat16 autocast too: those named ``loss*`` have a gradient, the others
      keep no graph. It leaves views, labels and training flags alone, and in eval mode the state.
    - ``check_batch`` and ``check_num_views`` accept what ``loss`` takes; ``entry_points`` and ``fresh_parts`` name what
      is there; ``before_step`` and ``after_step`` can be called in every epoch.
    - Gradients reach every trainable parameter, as DistributedDataParallel needs. A teacher, called ``teacher`` or a
      copy under any other name, is not trained, and moves.
    - Features have the backbone's width and do not depend on the batch in eval mode.
    - State that ``loss`` changes, other than batch-norm statistics, depends on the images of all processes; a second
      one is simulated.
    - After a few steps a copy, and a new method with its state dict, give exactly the next loss.

    Args:
        method: built; it is the same afterwards.
        another: the same built once more, as in :func:`~selfsup.testing.check_backbone`.
        sizes: sides in pixels of the views it is given, one each.
        labels: classes, shape (batch,), for methods that learn from them.
        batch: images at a time, > 1; twice as many are tried, too.
        untrained: shell patterns for trainable parameters that get no gradient by design.
        teacher_moves: False for a teacher that is given and stays as it is, as in distillation.
        per_process: shell patterns for buffers that each process keeps for itself by design.
        steps_before: optimizer steps before the state is saved, so that queues and teachers have moved.
        tolerance: of the greatest feature, for results that may differ by rounding.
        seed: of the views and of what the method draws.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(method, Method), method, "must be a selfsup.methods.Method")
    with own_random_numbers(seed):
        given: dict[str, Any] = {"views": [torch.randn(batch, 3, size, size) for size in sizes], "labels": labels}

        def total(used: Any) -> Tensor:
            return _total(_losses(used, given))

        _check_names(method)
        _check_copies(method)
        _check_steps(method)
        started = copied(method).train()
        started.before_step(Progress(0, STEPS, 0, PER_EPOCH))
        for training in (True, False):
            losses = check_use(method, copied(started).train(training), _losses, given, what="loss")
            if training:
                _check_losses(method, losses)
        check_gradients(started, total, untrained=untrained)
        twice = {
            "views": [torch.cat([view, torch.randn_like(view)]) for view in given["views"]],
            "labels": None if labels is None else torch.cat([labels, labels]),
        }
        with must(method, f"must take a batch of {2 * batch} as well as one of {batch}"):
            _losses(copied(started), twice)
        _check_batches(method, batch, len(sizes))
        with must(method, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
            value = total(copied(started)).detach()
        require(bool(value.isfinite()), method, f"the loss must be finite under bfloat16 autocast, got {float(value)}")
        check_forward(
            started,
            given["views"][0],
            method.backbone.out_dim,
            what="the features",
            tolerance=tolerance,
            component=method,
            run=lambda used, images: used.features(images),
        )
        _check_exchange(method, started, given, batch, per_process)
        check_seeds_nothing(method, lambda: _step(copied(method).train(), 0, given, untrained))
        _check_training(method, another, given, untrained, teacher_moves, steps_before)


def _losses(used: Any, given: dict[str, Any]) -> Any:
    return used.loss(list(given["views"]), given["labels"])


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([value.float() for name, value in losses.items() if name.startswith("loss")]).sum()


def _check_names(method: Method) -> None:
    wrong = [name for name in method.entry_points if not callable(getattr(method, name, None))]
    require(not wrong, method, f"entry_points must be names of its methods, but it has no {listed(wrong)}")
    parts = {name for name, _ in (*method.named_modules(), *method.named_parameters(), *method.named_buffers())}
    wrong = [name for name in method.fresh_parts or () if name not in parts]
    require(not wrong, method, f"fresh_parts must be names of its parts, but it has no {listed(wrong)}")


def _check_copies(method: Method) -> None:
    """A teacher is not trained, whatever it is called."""
    trained = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    teachers = [name for name in trained if name.startswith("teacher.")]
    drawn = [(name, p) for name, p in trained.items() if p.numel() > 1 and bool((p != p.flatten()[0]).any())]
    for number, (name, parameter) in enumerate(drawn):
        if any(torch.equal(parameter, other) for _, other in drawn[:number]):
            teachers.append(name)
    require(
        not teachers,
        method,
        "a teacher follows its student and is not trained: requires_grad must be off for what is called teacher or "
        f"starts as a copy, but is on for {listed(teachers)}",
    )


def _check_steps(method: Method) -> None:
    """``before_step`` and ``after_step`` through a whole run."""
    used = copied(method).train()
    for step in range(STEPS):
        progress = Progress(step, STEPS, step // PER_EPOCH, PER_EPOCH)
        for call in ("before_step", "after_step"):
            with must(method, f"{call}(progress) must not raise, but does in epoch {progress.epoch}"):
                getattr(used, call)(progress)


def _check_losses(method: Method, losses: Any) -> None:
    require(isinstance(losses, dict), method, f"loss must return a dict, got {type(losses).__name__}")
    minimized = [str(name) for name in losses if str(name).startswith("loss")]
    names = sorted(map(str, losses))
    require(bool(minimized), method, f"loss must return an entry whose name starts with 'loss', got {names}")
    for name, value in losses.items():
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        require(found == (), method, f"{name!r} of the loss must be a tensor of shape (), got {found}")
        require(value.is_floating_point(), method, f"{name!r} of the loss must be floating point, got {value.dtype}")
        require(bool(value.isfinite()), method, f"{name!r} of the loss must be finite, got {float(value.detach())}")
        require(
            name.startswith("loss") or not value.requires_grad,
            method,
            f"{name!r} of the loss is only logged and must be detached, or the graph of every step stays in memory",
        )
    learns = any(losses[name].requires_grad for name in minimized)
    require(learns, method, f"the loss must have a gradient, but {listed(minimized)} has none")


def _check_batches(method: Method, batch: int, num_views: int) -> None:
    """What ``check_batch`` and ``check_num_views`` say of what ``loss`` took, and of a batch that may not fit."""
    asked = copied(method).to("meta")
    with must(method, f"check_num_views({num_views}) must not reject the views that loss takes"):
        asked.check_num_views(num_views)
    for size in (batch, 2 * batch):
        with must(method, f"check_batch({size}, 1) must not reject a batch that loss takes"):
            asked.check_batch(size, 1)
    sentence = f"check_batch({batch + 1}, 3) must raise nothing but a ConfigError, without weights or process group"
    with must(method, sentence), suppress(ConfigError):
        asked.check_batch(batch + 1, 3)


@contextmanager
def _two_processes(factor: float) -> Iterator[None]:
    """PyTorch's collectives as if there were a second process, with the same tensors times a factor."""

    def other(tensor: Tensor) -> Tensor:
        return tensor * factor if tensor.is_floating_point() else tensor

    def all_reduce(tensor: Tensor, op: Any = dist.ReduceOp.SUM, group: Any = None, async_op: bool = False) -> None:
        tensor.copy_(tensor + other(tensor) if op == dist.ReduceOp.SUM else torch.maximum(tensor, other(tensor)))

    def all_gather(parts: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> None:
        parts[0].copy_(tensor)
        parts[1].copy_(other(tensor))

    fakes: dict[str, Any] = {
        "is_initialized": lambda: True,
        "get_world_size": lambda group=None: 2,
        "get_rank": lambda group=None: 0,
        "all_reduce": all_reduce,
        "all_gather": all_gather,
        "broadcast": lambda tensor, *arguments, **options: None,
    }
    with ExitStack() as stack:
        for name, fake in fakes.items():
            stack.enter_context(mock.patch.object(dist, name, fake))
        yield


def _check_exchange(
    method: Method, started: Method, given: dict[str, Any], batch: int, per_process: Collection[str]
) -> None:
    """State that depends on this process's images depends on those of the others, too."""
    norms = {name for name, part in started.named_modules() if isinstance(part, nn.modules.batchnorm._NormBase)}
    states = []
    for factor in (1.0, 2.0):
        used = copied(started)
        torch.manual_seed(0)
        with _two_processes(factor):
            try:
                used.check_batch(batch, 2)
            except ConfigError:
                return
            _losses(used, given)
        states.append(state_of(used))
    before = state_of(started)
    alone = [
        name
        for name, buffer in started.named_buffers()
        if name in before and buffer.is_floating_point() and name.rpartition(".")[0] not in norms
        if not fits_any(name, per_process) and not same_values(before[name], states[0][name])
        if same_values(states[0][name], states[1][name])
    ]
    require(
        not alone,
        method,
        f"loss changes {listed(alone)} by the images of its own process alone; exchange them with "
        "selfsup.ops.all_reduce_sum or gather, or name what each process keeps for itself as per_process",
    )


def _check_training(
    method: Method,
    another: Method | None,
    given: dict[str, Any],
    untrained: Collection[str],
    teacher_moves: bool,
    steps_before: int,
) -> None:
    """The next loss follows from the state dict alone; a teacher follows its student."""

    def step_of(used: Any, step: int) -> dict[str, Tensor]:
        torch.manual_seed(step)
        return _step(used, step, given, untrained)

    check_nothing_outside_the_state(method)
    trained = copied(method).train()
    for step in range(steps_before):
        step_of(trained, step)
    follows = {name for name, p in method.named_parameters() if name.startswith("teacher.") and p.numel() > 1}
    before, after = dict(method.named_parameters()), dict(trained.named_parameters())
    moved = any(not torch.equal(before[name], after[name]) for name in follows)
    require(
        moved or not follows or not teacher_moves,
        method,
        f"the teacher must follow its student, but is the same after {steps_before} steps: call its follow() in "
        "before_step or after_step, or pass teacher_moves=False if it is meant to stay",
    )
    resumed = copied(method if another is None else another).train()
    with must(method, "its state dict must load into a method that has not trained"):
        resumed.load_state_dict(trained.state_dict())
    others = {"a copy": copied(trained), "one that has not trained, with its state dict loaded,": resumed}
    expected = step_of(trained, steps_before)
    for what, other in others.items():
        found = step_of(other, steps_before)
        wrong = [name for name in expected if not torch.equal(expected[name], found[name])]
        require(
            not wrong,
            method,
            f"after {steps_before} steps, {what} must give exactly the next loss, but not so {listed(wrong)}",
        )


def _step(used: Any, step: int, given: dict[str, Any], untrained: Collection[str]) -> dict[str, Tensor]:
    """One step of plain gradient descent, on views that are a little different each time."""
    generator = torch.Generator().manual_seed(step)
    views = [view + 0.1 * torch.randn(view.shape, generator=generator) for view in given["views"]]
    progress = Progress(step, STEPS, step // PER_EPOCH, PER_EPOCH)
    used.before_step(progress)
    losses = _losses(used, {**given, "views": views})
    used.zero_grad()
    _total(losses).backward()
    with torch.no_grad():
        for name, parameter in used.named_parameters():
            if parameter.grad is not None and not fits_any(name, untrained):
                parameter -= LEARNING_RATE * parameter.grad
    used.after_step(progress)
    return {name: value.detach().clone() for name, value in losses.items()}
