"""Rules that every network keeps: backbone, neck, loss or method."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import fits_any, global_random_state, listed, must, require, require_close, same_values

BF16_TOLERANCE = 0.1
"""Of the greatest output: bfloat16 has 8 bits, and a few dozen layers of them add up to some per cent."""
LEAST_DIFFERENCE = 1e-6
"""Of the greatest output: images whose outputs differ by less are told apart by rounding alone."""

Run = Callable[[Any], Tensor]


def copied(module: nn.Module) -> Any:
    """A deep copy, as teachers are made."""
    with must(module, "must be copyable, as teachers are deep copies"):
        return copy.deepcopy(module)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """All that using a part could change, by what it is called in a sentence."""
    return {
        "its state": copy.deepcopy(module.state_dict()),
        "its training flags": {name: part.training for name, part in module.named_modules()},
        "the global random generators": global_random_state(),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two snapshots."""
    return [name for name in before if not same_values(before[name], after[name])]


def check_use(component: object, used: nn.Module, call: Callable[[Any, Any], Any], inputs: Any, *, what: str) -> Any:
    """The output of a call, which must leave inputs and part as they were, and in eval mode give the same again.

    In training mode the state of what is ``used`` may change and it may draw random numbers.
    """
    training = used.training
    mode = "training" if training else "eval"
    given, before = copy.deepcopy(inputs), snapshot(used)
    with must(component, f"{what} must take its inputs in {mode} mode"):
        output = call(used, inputs)
    require(same_values(inputs, given), component, f"{what} must not write to its inputs")
    wrong = [name for name in changes(before, snapshot(used)) if not training or name == "its training flags"]
    require(not wrong, component, f"{what} must not change {listed(wrong)} in {mode} mode")
    if not training:
        require(same_values(call(used, inputs), output), component, f"{what} must give the same twice in eval mode")
    return output


def check_size(module: Any, name: str) -> int:
    """``out_dim`` and the like: a whole number above 0, known without a forward pass."""
    size = getattr(module, name, None)
    right = isinstance(size, int) and size > 0
    require(right, module, f"{name} must be an int > 0, known before the first forward pass, got {size!r}")
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
    sentence = "tensors must be parameters or buffers, and layers submodules, to be saved and moved to a device"
    require(not outside, module, f"{sentence}; {listed(outside)} is neither")


def _held(value: Any) -> list[Any]:
    """The tensors and layers in an attribute."""
    if isinstance(value, (Tensor, nn.Module)):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [found for each in items for found in _held(each)]


def check_output(component: object, output: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """A finite float32 tensor of the right shape."""
    require(isinstance(output, Tensor), component, f"{what} must be a tensor, got {type(output).__name__}")
    require(tuple(output.shape) == shape, component, f"{what} must have shape {shape}, got {tuple(output.shape)}")
    require(output.dtype == torch.float32, component, f"{what} must be float32 as the input, got {output.dtype}")
    require(bool(output.isfinite().all()), component, f"{what} must be finite for normal inputs")
    return output


def check_forward(
    component: nn.Module,
    used: nn.Module,
    inputs: Tensor,
    width: int,
    *,
    what: str,
    tolerance: float = 1e-4,
    run: Callable[[Any, Tensor], Any] = lambda used, inputs: used(inputs),
) -> None:
    """Output (B, width); that the input matters; that in eval mode a row does not depend on the others.

    What is ``used`` is the component, or a copy of it in another state; ``inputs`` have a row for each sample.
    """
    for training in (True, False):
        module = copied(used).train(training)
        output = check_use(component, module, run, inputs, what=what)
        check_output(component, output, (len(inputs), width), what)
    different = (output - output[:1]).abs().max() > LEAST_DIFFERENCE * output.abs().max()
    require(bool(different), component, f"{what} of different inputs must differ in eval mode, but they are the same")
    with torch.no_grad():
        alone = torch.cat([run(module, row.unsqueeze(0)) for row in inputs])
    sentence = f"{what} of an image must not depend on the others of its batch in eval mode"
    require_close(alone, output, component, sentence, tolerance=tolerance)


def check_gradients(module: nn.Module, run: Run, *, untrained: Collection[str] = (), training: bool = True) -> None:
    """Every trainable parameter gets a finite gradient of the scalar that ``run`` gives, but the ``untrained`` ones."""
    used, mode = copied(module).train(training), "training" if training else "eval"
    trainable = {name: p for name, p in used.named_parameters() if p.requires_grad and not fits_any(name, untrained)}
    if not trainable:
        return
    value = run(used)
    if value.requires_grad:  # otherwise no gradient reaches anything
        value.backward()
    without = [name for name, parameter in trainable.items() if parameter.grad is None]
    require(
        not without,
        module,
        f"a gradient must reach every trainable parameter in {mode} mode, or several processes wait for each other for "
        f"ever; none reaches {listed(without)}",
    )
    gradients = {name: parameter.grad for name, parameter in trainable.items() if parameter.grad is not None}
    wrong = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    require(not wrong, module, f"gradients must be finite in {mode} mode; that of {listed(wrong)} is not")
    learns = any(bool(gradient.any()) for gradient in gradients.values())
    require(learns, module, f"nothing is learned in {mode} mode: the gradient of every parameter is zero")


def reaches(value: Tensor, leaves: list[Tensor]) -> bool:
    """Whether any of some leaves has a gradient of a value that is not zero."""
    if not value.requires_grad:
        return False
    gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def check_state_dict(module: nn.Module, run: Run, *, another: nn.Module | None = None) -> None:
    """What the state dict holds is all that the output of ``run`` depends on, in a copy or ``another`` of its kind."""
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
    """bfloat16 autocast gives nearly the same."""
    exact, sentence = copied(module).eval()(inputs), "must give nearly the same under bfloat16 autocast"
    with must(module, "must work under bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16):
        halved = copied(module).eval()(inputs)
    require_close(halved, exact, module, sentence, tolerance=BF16_TOLERANCE)
