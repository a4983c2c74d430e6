import pytest
import torch
from torch import nn

from selfsup.backbones import RegNet, ResNet, run_blocks
from selfsup.backbones import checkpointing as room
from selfsup.layers import convert_sync_bn
from selfsup.ops.dist import rank
from selfsup.registry import BACKBONES
from tests.contracts.examples import BACKBONES as EXAMPLES
from tests.dist.two_processes import run_in_processes


@pytest.fixture(autouse=True)
def _needs_timm(request: pytest.FixtureRequest) -> None:
    call = getattr(request.node, "callspec", None)
    if call and call.params.get("name", "").startswith("Timm"):
        request.getfixturevalue("timm")


def small(case: str, **arguments: object) -> nn.Module:
    return BACKBONES.build({"type": case.partition(",")[0], **EXAMPLES[case].arguments, **arguments})


def tiny_regnet(**arguments: object) -> nn.Module:
    return RegNet(depths=(1, 2, 1, 1), widths=(8, 16, 24, 32), group_width=8, stem_width=8, **arguments)


def tiny_resnet(**arguments: object) -> nn.Module:
    return ResNet(18, 0.125, **arguments)


def train_step(model: nn.Module, precision: torch.dtype, seed: int = 1) -> dict[str, torch.Tensor]:
    """Two crop sizes before one backward pass; state and gradients afterwards."""
    generator = torch.Generator().manual_seed(seed)
    large, small = torch.randn(4, 3, 64, 64, generator=generator), torch.randn(6, 3, 32, 32, generator=generator)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32, cache_enabled=False):
        loss = model(large).pow(2).mean() + model(small).cos().sum()
    loss.backward()
    gradients = {
        f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    return {**model.state_dict(), **gradients, "loss": loss.detach()}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("stages", [(1, 2, 3, 4), (2,)])
def test_state_and_gradients_are_bitwise_those_without_checkpointing(
    name: str, stages: tuple[int, ...], precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    plain = small(name)
    checkpointed = small(name, checkpoint_stages=stages)
    checkpointed.load_state_dict(plain.state_dict())
    expected, actual = train_step(plain, precision), train_step(checkpointed, precision)
    assert actual.keys() == expected.keys()
    differing = [key for key in expected if not torch.equal(actual[key], expected[key])]
    assert differing == []


def test_activations_inside_a_checkpointed_block_are_not_kept() -> None:
    def kept_numbers(checkpointed: bool) -> int:
        blocks = nn.Sequential(*[nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(3)])
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            run_blocks(blocks, torch.randn(2, 4, 16, 16, requires_grad=True), checkpointed=checkpointed)
        return sum(size for size in kept if size == 2 * 4 * 16 * 16)

    assert kept_numbers(True) < kept_numbers(False) / 2


def test_frozen_batch_norm_inside_a_checkpointed_block_keeps_its_statistics() -> None:
    block = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3).eval())
    statistics = block[1].running_mean.clone()
    room.run_checkpointed(block, torch.randn(4, 3, 2, 2, requires_grad=True)).sum().backward()
    assert block[0].running_mean is None
    assert torch.equal(block[1].running_mean, statistics)


class SumOfList(nn.Module):
    """Empties the list that it is given."""

    def forward(self, maps: list[torch.Tensor], *, factor: torch.Tensor) -> list[torch.Tensor]:
        total = maps.pop().exp()
        while maps:
            total = total + maps.pop().sin()
        return [total * factor]


def test_an_error_in_the_second_run_restores_the_buffers() -> None:
    class FailsOnTheSecondRun(nn.Module):
        runs = 0

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            self.runs += 1
            if self.runs == 2:
                raise RuntimeError("out of memory")
            return maps.exp()

    block = nn.Sequential(nn.BatchNorm2d(3), FailsOnTheSecondRun())
    buffers = dict(block.named_buffers())
    maps = room.run_checkpointed(block, torch.randn(4, 3, 2, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="out of memory"):
        maps.sum().backward()
    assert all(block.get_buffer(name) is buffer for name, buffer in buffers.items())
    assert block[0].num_batches_tracked.item() == 1


def test_blocks_of_others_may_take_lists_and_names_and_write_to_the_lists() -> None:
    block, factor = SumOfList(), torch.tensor(3.0, requires_grad=True)
    maps = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expected = torch.autograd.grad(block(list(maps), factor=factor)[0].sum(), (maps, factor))
    with room.calls_checkpointed([block, block]):
        (output,) = block(list(maps), factor=factor)
    actual = torch.autograd.grad(output.sum(), (maps, factor))
    assert all(map(torch.equal, actual, expected))


def test_a_block_of_others_that_writes_to_its_input_is_rejected() -> None:
    block = nn.Sequential(nn.SiLU(inplace=True), nn.Linear(3, 3))
    with room.calls_checkpointed([block]):
        output = block(torch.randn(2, 3) + torch.zeros(3, requires_grad=True))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("needs_gradient, runs", [(False, 1), (True, 2)])
def test_blocks_run_again_only_where_a_gradient_needs_them(needs_gradient: bool, runs: int) -> None:
    model = tiny_resnet(checkpoint_stages=(1, 2, 3, 4)).eval()
    blocks = [block for stage in range(1, 5) for block in model.get_submodule(f"layer{stage}")]
    calls = dict.fromkeys(blocks, 0)
    for block in blocks:
        block.register_forward_pre_hook(lambda module, inputs: calls.update({module: calls[module] + 1}))
    with torch.set_grad_enabled(needs_gradient):
        features = model(torch.randn(2, 3, 64, 64))
        if needs_gradient:
            features.sum().backward()
    assert set(calls.values()) == {runs} and len(calls) == 8


def differing_under_ddp() -> list[str]:
    results = []
    for stages in ((), (1, 2, 3, 4)):
        torch.manual_seed(0)
        model = nn.parallel.DistributedDataParallel(convert_sync_bn(tiny_regnet(checkpoint_stages=stages)))
        results.append(train_step(model, torch.float32, seed=rank()))
    plain, checkpointed = results
    return [name for name in plain if not torch.equal(plain[name], checkpointed[name])]


@pytest.mark.dist
def test_synchronized_batch_norm_under_ddp_is_bitwise_the_same_too() -> None:
    assert run_in_processes(differing_under_ddp) == [[], []]
