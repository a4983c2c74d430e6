"""The contract of losses."""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.testing.modules import check_gradients, check_kind, check_state_dict, copied, state_of
from selfsup.testing.promise import close, greatest_difference, own_random_numbers, promise, promised, same_values

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

    It is a torch.nn.Module; it gives one finite number in float32 or better, under bfloat16 autocast too; the same for
    the samples of the batch in another order; in eval mode the same number twice, leaving its state alone; the state
    dict holds everything that it keeps between calls; gradients reach its own trainable parameters and every input but
    the ``constant`` ones, where they are not zero; nothing is written to; smaller batches, and embeddings that have
    collapsed to one point, still give a finite loss and finite gradients.

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
        AssertionError: naming the first promise that is broken.
    """
    check_kind(loss)
    with own_random_numbers(seed):
        state = torch.random.get_rng_state()

        def value_of(*arguments: Any) -> Tensor:
            torch.random.set_rng_state(state)  # a loss that draws draws the same for every comparison
            return copied(loss)(*arguments)

        def value_with(used: Any) -> Tensor:
            torch.random.set_rng_state(state)
            return used(*inputs)

        given = copy.deepcopy(inputs)
        with promised(loss, "must take the example inputs"):
            value = value_of(*inputs)
        _check_number(loss, value, "the loss")
        promise(_equal(inputs, given), loss, "must not write to its inputs")
        _check_twice(loss, value_with)
        check_state_dict(loss, value_with)
        check_gradients(loss, value_with)
        _check_gradients(loss, value_of, inputs, constant, learns=True)
        batch = len(_tensors(inputs)[0])
        if permutation_invariant:
            order = torch.randperm(batch).roll(1)
            again = value_of(*_mapped(inputs, lambda each: each[order] if len(each) == batch else each))
            promise(
                close(again, value, tolerance, least=1.0),
                loss,
                f"must not depend on the order of the samples, but differs by {greatest_difference(again, value)}",
            )
        _check_half_precision(loss, value_of, inputs, value)
        for count in range(smallest_batch, batch):
            fewer = _shortened(inputs, batch, count)
            with promised(loss, f"must take a batch of {count}; if it needs more, say smallest_batch={count + 1}"):
                _check_gradients(loss, value_of, fewer, constant, of=f"for a batch of {count}")
        collapsed = _mapped(inputs, lambda each: each[:1].expand_as(each).clone() if each.is_floating_point() else each)
        _check_gradients(loss, value_of, collapsed, constant, of="for embeddings that are all the same")


def _check_twice(loss: nn.Module, value_with: Callable[[Any], Tensor]) -> None:
    used = copied(loss).eval()
    before = state_of(used)
    first, again = value_with(used), value_with(used)
    promise(same_values(state_of(used), before), loss, "must leave its state alone in eval mode")
    promise(torch.equal(first, again), loss, "must give the same for the same inputs in eval mode")


def _check_number(loss: nn.Module, value: Any, what: str) -> None:
    promise(isinstance(value, Tensor), loss, f"{what} must be a tensor, got {type(value).__name__}")
    promise(value.ndim == 0, loss, f"{what} must be one number, a tensor of shape (), got {tuple(value.shape)}")
    promise(value.dtype in (torch.float32, torch.float64), loss, f"{what} must be float32 or better, got {value.dtype}")
    promise(bool(value.isfinite()), loss, f"{what} must be finite, got {float(value.detach())}")


def _check_gradients(
    loss: nn.Module,
    value_of: Callable[..., Tensor],
    inputs: tuple[Any, ...],
    constant: Collection[int],
    *,
    of: str = "for the example inputs",
    learns: bool = False,
) -> None:
    watched = _mapped(inputs, lambda each: each.clone().requires_grad_() if each.is_floating_point() else each)
    value = value_of(*watched)
    _check_number(loss, value, f"the loss {of}")
    promise(value.requires_grad, loss, f"a gradient must reach its inputs {of}, got a loss without gradient")
    for position, argument in enumerate(watched):
        leaves = [each for each in _tensors((argument,)) if each.requires_grad]
        if not leaves:
            continue
        gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        reached = [gradient for gradient in gradients if gradient is not None]
        if position in constant:
            promise(not reached, loss, f"no gradient may reach input {position}, which is constant, but one does")
            continue
        promise(len(reached) == len(leaves), loss, f"a gradient must reach input {position} {of}")
        promise(
            all(bool(gradient.isfinite().all()) for gradient in reached),
            loss,
            f"the gradient of input {position} must be finite {of}",
        )
        if learns:
            promise(
                all(bool(gradient.any()) for gradient in reached),
                loss,
                f"nothing is learnt from input {position} {of}: its gradient is zero",
            )


def _check_half_precision(
    loss: nn.Module, value_of: Callable[..., Tensor], inputs: tuple[Any, ...], expected: Tensor
) -> None:
    halved = _mapped(inputs, lambda each: each.bfloat16() if each.is_floating_point() else each)
    with promised(loss, "must take bfloat16 inputs under autocast"), torch.autocast("cpu", torch.bfloat16):
        value = value_of(*halved)
    _check_number(loss, value, "the loss of bfloat16 inputs under autocast")
    promise(
        close(value, expected, HALF_TOLERANCE, least=1.0),
        loss,
        f"must be computed in float32 under autocast: {float(value.detach()):.4g} for inputs rounded to bfloat16, "
        f"{float(expected.detach()):.4g} for the inputs themselves",
    )


def _tensors(inputs: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(inputs, lambda each: found.append(each) or each)  # type: ignore[func-returns-value]
    return found


def _mapped(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, (list, tuple)):
        return type(inputs)(_mapped(each, change) for each in inputs)
    return inputs


def _shortened(inputs: Any, batch: int, count: int) -> Any:
    """The first samples of a batch."""
    return _mapped(inputs, lambda each: each[:count] if len(each) == batch else each)


def _equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(_tensors(a), _tensors(b), strict=True))
