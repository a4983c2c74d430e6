"""Rules that every network keeps: backbone, neck, loss or method."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import (
    close,
    fits_any,
    global_random_state,
    greatest_difference,
    listed,
    must,
    require,
    same_values,
    seed_everything,
)

BF16_TOLERANCE = 0.1
"""Of the greatest output: bfloat16 has 8 bits, and a few dozen layers of them add up to some per cent."""
LEAST_DIFFERENCE = 1e-6
"""Of the greatest output: images whose outputs differ by less are told apart by rounding alone."""

Run = Callable[[Any], Tensor]


def copied(module: nn.Module) -> Any:
    """A deep copy, as teachers are made."""
    with must(module, "must be copyable, as teachers are deep copies"):
        return copy.deepcopy(module)


def state_of(module: nn.Module) -> dict[str, Any]:
    """A copy of everything the state dict holds."""
    state = module.state_dict()
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def snapshot(module: nn.Module) -> dict[str, Any]:
    """All that using a part could change, by what it is called in a sentence."""
    return {
        "its state": state_of(module),
        "its training flags": {name: part.training for name, part in module.named_modules()},
        "requires_grad": {name: parameter.requires_grad for name, parameter in module.named_parameters()},
        "the global random generators": global_random_state(),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two snapshots."""
    return [name for name in before if not same_values(before[name], after[name])]


def check_use(component: object, used: nn.Module, call: Callable[[Any, Any], Any], inputs: Any, *, what: str) -> Any:
    """The output of a call, which must leave inputs and part as they were, and in eval mode give the same again.

    In training mode its state may change and it may draw random numbers.

    Args:
        component: whose rules they are.
        used: the part, or a copy of it.
        call: of the part and the inputs.
        inputs: tensors.
        what: the call is called in sentences.
    """
    training = used.training
    mode = "training" if training else "eval"
    given, before = copy.deepcopy(inputs), snapshot(used)
    with must(component, f"{what} must take its inputs in {mode} mode"):
        output = call(used, inputs)
    require(same_values(inputs, given), component, f"{what} must not write to its inputs, but does in {mode} mode")
    wrong = changes(before, snapshot(used))
    if training:
        wrong = [name for name in wrong if name in ("its training flags", "requires_grad")]
    require(not wrong, component, f"{what} must not change {listed(wrong)} in {mode} mode")
    if not training:
        require(same_values(call(used, inputs), output), component, f"{what} must give the same twice in eval mode")
    return output


def check_seeds_nothing(component: object, run: Callable[[], Any]) -> None:
    """Reject what leaves a global generator in the same state, whatever it was before."""
    after = []
    for seed in (1, 2):
        seed_everything(seed)
        run()
        after.append(global_random_state())
    seeded = [name for name, state in after[0].items() if state == after[1][name]]
    require(not seeded, component, f"must not seed a global random generator, but seeds {listed(seeded)}")


def check_kind(module: Any) -> None:
    """A network, and not a function, a class or a config of one."""
    require(isinstance(module, nn.Module), module, "must be a torch.nn.Module")


def check_size(module: Any, name: str) -> int:
    """``out_dim`` and the like: a whole number above 0, known without a forward pass."""
    size = getattr(module, name, None)
    fits = isinstance(size, int) and not isinstance(size, bool) and size > 0
    require(fits, module, f"{name} must be an int > 0, known before the first forward pass, got {size!r}")
    return int(size)  # type: ignore[arg-type]


def check_nothing_outside_the_state(module: nn.Module) -> None:
    """Tensors are parameters or buffers, and layers are submodules."""
    inside = {id(each) for each in (*module.modules(), *module.parameters(), *module.buffers())}
    outside = [
        f"{name}.{attribute}".lstrip(".")
        for name, part in module.named_modules()
        for attribute, value in vars(part).items()
        if attribute not in ("_parameters", "_buffers", "_modules") and any(id(x) not in inside for x in _held(value))
    ]
    require(
        not outside,
        module,
        "tensors must be parameters or buffers, and layers submodules, to be saved and moved to a device; "
        f"{listed(outside)} {'is' if len(outside) == 1 else 'are'} neither",
    )


def _held(value: Any) -> list[Any]:
    """The tensors and layers in an attribute."""
    if isinstance(value, (Tensor, nn.Module)):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for each in value for found in _held(each)] if isinstance(value, (list, tuple)) else []


def check_output(component: object, output: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """A finite float32 tensor of the right shape."""
    require(isinstance(output, Tensor), component, f"{what} must be a tensor, got {type(output).__name__}")
    require(tuple(output.shape) == shape, component, f"{what} must have shape {shape}, got {tuple(output.shape)}")
    require(output.dtype == torch.float32, component, f"{what} must be float32 as the input, got {output.dtype}")
    require(bool(output.isfinite().all()), component, f"{what} must be finite for normal inputs")
    return output


def check_forward(
    module: nn.Module,
    inputs: Tensor,
    width: int,
    *,
    what: str,
    tolerance: float,
    component: object = None,
    run: Callable[[Any, Tensor], Any] = lambda used, inputs: used(inputs),
) -> None:
    """Shape; that the input matters; that in eval mode a row does not depend on the others.

    Args:
        module: is copied.
        inputs: one row for each sample.
        width: of the output, which is (B, width).
        what: the output is called.
        tolerance: of the greatest output.
        component: whose rules they are, where that is not the module itself.
        run: of the copy and inputs, to the output.
    """
    maker = module if component is None else component
    for training in (True, False):
        used = copied(module).train(training)
        output = check_use(maker, used, run, inputs, what=what)
        check_output(maker, output, (len(inputs), width), what)
    different = not close(output, output[:1].expand_as(output), LEAST_DIFFERENCE)
    require(different, maker, f"{what} of different inputs must differ in eval mode, but they are the same")
    with torch.no_grad():
        alone = torch.cat([run(used, row.unsqueeze(0)) for row in inputs])
    require(
        close(alone, output, tolerance),
        maker,
        f"{what} of an image must not depend on the others of its batch in eval mode, but differ by "
        f"{greatest_difference(alone, output)}",
    )
    with torch.no_grad():
        check_seeds_nothing(maker, lambda: run(copied(module).train(), inputs))


def check_gradients(
    module: nn.Module, run: Run, *, untrained: Collection[str] = (), training: bool = True, purpose: str = "training"
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
    require(
        not without,
        module,
        f"a gradient must reach every trainable parameter in {purpose}, or several processes wait for each other for "
        f"ever; none reaches {listed(without)}",
    )
    gradients = {name: p.grad for name, p in trainable.items() if p.grad is not None}
    wrong = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    require(not wrong, module, f"gradients must be finite in {purpose}; that of {listed(wrong)} is not")
    reached = [name for name in gradients if fits_any(name, untrained)]
    require(not reached, module, f"no gradient should reach {listed(reached)}, named as untrained, but one does")
    learns = any(bool(gradient.any()) for gradient in gradients.values())
    require(learns, module, f"nothing is learned in {purpose}: the gradient of every parameter is zero")


def reaches(value: Tensor, leaves: list[Tensor]) -> bool:
    """Whether any of some leaves has a gradient of a value that is not zero."""
    if not value.requires_grad:
        return False
    gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def check_halves(module: nn.Module, inputs: Tensor, weights: Tensor, *, what: str, to_inputs: bool = False) -> None:
    """Neither half of the output is detached, in training.

    Args:
        module: is copied.
        inputs: one row for each sample.
        weights: random, of the output's shape: the gradient of a plain sum may be zero, as behind a norm.
        what: the output is called.
        to_inputs: whether the gradients must reach the inputs, and not any trainable parameter.
    """
    used = copied(module).train()
    watched = inputs.clone().requires_grad_(to_inputs)
    leaves = [watched] if to_inputs else [parameter for parameter in used.parameters() if parameter.requires_grad]
    if not leaves:
        return
    for name, half in zip(("first", "last"), (used(watched) * weights).tensor_split(2, dim=1), strict=True):
        goal = "its input" if to_inputs else "parameters"
        sentence = f"a gradient must reach {goal} from all of {what}, but none does from the {name} half"
        require(reaches(half.sum(), leaves) or not half.numel(), module, sentence)


def check_state_dict(module: nn.Module, run: Run, *, another: nn.Module | None = None) -> None:
    """What the state dict holds is all that the output depends on.

    Args:
        module: is copied.
        run: of a copy, to its output.
        another: the same built once more, whose other first weights show what the state dict leaves out; is copied.
            None for a copy with other weights.
    """
    check_nothing_outside_the_state(module)
    trained, fresh = copied(module).train(), copied(module if another is None else another)
    with torch.no_grad():
        for _ in range(2):
            run(trained)
        for tensor in fresh.state_dict().values():
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    with must(module, "its state dict must load into another of its kind"):
        fresh.load_state_dict(trained.state_dict())
    for training, mode in ((False, "eval"), (True, "training")):
        outputs = []
        for used in (trained, fresh):
            torch.manual_seed(0)
            with torch.no_grad():
                outputs.append(run(used.train(training)))
        sentence = f"the same output once its state dict is loaded into another of its kind, but not in {mode} mode"
        require(torch.equal(*outputs), module, f"must give {sentence}")


def check_half_precision(module: nn.Module, inputs: Tensor) -> None:
    """Works under bfloat16 autocast, forward and backward."""
    exact, halved = copied(module).eval(), copied(module).eval()
    expected = exact(inputs)
    with must(module, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
        output = halved(inputs)
    require(
        close(output, expected, BF16_TOLERANCE),
        module,
        f"must give nearly the same under bfloat16 autocast, but is off by {greatest_difference(output, expected)} "
        f"where values reach {float(expected.detach().abs().max()):.3g}",
    )

    def run(used: nn.Module) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return used(inputs).float().square().mean()

    check_gradients(module, run, purpose="training under bfloat16 autocast")
