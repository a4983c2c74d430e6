import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from selfsup.engine.optim import LARS, lars
from selfsup.errors import ConfigError
from selfsup.registry import OPTIMIZERS
from tests.reference import record
from tests.reference.lars import lars_by_the_papers

VARIANTS = ("simclr", "byol", "larc")


def train(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradients: Any, lrs: Any) -> list[list[float]]:
    history = []
    for gradient, lr in zip(gradients, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.as_tensor(gradient, dtype=weight.dtype)
        optimizer.step()
        history.append(weight.tolist())
    return history


@pytest.mark.parametrize(
    ("variant", "key"),
    [("simclr", "simclr_tf2"), ("byol", "byol_or_vissl_lars"), ("larc", "apex_larc_sgd"), (None, "excluded_param_tf2")],
)
def test_two_steps_equal_the_official_codes(variant: str | None, key: str) -> None:
    check = record("lars/two_steps")
    given = check["input"]
    weight = nn.Parameter(torch.tensor(given["w"], dtype=torch.float64))
    excluded = {"adapt": False, "weight_decay": 0.0} if variant is None else {}
    optimizer = LARS(
        [{"params": [weight], **excluded}],
        1.0,
        momentum=given["momentum"],
        weight_decay=given["wd"],
        trust_coefficient=given["eta"],
        variant=variant or "simclr",
    )
    actual = train(optimizer, weight, given["grads"], given["lrs"])
    np.testing.assert_allclose(actual, check["expected"][key], rtol=0, atol=check["tol"])
    # mmpretrain's LARS: the ratio of LARC, with the rate inside the momentum
    assert np.abs(np.subtract(actual, check["expected"]["mmpretrain_lars"])).max() > 1e-4


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_many_steps_equal_the_papers(variant: str, nesterov: bool, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    start, gradients, lrs = rng.normal(size=12), rng.normal(size=(8, 12)), rng.uniform(0.1, 4, 8)
    gradients[3] = 0.0
    weight = nn.Parameter(torch.tensor(start))
    optimizer = LARS(
        [weight], 1.0, weight_decay=weight_decay, variant=variant, nesterov=nesterov, trust_coefficient=0.02
    )
    expected = lars_by_the_papers(
        start, gradients, lrs, variant=variant, weight_decay=weight_decay, momentum=0.9, trust=0.02, nesterov=nesterov
    )
    np.testing.assert_allclose(train(optimizer, weight, gradients, lrs), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.9, True), (0.0, False)])
def test_without_adaptation_it_is_sgd(variant: str, momentum: float, nesterov: bool) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5, dtype=torch.float64))
    twin = copy.deepcopy(weight)
    options: dict[str, Any] = {"momentum": momentum, "weight_decay": 0.01, "nesterov": nesterov}
    ours = LARS([{"params": [weight], "adapt": False}], 0.3, variant=variant, **options)
    sgd = torch.optim.SGD([twin], 0.3, **options)
    gradients = torch.randn(4, 5, dtype=torch.float64)
    np.testing.assert_allclose(train(ours, weight, gradients, [0.3] * 4), train(sgd, twin, gradients, [0.3] * 4))


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_of_zero_take_an_unscaled_step(variant: str) -> None:
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = LARS([weight], 1.0, weight_decay=0.1, variant=variant)
    assert train(optimizer, weight, [[1.0, -2.0]], [0.5]) == [[-0.5, 1.0]]


def test_gradients_are_left_as_they_are_and_a_parameter_without_one_rests() -> None:
    moved, resting = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    moved.grad = torch.tensor([1.0, 2.0])
    optimizer = LARS([moved, resting], 1.0, weight_decay=0.1, variant="larc")
    optimizer.step()
    assert moved.grad.tolist() == [1.0, 2.0] and resting.tolist() == [1.0, 1.0]
    assert list(optimizer.state) == [moved]


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_value_is_read_back_from_the_device(variant: str) -> None:
    weight = nn.Parameter(torch.empty(3, device="meta"))
    weight.grad = torch.empty(3, device="meta")
    LARS([weight], 1.0, weight_decay=0.1, variant=variant).step()


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_that_are_updated_together_do_not_touch_each_other(variant: str) -> None:
    torch.manual_seed(0)
    together = [
        nn.Parameter(torch.randn(size, dtype=dtype)) for size in (3, 4) for dtype in (torch.float64, torch.float32)
    ]
    alone = copy.deepcopy(together)
    optimizers = [LARS(together, 0.3, weight_decay=0.1, variant=variant)]
    optimizers += [LARS([weight], 0.3, weight_decay=0.1, variant=variant) for weight in alone]
    for _ in range(3):
        for one, other in zip(together, alone, strict=True):
            one.grad = other.grad = torch.randn_like(one)
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


class PeakOfTemporaries(TorchDispatchMode):
    """The greatest number of elements alive at a time in tensors made under the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {id(each) for each in tree_leaves(args)}
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and id(each) not in before:
                self.alive += each.numel()
                self.peak = max(self.peak, self.alive)
                weakref.finalize(each, self._freed, each.numel())
        return made

    def _freed(self, elements: int) -> None:
        self.alive -= elements


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_needs_room_for_one_bunch_at_a_time(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lars, "BUNCH", 2000)
    weights = [nn.Parameter(torch.ones(1000)) for _ in range(6)]
    optimizer = LARS(weights, 1.0, weight_decay=0.1, variant=variant)
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.ones(1000)
        gc.collect()
        with PeakOfTemporaries() as temporaries:
            optimizer.step()
        optimizer.zero_grad()
    assert temporaries.peak < 2100


def test_it_resumes_bitwise_from_its_state() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5))
    optimizer = LARS([weight], 0.3, variant="larc", weight_decay=0.1)
    gradients = torch.randn(4, 5)
    train(optimizer, weight, gradients[:2], [0.3] * 2)
    twin = nn.Parameter(weight.detach().clone())
    resumed = LARS([twin], 0.1, variant="larc", weight_decay=0.2)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, weight, gradients[2:], [0.3] * 2)
    train(resumed, twin, gradients[2:], [0.3] * 2)
    assert torch.equal(weight, twin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "lark"}, r"variant: no variant is called 'lark'; did you mean 'larc'\?"),
        ({"lr": -1.0}, r"lr: must be >= 0, got -1.0"),
        ({"momentum": 1.0}, r"momentum: must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, r"weight_decay: must be >= 0, got -0.1"),
        ({"trust_coefficient": 0.0}, r"trust_coefficient: must be > 0, got 0.0"),
        ({"momentum": 0, "nesterov": True}, r"nesterov: needs momentum > 0"),
    ],
)
def test_arguments_out_of_range_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OPTIMIZERS.build({"type": LARS, "lr": 1.0, **arguments}, params=[nn.Parameter(torch.ones(1))])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_large_tensor_is_updated_in_pieces_as_the_papers_update_it(variant: str, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    shape = (160, 110, 3, 3)  # channels last, and more elements than a piece has
    start, gradients = rng.normal(size=shape), rng.normal(size=(2, *shape))
    assert start.size > lars.CHUNK
    options = {"momentum": 0.9, "weight_decay": weight_decay, "trust_coefficient": 0.02}
    weight = nn.Parameter(torch.tensor(start).contiguous(memory_format=torch.channels_last))
    optimizer = LARS([weight], 0.5, variant=variant, **options)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient).contiguous(memory_format=torch.channels_last)
        optimizer.step()
    known = {"weight_decay": weight_decay, "momentum": 0.9, "trust": 0.02}
    expected = lars_by_the_papers(start.ravel(), gradients.reshape(2, -1), [0.5, 0.5], variant=variant, **known)[-1]
    np.testing.assert_allclose(weight.detach().numpy().ravel(), expected, rtol=1e-10, atol=1e-12)
