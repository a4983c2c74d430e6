"""The contract of methods."""

from collections.abc import Collection, Sequence
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods.base import Method, Progress
from selfsup.testing.contract import fits_any, listed, must, own_random_numbers, require, same_values
from selfsup.testing.modules import check_forward, check_gradients, check_nothing_outside_the_state, check_use, copied

STEPS, PER_EPOCH = 6, 2
STEPS_BEFORE = 3
"""Steps before the state is saved, so that queues and teachers have moved."""
LEARNING_RATE = 0.05
VIEW_SIZES = (32, 32, 24)


def check_method(
    method: Method,
    *,
    another: Method | None = None,
    sizes: Sequence[int] | None = None,
    labels: Tensor | None = None,
    batch: int = 4,
    untrained: Collection[str] = (),
    teacher_moves: bool = True,
    per_process: Collection[str] = (),
) -> None:
    """Check what the engine asks of a method.

    - ``loss`` returns finite numbers, under bfloat16 autocast too: each that is named ``loss*`` has a gradient, the
      others keep no graph. It leaves views, labels and training flags alone, and in eval mode the state.
    - ``check_batch`` and ``check_num_views`` accept what ``loss`` takes; ``entry_points`` and ``fresh_parts`` exist.
    - Gradients reach every trainable parameter, as DistributedDataParallel needs. A ``teacher`` is not, and moves.
    - Features have the backbone's width and do not depend on the batch in eval mode.
    - State that ``loss`` changes, but for batch norm, depends on all processes' images; a second one is simulated.
    - ``before_step`` changes parameters of ``moved_before_step`` alone.
    - After a few steps a new method with the state dict gives exactly the next loss.

    Args:
        method: built; it is the same afterwards.
        another: the same built once more, as in :func:`~selfsup.testing.check_backbone`.
        sizes: sides in pixels of the views it is given, one each; None for two large ones and a small one, or the first
            ``num_views`` of these.
        labels: classes, shape (batch,), for methods that learn from them.
        batch: images at a time, > 1.
        untrained: shell patterns for trainable parameters that get no gradient by design.
        teacher_moves: False for a teacher that is given and stays as it is, as in distillation.
        per_process: shell patterns for buffers that each process keeps for itself by design.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(method, Method), method, "must be a selfsup.methods.Method")
    with own_random_numbers():
        sizes = sizes or VIEW_SIZES[: method.num_views]
        given: dict[str, Any] = {"views": [torch.randn(batch, 3, size, size) for size in sizes], "labels": labels}

        def total(used: Any) -> Tensor:
            return _total(_losses(used, given))

        _check_names(method)
        started = copied(method).train()
        started.before_step(Progress(0, STEPS, 0, PER_EPOCH))
        for training in (True, False):
            losses = check_use(method, copied(started).train(training), _losses, given, what="loss")
            if training:
                _check_losses(method, losses)
        check_gradients(started, total, untrained=untrained)
        with must(method, f"must not reject {len(sizes)} views and a batch of {batch}, which loss takes"):
            asked = copied(method).to("meta")  # a dry run asks without weights
            asked.check_num_views(len(sizes))
            asked.check_batch(batch, 1)
        with must(method, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
            value = total(copied(started)).detach()
        require(bool(value.isfinite()), method, f"the loss must be finite under bfloat16 autocast, got {float(value)}")
        images, width = given["views"][0], method.backbone.out_dim
        check_forward(method, started, images, width, what="the features", run=lambda used, views: used.features(views))
        _check_exchange(method, started, given, batch, per_process)
        _check_training(method, another, given, untrained, teacher_moves)


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
    wrong = [name for name, p in method.named_parameters() if name.startswith("teacher.") and p.requires_grad]
    require(not wrong, method, f"a teacher is not trained: requires_grad must be off, but is on for {listed(wrong)}")


def _check_losses(method: Method, losses: Any) -> None:
    require(isinstance(losses, dict), method, f"loss must return a dict, got {type(losses).__name__}")
    minimized = any(name.startswith("loss") for name in losses)
    require(minimized, method, f"loss must return an entry whose name starts with 'loss', got {sorted(losses)}")
    for name, value in losses.items():
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        require(found == (), method, f"{name!r} of the loss must be a tensor of shape (), got {found}")
        right = value.is_floating_point() and bool(value.isfinite())
        require(right, method, f"{name!r} of the loss must be a finite float, got {value}")
        if name.startswith("loss"):
            require(value.requires_grad, method, f"{name!r} of the loss has no gradient; call it otherwise to log it")
        else:
            sentence = "is only logged and must be detached, or the graph of every step stays in memory"
            require(not value.requires_grad, method, f"{name!r} of the loss {sentence}")


def _two_processes() -> Any:
    """PyTorch's collectives as if there were a second process, with tensors twice as large."""

    def other(tensor: Tensor) -> Tensor:
        return tensor * 2.0 if tensor.is_floating_point() else tensor

    def all_reduce(tensor: Tensor, op: Any = dist.ReduceOp.SUM, group: Any = None, async_op: bool = False) -> None:
        tensor.copy_(tensor + other(tensor) if op == dist.ReduceOp.SUM else torch.maximum(tensor, other(tensor)))

    def all_gather(parts: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> None:
        parts[0].copy_(tensor)
        parts[1].copy_(other(tensor))

    return mock.patch.multiple(
        dist,
        is_initialized=lambda: True,
        get_world_size=lambda group=None: 2,
        get_rank=lambda group=None: 0,
        all_reduce=all_reduce,
        all_gather=all_gather,
        broadcast=lambda tensor, *arguments, **options: None,
    )


def _check_exchange(
    method: Method, started: Method, given: dict[str, Any], batch: int, per_process: Collection[str]
) -> None:
    """State that depends on this process's images depends on those of the others, too."""
    norms = {name for name, part in started.named_modules() if isinstance(part, nn.modules.batchnorm._NormBase)}
    used, together = copied(started), copied(started)
    try:
        together.check_batch(batch, 2)
    except ConfigError:
        return
    torch.manual_seed(0)
    _losses(used, given)
    torch.manual_seed(0)
    with _two_processes():
        _losses(together, given)
    before, by_itself, exchanged = started.state_dict(), used.state_dict(), together.state_dict()
    alone = [
        name
        for name, tensor in before.items()
        if name.rpartition(".")[0] not in norms and not fits_any(name, per_process) and tensor.is_floating_point()
        if not same_values(tensor, by_itself[name]) and same_values(by_itself[name], exchanged[name])
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
) -> None:
    """The next loss follows from the state dict alone; a teacher follows its student."""
    check_nothing_outside_the_state(method)
    trained = copied(method).train()
    for step in range(STEPS_BEFORE):
        _step(trained, step, given, untrained)
    teacher = {name: tensor for name, tensor in method.named_parameters() if name.startswith("teacher.")}
    moved = any(not torch.equal(tensor, trained.get_parameter(name)) for name, tensor in teacher.items())
    require(
        moved or not teacher or not teacher_moves,
        method,
        f"the teacher must follow its student, but is the same after {STEPS_BEFORE} steps: call its follow() in "
        "before_step or after_step, or pass teacher_moves=False if it is meant to stay",
    )
    resumed = copied(method if another is None else another).train()
    with must(method, "its state dict must load into a method that has not trained"):
        resumed.load_state_dict(trained.state_dict())
    expected, found = (_step(used, STEPS_BEFORE, given, untrained) for used in (trained, resumed))
    wrong = [name for name in expected if not torch.equal(expected[name], found[name])]
    sentence = f"after {STEPS_BEFORE} steps, one with its state dict loaded must give exactly the next loss"
    require(not wrong, method, f"{sentence}, but not so {listed(wrong)}")


def _step(used: Any, step: int, given: dict[str, Any], untrained: Collection[str]) -> dict[str, Tensor]:
    """One step of plain gradient descent, on views that are a little different each time."""
    torch.manual_seed(step)
    views = [view + 0.1 * torch.randn(view.shape) for view in given["views"]]
    progress = Progress(step, STEPS, step // PER_EPOCH, PER_EPOCH)
    before = {name: parameter.detach().clone() for name, parameter in used.named_parameters()}
    used.before_step(progress)
    restored = tuple(f"{part}." for part in used.moved_before_step)
    moved = [name for name, now in used.named_parameters() if not torch.equal(now, before[name])]
    missing = [name for name in moved if not name.startswith(restored)]
    require(not missing, used, f"before_step changes {listed(missing)}, which moved_before_step must name")
    losses = _losses(used, {**given, "views": views})
    used.zero_grad()
    _total(losses).backward()
    with torch.no_grad():
        for name, parameter in used.named_parameters():
            if parameter.grad is not None and not fits_any(name, untrained):
                parameter -= LEARNING_RATE * parameter.grad
    used.after_step(progress)
    return {name: value.detach().clone() for name, value in losses.items()}
