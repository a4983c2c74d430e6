"""Promises that every network makes, backbone, neck or method."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.promise import (
    close,
    fits_any,
    global_random_state,
    greatest_difference,
    listed,
    promise,
    promised,
    same_values,
    seeded_by,
)

BF16_TOLERANCE = 0.1
"""Of the greatest output: bfloat16 has 8 bits, and a few dozen layers of them add up to some per cent."""
BF16_ALIGNMENT = 0.9
"""Least cosine between gradients in bfloat16 and in float32: ReLUs near zero flip."""
LEAST_DIFFERENCE = 1e-6
"""Of the greatest output: images whose outputs differ by less are told apart by rounding alone."""


def copied(module: nn.Module) -> Any:
    """A deep copy, as teachers are made."""
    with promised(module, "must be copyable, as teachers are deep copies"):
        return copy.deepcopy(module)


def state_of(module: nn.Module) -> dict[str, Any]:
    """A copy of everything the state dict holds."""
    state = module.state_dict()
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def check_kind(module: Any) -> None:
    """A network, and not a function, a class or a config of one."""
    promise(isinstance(module, nn.Module), module, "must be a torch.nn.Module")


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
    """Tensors are parameters or buffers, and layers are submodules."""
    inside = {id(each) for each in (*module.modules(), *module.parameters(), *module.buffers())}
    outside = [
        f"{name}.{attribute}".lstrip(".")
        for name, part in module.named_modules()
        for attribute, value in vars(part).items()
        if attribute not in _REGISTERED and any(id(each) not in inside for each in _held(value))
    ]
    promise(
        not outside,
        module,
        "tensors must be parameters or buffers, and layers submodules, or they are neither saved nor moved to a "
        f"device; {listed(outside)} {'is' if len(outside) == 1 else 'are'} neither",
    )


_REGISTERED = ("_parameters", "_buffers", "_modules")


def _held(value: Any) -> list[Any]:
    """The tensors and layers in an attribute."""
    if isinstance(value, (Tensor, nn.Module)):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for each in value for found in _held(each)] if isinstance(value, (list, tuple)) else []


def flags_of(module: nn.Module) -> dict[str, bool]:
    """Whether each part trains, by its name."""
    return {name or "the module itself": part.training for name, part in module.named_modules()}


def moved_flags(module: nn.Module, before: dict[str, bool]) -> list[str]:
    """The parts whose flag is not what it was."""
    return [name for name, part in zip(before, module.modules(), strict=True) if part.training != before[name]]


def check_output(module: nn.Module, output: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """A finite float32 tensor of the promised shape."""
    promise(isinstance(output, Tensor), module, f"{what} must be a tensor, got {type(output).__name__}")
    promise(tuple(output.shape) == shape, module, f"{what} must have shape {shape}, got {tuple(output.shape)}")
    promise(output.dtype == torch.float32, module, f"{what} must be float32 as the input, got {output.dtype}")
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
    """Shape; that the input matters; and that nothing is written to: no input, no flag, nor the state in eval mode.

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
        flags = flags_of(used)
        before, random_before = state_of(used), global_random_state()  # of the first call: some act only then
        with promised(maker, f"must take inputs of shape {tuple(inputs.shape)} in {mode} mode"):
            output = used(inputs)
        check_output(maker, output, (len(inputs), width), f"{what} in {mode} mode")
        promise(torch.equal(inputs, given), maker, f"must not write to its input, but does in {mode} mode")
        moved = listed(moved_flags(used, flags))
        promise(not moved, maker, f"must leave the training flags as they were, but in {mode} mode not of {moved}")
    with torch.no_grad():
        first, again = used(inputs), used(inputs)
        promise(
            same_values(state_of(used), before),
            maker,
            "must leave its state alone in eval mode, or an evaluation would change the training",
        )
        promise(torch.equal(first, again), maker, "must give the same output twice in eval mode")
        promise(
            global_random_state() == random_before, maker, "must leave the global random generators alone in eval mode"
        )
        promise(
            not close(first, first[:1].expand_as(first), LEAST_DIFFERENCE),
            maker,
            f"{what} of different inputs must differ in eval mode, but they are the same",
        )
        alone = torch.cat([used(row.unsqueeze(0)) for row in inputs])
    promise(
        close(alone, first, tolerance),
        maker,
        "the output for an image must not depend on the others of its batch in eval mode, but differs by "
        f"{greatest_difference(alone, first)}",
    )

    def train_once() -> None:
        with torch.no_grad():
            copied(module).train()(inputs)

    seeded = seeded_by(train_once)
    promise(
        not seeded,
        maker,
        f"must not seed a global random generator, but in training mode {listed(seeded)} is in the same state "
        "afterwards, whatever it was before",
    )


def check_gradients(
    module: nn.Module,
    run: Callable[[Any], Tensor],
    *,
    untrained: Collection[str] = (),
    training: bool = True,
    purpose: str = "training",
) -> None:
    """Every trainable parameter gets a finite gradient; DistributedDataParallel waits for all of them.

    Args:
        module: is copied.
        run: of the copy, to a scalar.
        untrained: shell patterns for parameters that get none by design.
        training: whether the copy is in training mode.
        purpose: for the message.
    """
    used = copied(module).train(training)
    trainable = {name: p for name, p in used.named_parameters() if p.requires_grad}
    if not trainable:
        return
    value = run(used)
    if value.requires_grad:  # otherwise no gradient reaches anything
        value.backward()
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
    moved = [name for name, p in trainable.items() if p.grad is not None and p.grad.any()]
    promise(bool(moved), module, f"nothing is learnt in {purpose}: the gradient of every parameter is zero")


def check_halves(module: nn.Module, inputs: Tensor, weights: Tensor, *, what: str, to_inputs: bool = False) -> None:
    """No half of the output is detached, in training.

    Args:
        module: is copied.
        inputs: one row for each sample.
        weights: random, of the output's shape: the gradient of a plain sum may be zero, as behind a norm.
        what: the output is called.
        to_inputs: whether the gradients must reach the inputs, and not any trainable parameter.
    """
    width = weights.shape[1]
    halves = {
        "the first half": slice(0, width // 2),
        "the last half": slice(width - width // 2, width),
        "every second": slice(0, width, 2),
        "every other second": slice(1, width, 2),
    }
    for name, half in halves.items():
        used = copied(module).train()
        watched = inputs.clone().requires_grad_(to_inputs)
        leaves = [watched] if to_inputs else [parameter for parameter in used.parameters() if parameter.requires_grad]
        if not leaves or not weights[:, half].numel():
            continue
        value = (used(watched) * weights)[:, half].sum()
        gradients: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        promise(
            any(gradient is not None and bool(gradient.any()) for gradient in gradients),
            module,
            f"a gradient must reach {'its input' if to_inputs else 'parameters'} from all of {what}, but none does "
            f"from {name} of their dimensions",
        )


def check_state_dict(module: nn.Module, run: Callable[[Any], Tensor], *, another: nn.Module | None = None) -> None:
    """What the state dict holds is all that the output depends on, and a copy has all of it for itself.

    Args:
        module: is copied.
        run: of a copy, to its output.
        another: the same built once more, whose other first weights show what the state dict leaves out; is copied.
            None for a copy with other weights.
    """
    check_nothing_outside_the_state(module)
    own = {_place(tensor) for tensor in (*module.parameters(), *module.buffers())} - {None}
    shared = [name for name, tensor in copied(module).state_dict(keep_vars=True).items() if _place(tensor) in own]
    promise(not shared, module, f"a copy must share no tensor with it, but does share {listed(shared)}")
    trained, fresh = copied(module).train(), copied(module if another is None else another)
    with torch.no_grad():
        for _ in range(2):
            run(trained)
        for tensor in fresh.state_dict().values():
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    with promised(module, "its state dict must load into another of its kind"):
        fresh.load_state_dict(trained.state_dict())
    for training in (False, True):
        outputs = []
        for used in (trained, fresh):
            torch.manual_seed(0)
            with torch.no_grad():
                outputs.append(run(used.train(training)))
        promise(
            torch.equal(*outputs),
            module,
            "must give the same output once its state dict is loaded into another of its kind, but not in "
            f"{'training' if training else 'eval'} mode",
        )


def _place(tensor: Any) -> int | None:
    """Where a tensor lies in memory; None for an empty one."""
    return tensor.data_ptr() if isinstance(tensor, Tensor) and tensor.numel() else None


def check_half_precision(module: nn.Module, inputs: Tensor) -> None:
    """Works under bfloat16 autocast, forward and backward."""
    exact, halved = copied(module).eval(), copied(module).eval()
    expected = exact(inputs)
    with promised(module, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
        output = halved(inputs)
    promise(
        close(output, expected, BF16_TOLERANCE),
        module,
        f"must give nearly the same under bfloat16 autocast, but is off by {greatest_difference(output, expected)} "
        f"where values reach {float(expected.detach().abs().max()):.3g}",
    )

    def run(used: nn.Module) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return used(inputs).float().square().mean()

    check_gradients(module, run, purpose="training under bfloat16 autocast")
    if expected.requires_grad and output.requires_grad:
        direction = torch.randn_like(expected)
        gradients: list[Tensor] = []
        for used, found in ((exact, expected), (halved, output)):
            (found.float() * direction).sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in used.parameters() if p.grad is not None]))
        cosine = float(nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0))
        promise(
            cosine > BF16_ALIGNMENT,
            module,
            f"gradients under bfloat16 autocast must point where those of float32 do, but their cosine is {cosine:.3g}",
        )
