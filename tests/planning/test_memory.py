"""Memory worked out on fake tensors, against what PyTorch's allocator records of real steps."""

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from selfsup.backbones import RegNet
from selfsup.config import Recipe
from selfsup.errors import ConfigError
from selfsup.planning.memory import Trace, backbone_activations, footprints, step_trace
from selfsup.planning.scale import plan_scale
from selfsup.planning.sizes import parse_size
from selfsup.registry import METHODS

SWAV = {
    "type": "SwAV",
    "neck": {"type": "ProjectionNeck", "hidden_dims": (64,), "out_dim": 16},
    "prototypes": {"type": "Prototypes", "num_prototypes": 10},
    "loss": {"type": "SwAVLoss"},
}
SIMCLR = {
    "type": "SimCLR",
    "neck": {"type": "ProjectionNeck", "hidden_dims": (64,), "out_dim": 16},
    "loss": {"type": "NTXentLoss"},
}
CASES: dict[str, tuple[dict[str, Any], list[tuple[int, int]], str]] = {
    "resnet": (SIMCLR | {"backbone": {"type": "ResNet", "depth": 50, "width": 0.25}}, [(64, 2)], "fp32"),
    "regnet": (
        SWAV | {"backbone": {"type": "RegNet", "arch": "y_400mf", "checkpoint_stages": (1, 2, 3, 4)}},
        [(64, 2), (32, 2)],
        "fp32",
    ),
    "bit": (
        SIMCLR | {"backbone": {"type": "BiTResNet", "depth": 50, "width": 0.25, "num_groups": 16}},
        [(64, 2)],
        "bf16",
    ),
}


def measured(model: dict[str, Any], views: list[tuple[int, int]], batch_size: int, precision: str) -> tuple[int, int]:
    """Bytes that the allocator has given out between the passes, and at most, in a real step."""
    method = METHODS.build(model).train()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        images = [torch.zeros(batch_size, 3, s, s, dtype=torch.uint8) for s, count in views for _ in range(count)]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            loss = method({"views": images, "index": torch.arange(batch_size)}, mode="loss")["loss"]
        with torch.profiler.record_function("between"):
            torch.empty(3)
        loss.backward()
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    between = next(event.start_ns() for event in events if event.name() == "between")
    now = kept = peak = 0
    for event in events:
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
            kept = now if event.start_ns() < between else kept
    return kept, peak


@pytest.mark.parametrize("case", CASES)
def test_fake_steps_take_what_real_ones_take_within_ten_percent(case: str) -> None:
    model, views, precision = CASES[case]
    with torch.device("meta"):
        method = METHODS.build(model)
    worked_out = step_trace(method, views, 8, precision).footprint()  # type: ignore[arg-type]
    kept, peak = measured(model, views, 8, precision)
    assert worked_out.kept == pytest.approx(kept, rel=0.1)
    assert worked_out.peak_with_gradients == pytest.approx(peak, rel=0.1)


@pytest.mark.parametrize("case", ["regnet", "bit"])
def test_what_a_step_takes_follows_from_two_others(case: str) -> None:
    model, views, precision = CASES[case]
    run = []

    def step(batch_size: int) -> Trace:
        run.append(batch_size)
        with torch.device("meta"):
            method = METHODS.build(model)
        return step_trace(method, views, batch_size, precision)  # type: ignore[arg-type]

    footprint = footprints(step)
    found = {batch_size: footprint(batch_size) for batch_size in (4, 8, 11)}
    # NT-Xent compares all pairs, and what it takes is not foretold.
    assert run == ([4, 8] if case == "regnet" else [4, 8, 11])
    assert found[11] == step(11).footprint()


def test_checkpointed_stages_keep_less() -> None:
    def kept(*stages: int) -> int:
        with torch.device("meta"):
            backbone = RegNet(arch="y_400mf", checkpoint_stages=stages)
        return backbone_activations(backbone, 64, 4, "fp32")

    sizes = [kept(), kept(1), kept(1, 2), kept(1, 2, 3, 4)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] / 3


def recipe(**changes: Any) -> Recipe:
    loader = {
        "batch_size": 8,
        "dataset": {"type": "ImageList", "root": "nowhere"},
        "views": {"type": "SimCLRViews", "size": 32},
        "num_images": 1000,
    }
    optimizer = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
    model = SIMCLR | {"backbone": {"type": "ResNet", "depth": 18, "width": 0.25}}
    return Recipe.from_dict(
        {
            "model": model,
            "train_dataloader": loader,
            "optim_wrapper": {"optimizer": optimizer, "precision": "fp32"},
            "train_cfg": {"max_epochs": 2},
            **changes,
        }
    )


def test_parts_exchanges_and_lengths_follow_from_the_number_of_parameters() -> None:
    plan = plan_scale(recipe(sharding={"min_parameters": 1}), processes=4, per_machine=2)
    size = 4 * plan.parameters["total"]
    split, whole, copies = plan.ways[:3]
    assert (split.split, whole.split, copies.split) == (4, 1, 2)
    for name in ("parameters", "gradients", "optimizer"):
        assert (whole.parts[name], split.parts[name], copies.parts[name]) == (size, size // 4, size // 2)
    assert whole.total == sum(part for part in whole.parts.values() if part is not None)
    assert plan.exchanged[1] == 2 * 3 * size // 4
    # Of what is gathered and scattered a process sends a half in a group of two, three quarters in one of four; between
    # the groups it sends the sum of its half of the gradients, there and back.
    assert plan.exchanged[2] == pytest.approx(plan.exchanged[4] * (1 / 2) / (3 / 4) + size / 2, abs=8)
    assert (plan.images, plan.steps) == (32, 62)


def test_the_largest_batch_fits_and_a_larger_one_does_not() -> None:
    memory = 300 * 2**20
    way = plan_scale(recipe(), processes=1, memory=memory).ways[0]
    others = sum(size or 0 for name, size in way.parts.items() if name not in ("activations", "gradients"))
    assert way.largest_batch is not None and way.largest_batch > 8 and way.split == 1

    def total(batch: int) -> int:
        with torch.device("meta"):
            method = METHODS.build(recipe().model)
        return others + step_trace(method, [(32, 2)], batch, "fp32").footprint().peak_with_gradients

    assert total(way.largest_batch) <= 0.9 * memory * 1.02
    assert total(way.largest_batch * 21 // 20) > 0.9 * memory


@pytest.mark.parametrize(
    "text, size", [("80GiB", 80 * 2**30), ("25GB/s", 25e9), ("200Gbit/s", 25e9), ("1.5e9", 1.5e9), ("512 MiB", 2**29)]
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "much", "0GiB", "-3GB", "80 Gigs"])
def test_what_is_no_size_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_size(text, "--memory")
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("--memory", text)
