"""Promises that every network makes, backbone, neck or method."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.promise import close, fits_any, greatest_difference, listed, promise, promised, same_values

BF16_TOLERANCE = 0.1
"""Of the greatest output: bfloat16 has 8 bits, and a few dozen layers of them add up to some per cent."""


def copied(module: nn.Module) -> Any:
    """A deep copy, as teachers are made."""
    with promised(module, "must be copyable, as teachers are deep copies"):
        return copy.deepcopy(module)


def state_of(module: nn.Module) -> dict[str, Any]:
    """A copy of everything the state dict holds."""
    state = module.state_dict()
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def check_size(module: Any, name: str) -> int:
    """``out_dim`` and the like: a whole number above 0, known without a forward pass."""
    size = getattr(module, name, None)
    promise(
        isinstance(size, int) and not isinstance(size, bool) and size > 0,
        module,
        f"{name} must be an int > 0, known before the first forward pass, got {size!r}",
    )
    return int(size)  # type: ignore[arg-type]


def check_nothing_outside_the_state(module: nn.Module) -> None:
    """Tensors are parameters or buffers."""
    outside = [
        f"{name}.{attribute}".lstrip(".")
        for name, part in module.named_modules()
        for attribute, value in vars(part).items()
        if isinstance(value, Tensor)
    ]
    promise(
        not outside,
        module,
        f"tensors must be parameters or buffers, or they are neither saved nor moved to a device; {listed(outside)}"
        f" {'is' if len(outside) == 1 else 'are'} neither",
    )


def check_output(module: nn.Module, output: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """A finite tensor of the promised shape."""
    promise(isinstance(output, Tensor), module, f"{what} must be a tensor, got {type(output).__name__}")
    promise(tuple(output.shape) == shape, module, f"{what} must have shape {shape}, got {tuple(output.shape)}")
    promise(bool(output.isfinite().all()), module, f"{what} must be finite for normal inputs")
    return output


def check_forward(
    module: nn.Module,
    inputs: Tensor,
    width: int,
    *,
    what: str,
    tolerance: float,
    component: nn.Module | None = None,
) -> None:
    """Shape, and that nothing is written to: not the inputs, and in eval mode not the module's state either.

    Args:
        module: is copied.
        inputs: one row for each sample.
        width: of the output, which is (B, width).
        what: the output is called.
        tolerance: of the greatest output.
        component: whose promises they are, where that is not the module itself.
    """
    maker = module if component is None else component
    given = inputs.clone()
    for training in (True, False):
        used = copied(module).train(training)
        mode = "training" if training else "eval"
        with promised(maker, f"must take inputs of shape {tuple(inputs.shape)} in {mode} mode"):
            output = used(inputs)
        check_output(maker, output, (len(inputs), width), f"{what} in {mode} mode")
        promise(torch.equal(inputs, given), maker, f"must not write to its input, but does in {mode} mode")
    with torch.no_grad():
        before = state_of(used)
        first, again = used(inputs), used(inputs)
        promise(
            same_values(state_of(used), before),
            maker,
            "must leave its state alone in eval mode, or an evaluation would change the training",
        )
        promise(torch.equal(first, again), maker, "must give the same output twice in eval mode")
        alone = torch.cat([used(row.unsqueeze(0)) for row in inputs])
        promise(
            close(alone, first, tolerance),
            maker,
            "the output for an image must not depend on the others of its batch in eval mode, but differs by "
            f"{greatest_difference(alone, first)}",
        )


def check_gradients(
    module: nn.Module, run: Callable[[Any], Tensor], *, untrained: Collection[str] = (), purpose: str = "training"
) -> None:
    """Every trainable parameter gets a finite gradient; DistributedDataParallel waits for all of them.

    Args:
        module: is copied.
        run: of the copy, to a scalar.
        untrained: shell patterns for parameters that get none by design.
        purpose: for the message.
    """
    used = copied(module).train()
    trainable = {name: p for name, p in used.named_parameters() if p.requires_grad}
    if not trainable:
        return
    run(used).backward()
    without = [name for name, p in trainable.items() if p.grad is None and not fits_any(name, untrained)]
    promise(
        not without,
        module,
        f"a gradient must reach every trainable parameter in {purpose}, or several processes wait for each other for "
        f"ever; none reaches {listed(without)}",
    )
    wrong = [name for name, p in trainable.items() if p.grad is not None and not p.grad.isfinite().all()]
    promise(not wrong, module, f"gradients must be finite in {purpose}; that of {listed(wrong)} is not")
    reached = [name for name, p in trainable.items() if p.grad is not None and fits_any(name, untrained)]
    promise(not reached, module, f"no gradient should reach {listed(reached)}, named as untrained, but one does")


def check_state_dict(module: nn.Module, run: Callable[[Any], Tensor]) -> None:
    """What the state dict holds is all that the output depends on.

    Args:
        module: is copied.
        run: of a copy in eval mode, to its output.
    """
    check_nothing_outside_the_state(module)
    trained, fresh = copied(module), copied(module)
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    with promised(module, "its state dict must load into a copy of itself"):
        fresh.load_state_dict(trained.state_dict())
    with torch.no_grad():
        promise(
            torch.equal(run(trained.eval()), run(fresh.eval())),
            module,
            "must give the same output once its state dict is loaded into a copy with other weights",
        )


def check_half_precision(module: nn.Module, inputs: Tensor) -> None:
    """Works under bfloat16 autocast, forward and backward."""
    with torch.no_grad():
        expected = copied(module).eval()(inputs)
        with promised(module, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
            output = copied(module).eval()(inputs)
    promise(
        close(output, expected, BF16_TOLERANCE),
        module,
        f"must give nearly the same under bfloat16 autocast, but is off by {greatest_difference(output, expected)} "
        f"where values reach {float(expected.abs().max()):.3g}",
    )

    def run(used: nn.Module) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return used(inputs).float().square().mean()

    check_gradients(module, run, purpose="training under bfloat16 autocast")
