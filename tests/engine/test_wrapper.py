import copy
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.engine.optim import LARS, PrecisionOptimWrapper
from selfsup.errors import CheckpointError, ConfigError, NonFiniteError
from selfsup.registry import OPTIM_WRAPPERS


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, 4)
        self.prototypes = nn.Linear(4, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prototypes(self.backbone(x).relu())


def setting(seed: int = 0, **arguments: Any) -> tuple[Model, PrecisionOptimWrapper]:
    torch.manual_seed(seed)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    wrapper = OPTIM_WRAPPERS.build(
        {"type": PrecisionOptimWrapper, "precision": "fp32", **arguments}, optimizer=optimizer
    )
    wrapper.bind(model)
    return model, wrapper


def update(model: nn.Module, wrapper: PrecisionOptimWrapper, x: torch.Tensor) -> torch.Tensor:
    with wrapper.optim_context(model):
        loss = model(x).float().square().mean()
    wrapper.update_params(loss)
    return loss.detach()


def images(number: int, size: int = 8) -> torch.Tensor:
    return torch.randn(size, 4, generator=torch.Generator().manual_seed(number))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_in_fp32_it_is_a_plain_training_loop_with_torchs_clipping_and_the_norm_before_it() -> None:
    model, wrapper = setting(clip_grad={"max_norm": 0.05})
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for number in range(3):
        update(model, wrapper, images(number))
        optimizer.zero_grad()
        twin(images(number)).square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.05)
        optimizer.step()
        assert norm > 0.05
        torch.testing.assert_close(wrapper.last_grad_norm, norm)
    assert same(model, twin)
    assert wrapper.updates == 3


def test_accumulated_losses_give_the_update_of_the_whole_batch() -> None:
    model, wrapper = setting(accumulative_counts=2)
    twin, whole = setting()
    for number in range(2):
        first, second = images(number).chunk(2)
        before = copy.deepcopy(model)
        update(model, wrapper, first)
        assert same(model, before)
        update(model, wrapper, second)
        update(twin, whole, images(number))
        torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()))
    assert wrapper.updates == whole.updates == 2


@pytest.mark.parametrize("optimizer_type", ["sgd", "larc"])
def test_frozen_parameters_rest_without_decay_and_momentum_for_exactly_that_many_updates(optimizer_type: str) -> None:
    model, wrapper = setting(freeze={"prototypes": 2})
    if optimizer_type == "larc":
        larc = LARS(model.parameters(), 0.1, weight_decay=0.01, variant="larc")
        wrapper = PrecisionOptimWrapper(larc, precision="fp32", freeze={"prototypes": 2})
        wrapper.bind(model)
    weight = model.prototypes.weight
    start, backbone = weight.detach().clone(), model.backbone.weight.detach().clone()
    for number in range(2):
        update(model, wrapper, images(number))
        assert torch.equal(weight, start)
        assert weight not in wrapper.optimizer.state
    assert not torch.equal(model.backbone.weight, backbone)
    update(model, wrapper, images(2))
    assert not torch.equal(weight, start)


def test_parameters_can_be_frozen_for_epochs() -> None:
    model, wrapper = setting(freeze={"prototypes": "1.5 epochs"})
    with pytest.raises(RuntimeError, match="steps_per_epoch"):
        update(model, wrapper, images(0))
    wrapper.steps_per_epoch = 2
    start = model.prototypes.weight.detach().clone()
    moved = []
    for number in range(4):
        update(model, wrapper, images(number))
        moved.append(not torch.equal(model.prototypes.weight, start))
    assert moved == [False, False, False, True]


def test_a_frozen_gradient_is_no_part_of_the_norm() -> None:
    model, wrapper = setting(freeze={"prototypes": 1})
    twin = copy.deepcopy(model)
    update(model, wrapper, images(0))
    twin(images(0)).square().mean().backward()
    expected = torch.cat([p.grad.flatten() for p in twin.backbone.parameters()]).norm()
    torch.testing.assert_close(wrapper.last_grad_norm, expected)


def test_resuming_in_the_frozen_time_is_bitwise_the_uninterrupted_run() -> None:
    arguments = {"freeze": {"prototypes": 3}, "accumulative_counts": 2}
    model, wrapper = setting(**arguments)
    for number in range(4):
        update(model, wrapper, images(number))
    resumed, second = setting(1, **arguments)
    resumed.load_state_dict(model.state_dict())
    state = copy.deepcopy(wrapper.state_dict())
    keys = set(state)
    second.load_state_dict(state)
    assert set(state) == keys
    for number in range(4, 10):
        update(model, wrapper, images(number))
        update(resumed, second, images(number))
    assert same(model, resumed)
    assert second.updates == wrapper.updates == 5


def test_a_state_without_names_goes_by_position() -> None:
    model, wrapper = setting()
    update(model, wrapper, images(0))
    resumed, second = setting()
    resumed.load_state_dict(model.state_dict())
    state = copy.deepcopy(wrapper.state_dict())
    del state["names"]
    second.load_state_dict(state)
    for each, its_wrapper in ((model, wrapper), (resumed, second)):
        update(each, its_wrapper, images(1))
    assert same(model, resumed)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.half)]
)
def test_the_forward_pass_runs_in_the_precision_asked_for(precision: str, dtype: torch.dtype) -> None:
    model, wrapper = setting(precision=precision, cache_casts=precision == "bf16")
    with wrapper.optim_context(model):
        assert model(images(0)).dtype == dtype
        assert torch.is_autocast_cache_enabled() == (precision == "bf16")
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_fp16_takes_its_loss_scale_out_before_clipping() -> None:
    model, wrapper = setting(precision="fp16", clip_grad={"max_norm": 100.0})
    twin, exact = setting()
    update(model, wrapper, images(0))
    update(twin, exact, images(0))
    torch.testing.assert_close(wrapper.last_grad_norm, exact.last_grad_norm, rtol=1e-2, atol=0)
    torch.testing.assert_close(model.backbone.weight, twin.backbone.weight, rtol=1e-2, atol=1e-4)


def test_fp16_skips_an_overflowing_update_and_halves_its_scale() -> None:
    model, wrapper = setting(precision="fp16")
    before, scale = copy.deepcopy(model), wrapper.scaler.get_scale()
    with wrapper.optim_context(model):
        loss = model(images(0)).float().square().mean() * float("inf")
    wrapper.update_params(loss)
    assert same(model, before)
    assert wrapper.scaler.get_scale() == scale / 2
    assert wrapper.updates == 1
    _, resumed = setting(precision="fp16")
    resumed.load_state_dict(wrapper.state_dict())
    assert resumed.scaler.get_scale() == scale / 2


def test_fp16_stops_when_no_scale_helps() -> None:
    model, wrapper = setting(precision="fp16")
    with pytest.raises(NonFiniteError, match=r"the gradient of backbone\.weight is not finite"):
        for _ in range(40):
            wrapper.update_params(model(images(0)).square().mean() * float("inf"))
    assert wrapper.updates == 17


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_bad_gradient_stops_before_it_reaches_the_weights_and_is_named(precision: str) -> None:
    model, wrapper = setting(precision=precision)
    update(model, wrapper, images(0))
    before = copy.deepcopy(model)
    model.backbone.bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(NonFiniteError, match=r"the gradient of backbone\.bias is not finite \(norm nan\)"):
        update(model, wrapper, images(1))
    assert same(model, before)


def test_the_check_can_be_left_out() -> None:
    model, wrapper = setting(check_finite=False)
    model.backbone.bias.register_hook(lambda gradient: gradient * float("nan"))
    update(model, wrapper, images(0))
    assert wrapper.last_grad_norm.isnan()


def test_freezing_without_names_is_rejected() -> None:
    model = Model()
    wrapper = PrecisionOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), freeze={"prototypes": 1})
    with pytest.raises(RuntimeError, match=r"bind\(model\)"):
        update(model, wrapper, images(0))


def in_groups(*groups: str, options: dict[str, Any] | None = None) -> tuple[Model, PrecisionOptimWrapper]:
    """The parameters of each name in a group of their own, then all others."""
    torch.manual_seed(0)
    model = Model()
    named = dict(model.named_parameters())
    sorted_out = [{"params": [named.pop(name)], **(options or {})} for name in groups]
    rest = [{"params": list(named.values())}] if named else []
    wrapper = PrecisionOptimWrapper(torch.optim.SGD([*sorted_out, *rest], lr=0.1, momentum=0.9))
    wrapper.bind(model)
    return model, wrapper


def momentum(model: Model, wrapper: PrecisionOptimWrapper) -> dict[str, torch.Tensor]:
    return {name: wrapper.optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters()}


@pytest.mark.parametrize("groups", [None, (), ("backbone.weight",), ("prototypes.weight", "backbone.weight")])
def test_each_parameter_gets_its_own_state_back_whatever_group_it_is_in(groups: tuple[str, ...] | None) -> None:
    model, wrapper = in_groups("backbone.bias")
    for number in range(2):
        update(model, wrapper, images(number))
    state, alike = wrapper.state_dict(), groups is None
    if alike:
        del state["names"]  # as earlier versions saved it: by position
    other, resumed = in_groups(*("backbone.bias",) if groups is None else groups)
    resumed.load_state_dict(state)
    torch.testing.assert_close(momentum(other, resumed), momentum(model, wrapper), rtol=0, atol=0)
    assert resumed.has_groups_of(state) == alike and wrapper.has_groups_of(state)


def test_a_state_of_other_parameters_is_rejected_by_name() -> None:
    model, wrapper = setting()
    some = PrecisionOptimWrapper(torch.optim.SGD(model.backbone.parameters(), lr=0.1))
    some.bind(model)
    with pytest.raises(CheckpointError, match=r"optim_wrapper: .*: missing \['prototypes\.weight'\], unexpected \[\]"):
        wrapper.load_state_dict(some.state_dict())
    with pytest.raises(CheckpointError, match=r"optim_wrapper: .*: missing \[\], unexpected \['prototypes\.weight'\]"):
        some.load_state_dict(wrapper.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp61"}, r"precision: unknown precision 'fp61'; did you mean 'fp16'\?"),
        ({"accumulative_counts": 0}, "accumulative_counts: must be >= 1, got 0"),
        ({"clip_grad": {"max_nrom": 1.0}}, r"clip_grad: unknown key 'max_nrom'; did you mean 'max_norm'\?"),
        ({"clip_grad": {"max_norm": 0}}, r"clip_grad\.max_norm: must be > 0, got 0"),
        ({"freeze": {"prototypes": -5}}, r"freeze\.prototypes: must be a number of updates >= 0, .* got -5"),
        ({"freeze": {"prototypes": "an epoch"}}, r"freeze\.prototypes: .* or text such as '1 epoch', got 'an epoch'"),
        ({"freeze": {"prototype.": 3}}, r"no parameter's name holds 'prototype\.'; did you mean 'prototypes'\?"),
    ],
)
def test_arguments_that_cannot_be_meant_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        setting(**arguments)
