from pathlib import Path

import pytest
import torch

from selfsup.data.standard.sets import VTAB
from selfsup.engine.schedules.build import build_schedules
from selfsup.errors import ConfigError
from selfsup.ops.dist import rank
from selfsup.registry import DATASETS
from selfsup.transfer import HyperRuleTransfer, Labelled, Start, hyper_rule, hyper_rule_transfer
from selfsup.transfer.hyper_rule_transfer import WITHOUT_CROP, WITHOUT_FLIP, activation_bytes
from tests.dist.two_processes import run_in_processes
from tests.transfer.small import NETWORK, write_images, write_start


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return write_start(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return Labelled.of(write_images(tmp_path_factory.mktemp("images") / "colors"), val=0.0)


@pytest.mark.parametrize("drops", ["code", "paper"])
def test_the_rate_is_the_rules_at_every_step(start: Start, data: Labelled, drops: str) -> None:
    recipe = HyperRuleTransfer(drops=drops, micro_batch=32).recipe(start, data)
    rule = hyper_rule(len(data.source), 16, 16, drops)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.optim_wrapper["optimizer"]["lr"])
    (schedule,) = build_schedules(recipe, optimizer, steps=rule.steps, steps_per_epoch=rule.steps)
    for step in range(rule.steps):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rule.lr(step), rel=1e-12), step
        optimizer.step()
        schedule.step()


def test_batches_of_512_come_by_accumulation_and_with_replacement_from_few_images(start: Start, data: Labelled) -> None:
    recipe = HyperRuleTransfer(micro_batch=32).recipe(start, data)
    assert recipe.train_dataloader.batch_size * recipe.accumulate == 512
    drawn = DATASETS.build(recipe.train_dataloader.dataset)
    assert len(drawn) == 512 * 500
    counts = torch.bincount(torch.as_tensor(drawn.indices[:]), minlength=len(data.source)).double()
    expected = len(drawn) / len(data.source)
    assert ((counts - expected) ** 2 / expected).sum() < 2 * len(data.source)  # a chi square, whose mean is N - 1
    optimizer = recipe.optim_wrapper["optimizer"]
    assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 0.0)
    assert recipe.model["zero_init_head"] is True and "mixup_alpha" not in recipe.model


def test_processes_share_the_512_equally_or_not_at_all(
    start: Start, data: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hyper_rule_transfer, "world_size", lambda: 4)
    assert HyperRuleTransfer(micro_batch=32).recipe(start, data).accumulate == 4
    monkeypatch.setattr(hyper_rule_transfer, "world_size", lambda: 3)
    with pytest.raises(ConfigError) as caught:
        HyperRuleTransfer(micro_batch=32).recipe(start, data)
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("micro_batch", 32)


def test_images_are_resized_whole_for_the_test_and_cropped_in_training(start: Start, data: Labelled) -> None:
    recipe = HyperRuleTransfer(micro_batch=32).recipe(start, data)
    assert (recipe.input_contract.size, recipe.input_contract.resize) == (128, "square")
    (pipeline,) = recipe.train_dataloader.views["pipelines"]
    assert pipeline["transforms"] == [
        {"type": "Resize", "size": (160, 160)},
        {"type": "RandomCrop", "size": 128},
        {"type": "RandomHorizontalFlip"},
    ]


def test_some_tasks_of_vtab_go_without_flip_or_crop(start: Start, data: Labelled) -> None:
    def kinds(task: str) -> list[str]:
        recipe = HyperRuleTransfer(vtab=task, micro_batch=32).recipe(start, data)
        return [each["type"] for each in recipe.train_dataloader.views["pipelines"][0]["transforms"]]

    assert kinds("clevr-count") == ["Resize", "RandomHorizontalFlip"]
    assert kinds("smallnorb-azimuth") == ["Resize", "RandomCrop"]
    assert kinds("dsprites-location") == ["Resize"]
    assert kinds("dsprites_location") == ["Resize"]
    assert kinds("cifar-100") == ["Resize", "RandomCrop", "RandomHorizontalFlip"]


def test_activations_are_counted_without_computing_them() -> None:
    def model(width: int) -> dict:
        network = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (width,) * 4, "group_width": 8}
        return {"type": "Supervised", "backbone": network, "num_classes": 3, "loss": {"type": "CrossEntropyLoss"}}

    small, wide, large = (activation_bytes(model(*each[:1]), each[1]) for each in ((32, 32), (64, 32), (32, 64)))
    assert small < wide < 2 * small
    assert large == pytest.approx(4 * small, rel=0.05)


def test_it_says_what_it_chose_and_why(start: Start, data: Labelled) -> None:
    said = " ".join(HyperRuleTransfer().chosen(start, data))
    for word in ("small task", "500 steps", "200, 300, 400", "16 x 16", "160", "128", "with replacement"):
        assert word in said


def test_it_says_the_steps_and_the_accumulation_that_the_recipe_has(start: Start, data: Labelled) -> None:
    short = HyperRuleTransfer(steps=50, micro_batch=32)
    recipe, said = short.recipe(start, data), " ".join(short.chosen(start, data))
    assert recipe.train_cfg.max_steps == 50
    assert (recipe.param_scheduler["warmup_steps"], list(recipe.param_scheduler["steps"])) == (10, [21, 31, 41])
    for word in ("50 steps", "warm-up 10", "20, 30, 40", "32 images at a time (as asked), accumulated 16 times"):
        assert word in said
    assert "500" not in said


def test_it_says_that_a_task_of_vtab_goes_without_flip_or_crop(start: Start, data: Labelled) -> None:
    said = HyperRuleTransfer(vtab="dsprites-location", micro_batch=32).chosen(start, data)[1]
    assert "resized to 128 without a crop" in said and said.endswith("; no flip")


def test_what_memory_holds_is_accumulated_to_512_and_said(
    start: Start, data: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hyper_rule_transfer, "device_memory", lambda device: 200)
    monkeypatch.setattr(hyper_rule_transfer, "activation_bytes", lambda model, side: 1)
    recipe, said = HyperRuleTransfer().recipe(start, data), HyperRuleTransfer().chosen(start, data)[-1]
    assert (recipe.train_dataloader.batch_size, recipe.accumulate) == (64, 8)
    assert "64 images at a time (what memory holds), accumulated 8 times to 512" in said


def test_a_run_from_python_tells_once_what_was_chosen(start: Start, data: Labelled, tmp_path: Path) -> None:
    short = HyperRuleTransfer(steps=2, size=(16, 16), micro_batch=128, precision="fp32", num_workers=0)
    said: list[str] = []
    short.run(start, data, work_dir=tmp_path, device="cpu", note=said.append)
    assert said == short.chosen(start, data)


@pytest.mark.parametrize("images, alpha", [(19_999, None), (20_000, 0.1), (500_000, 0.1)])
def test_mixup_begins_at_20000_images(start: Start, data: Labelled, images: int, alpha: float | None) -> None:
    many = {"type": "Subset", "dataset": data.train, "count": images, "replacement": True, "seed": 0}
    large = Labelled("colors", many)
    recipe = HyperRuleTransfer(micro_batch=32).recipe(start, large)
    assert recipe.model.get("mixup_alpha") == alpha
    assert len(DATASETS.build(recipe.train_dataloader.dataset)) == images


@pytest.mark.parametrize("given, nearest", [("clever-count", "clevr_count"), ("smallnorb-azimut", "snorb_azimuth")])
def test_an_unknown_task_of_vtab_is_rejected(given: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HyperRuleTransfer(vtab=given)
    (problem,) = caught.value.problems
    assert (problem.path, problem.got, problem.expected) == ("vtab", given, f"did you mean {nearest!r}?")


def test_every_task_of_vtab_is_taken_by_its_name() -> None:
    assert [HyperRuleTransfer(vtab=name).vtab for name in VTAB] == list(VTAB)
    assert {*WITHOUT_FLIP, *WITHOUT_CROP} <= set(VTAB)


def _micro_batch_of_unequal_devices() -> int:
    model = {
        "type": "Supervised",
        "backbone": {"type": "RegNet", **NETWORK},
        "num_classes": 3,
        "loss": {"type": "CrossEntropyLoss"},
    }
    fitting = (64, 16)[rank()] / hyper_rule_transfer.USABLE
    hyper_rule_transfer.device_memory = lambda device: int(fitting * activation_bytes(model, 32)) + 1
    return hyper_rule_transfer._micro_batch(model, 32)


@pytest.mark.dist
def test_processes_take_as_many_images_at_a_time_as_the_smallest_memory_holds() -> None:
    assert run_in_processes(_micro_batch_of_unequal_devices) == [16, 16]
