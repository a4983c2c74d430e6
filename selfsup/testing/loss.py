"""The contract of losses."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.contract import must, own_random_numbers, require, require_close
from selfsup.testing.modules import check_gradients, check_state_dict, check_use, copied

TOLERANCE, HALF_TOLERANCE = 1e-5, 0.05
"""Of the loss, or of 1 where that is more: for another order of the samples, and for inputs rounded to bfloat16."""


def check_loss(
    loss: nn.Module,
    *inputs: Any,
    constant: Collection[int] = (),
    permutation_invariant: bool = True,
    smallest_batch: int = 1,
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

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(loss, nn.Module), loss, "must be a torch.nn.Module")
    with own_random_numbers():
        state = torch.random.get_rng_state()

        def run(used: Any, arguments: Any = inputs) -> Tensor:
            torch.random.set_rng_state(state)  # a loss that draws random numbers draws the same for every comparison
            return used(*arguments)

        for training in (True, False):
            torch.random.set_rng_state(state)
            value = check_use(loss, copied(loss).train(training), run, inputs, what="the loss")
            _check_number(loss, value, "the loss")
        check_state_dict(loss, run)
        check_gradients(loss, run)
        value = _check_inputs(loss, run, inputs, constant, of="for the example inputs", learns=True)
        batch = len(_tensors(inputs)[0])
        if permutation_invariant:
            order = torch.randperm(batch).roll(1)
            again = run(copied(loss), _mapped(inputs, lambda each: each[order] if len(each) == batch else each))
            sentence = "must not depend on the order of the samples"
            require_close(again, value, loss, sentence, tolerance=TOLERANCE, least=1.0)
        halved = _mapped(inputs, lambda each: each.bfloat16() if each.is_floating_point() else each)
        with must(loss, "must take bfloat16 inputs under autocast"), torch.autocast("cpu", torch.bfloat16):
            again = run(copied(loss), halved)
        _check_number(loss, again, "the loss of bfloat16 inputs under autocast")
        sentence = "must be computed in float32 under autocast"
        require_close(again, value, loss, sentence, tolerance=HALF_TOLERANCE, least=1.0)
        fewer = _mapped(inputs, lambda each: each[:smallest_batch] if len(each) == batch else each)
        with must(loss, f"must take a batch of {smallest_batch}; if it needs more, say so by smallest_batch"):
            _check_inputs(loss, run, fewer, constant, of=f"for a batch of {smallest_batch}")
        collapsed = _mapped(inputs, lambda each: each[:1].expand_as(each).clone() if each.is_floating_point() else each)
        _check_inputs(loss, run, collapsed, constant, of="for embeddings that are all the same")


def _check_number(loss: nn.Module, value: Any, what: str) -> None:
    found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    right = isinstance(value, Tensor) and value.ndim == 0 and value.dtype in (torch.float32, torch.float64)
    require(right, loss, f"{what} must be a tensor of shape (), float32 or better, got {found}")
    require(bool(value.isfinite()), loss, f"{what} must be finite, got {float(value.detach())}")


def _check_inputs(
    loss: nn.Module,
    run: Callable[..., Tensor],
    inputs: tuple[Any, ...],
    constant: Collection[int],
    *,
    of: str,
    learns: bool = False,
) -> Tensor:
    """The loss, whose gradient must reach the inputs that it should, and no others."""
    watched = _mapped(inputs, lambda each: each.clone().requires_grad_() if each.is_floating_point() else each)
    value = run(copied(loss), watched)
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


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return [found for each in inputs for found in _tensors(each)] if isinstance(inputs, (list, tuple)) else []


def _mapped(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return type(inputs)(_mapped(each, change) for each in inputs) if isinstance(inputs, (list, tuple)) else inputs
