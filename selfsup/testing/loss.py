"""The contract of losses."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import close, greatest_difference, must, own_random_numbers, require
from selfsup.testing.modules import check_gradients, check_kind, check_state_dict, check_use, copied

HALF_TOLERANCE = 0.05
"""Of the loss, or of 1 where that is more, for inputs rounded to bfloat16."""


def check_loss(
    loss: nn.Module,
    *inputs: Any,
    constant: Collection[int] = (),
    permutation_invariant: bool = True,
    smallest_batch: int = 1,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> None:
    """Check what the methods ask of a loss.

    - It is a torch.nn.Module; it gives one finite number in float32 or better, under bfloat16 autocast too, and the
      same for the samples of the batch in another order.
    - In eval mode it gives the same number twice and leaves its state alone; the state dict holds all that it keeps.
    - Gradients reach its own trainable parameters and every input but the ``constant`` ones, where they are not zero.
    - Nothing is written to. Smaller batches, and embeddings that have collapsed to one point, still give a finite loss
      and finite gradients.

    Args:
        loss: built; it is the same afterwards.
        inputs: an example of its positional arguments: tensors, lists of tensors, or anything else, which is passed as
            it is. The first dimension of the first tensor is the batch, and so is that of all tensors as long.
        constant: positions of inputs that no gradient may reach, such as targets and queues.
        permutation_invariant: whether the order of the samples does not matter.
        smallest_batch: the least number of samples that it must take.
        tolerance: of the loss, or of 1 where that is more, for results that may differ by rounding.
        seed: of the permutation and of what the loss draws.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    check_kind(loss)
    with own_random_numbers(seed):
        state = torch.random.get_rng_state()

        def run(used: Any, arguments: Any = inputs) -> Tensor:
            torch.random.set_rng_state(state)  # a loss that draws random numbers draws the same for every comparison
            return used(*arguments)

        def value_of(*arguments: Any) -> Tensor:
            return run(copied(loss), arguments)

        for training in (True, False):
            torch.random.set_rng_state(state)
            value = check_use(loss, copied(loss).train(training), run, inputs, what="the loss")
            _check_number(loss, value, "the loss")
        check_state_dict(loss, run)
        check_gradients(loss, run)
        value = _check_inputs(loss, value_of, inputs, constant, of="for the example inputs", learns=True)
        batch = len(_tensors(inputs)[0])
        if permutation_invariant:
            order = torch.randperm(batch).roll(1)
            again = value_of(*_mapped(inputs, lambda each: each[order] if len(each) == batch else each))
            require(
                close(again, value, tolerance, least=1.0),
                loss,
                f"must not depend on the order of the samples, but differs by {greatest_difference(again, value)}",
            )
        _check_half_precision(loss, value_of, inputs, value)
        for count in range(smallest_batch, batch):
            fewer = _shortened(inputs, batch, count)
            with must(loss, f"must take a batch of {count}; if it needs more, say smallest_batch={count + 1}"):
                _check_inputs(loss, value_of, fewer, constant, of=f"for a batch of {count}")
        collapsed = _mapped(inputs, lambda each: each[:1].expand_as(each).clone() if each.is_floating_point() else each)
        _check_inputs(loss, value_of, collapsed, constant, of="for embeddings that are all the same")


def _check_number(loss: nn.Module, value: Any, what: str) -> None:
    require(isinstance(value, Tensor), loss, f"{what} must be a tensor, got {type(value).__name__}")
    require(value.ndim == 0, loss, f"{what} must be one number, a tensor of shape (), got {tuple(value.shape)}")
    require(value.dtype in (torch.float32, torch.float64), loss, f"{what} must be float32 or better, got {value.dtype}")
    require(bool(value.isfinite()), loss, f"{what} must be finite, got {float(value.detach())}")


def _check_inputs(
    loss: nn.Module,
    value_of: Callable[..., Tensor],
    inputs: tuple[Any, ...],
    constant: Collection[int],
    *,
    of: str,
    learns: bool = False,
) -> Tensor:
    """The loss, whose gradient must reach the inputs that it should, and no others."""
    watched = _mapped(inputs, lambda each: each.clone().requires_grad_() if each.is_floating_point() else each)
    value = value_of(*watched)
    _check_number(loss, value, f"the loss {of}")
    require(value.requires_grad, loss, f"a gradient must reach its inputs {of}, got a loss without gradient")
    for position, argument in enumerate(watched):
        leaves = [each for each in _tensors((argument,)) if each.requires_grad]
        gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True) if leaves else ()
        reached = [gradient for gradient in gradients if gradient is not None]
        if position in constant:
            require(not reached, loss, f"no gradient may reach input {position}, which is constant, but one does")
            continue
        require(len(reached) == len(leaves), loss, f"a gradient must reach input {position} {of}")
        finite = all(bool(gradient.isfinite().all()) for gradient in reached)
        require(finite, loss, f"the gradient of input {position} must be finite {of}")
        moves = not learns or all(bool(gradient.any()) for gradient in reached)
        require(moves, loss, f"nothing is learned from input {position} {of}: its gradient is zero")
    return value.detach()


def _check_half_precision(
    loss: nn.Module, value_of: Callable[..., Tensor], inputs: tuple[Any, ...], expected: Tensor
) -> None:
    halved = _mapped(inputs, lambda each: each.bfloat16() if each.is_floating_point() else each)
    with must(loss, "must take bfloat16 inputs under autocast"), torch.autocast("cpu", torch.bfloat16):
        value = value_of(*halved)
    _check_number(loss, value, "the loss of bfloat16 inputs under autocast")
    require(
        close(value, expected, HALF_TOLERANCE, least=1.0),
        loss,
        f"must be computed in float32 under autocast: {float(value.detach()):.4g} for inputs rounded to bfloat16, "
        f"{float(expected):.4g} for the inputs themselves",
    )


def _shortened(inputs: Any, batch: int, count: int) -> Any:
    """The first samples of a batch."""
    return _mapped(inputs, lambda each: each[:count] if len(each) == batch else each)


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return [found for each in inputs for found in _tensors(each)] if isinstance(inputs, (list, tuple)) else []


def _mapped(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return type(inputs)(_mapped(each, change) for each in inputs) if isinstance(inputs, (list, tuple)) else inputs
