"""Transfers from end to end, in two seconds each."""

import json
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.backbones.stages import tensor_stages
from selfsup.config import Recipe
from selfsup.data import ImageList
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.engine.hooks.best_step import best_of, read_scores
from selfsup.engine.loop import TrainLoop
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.evaluation.opening import open_representation
from selfsup.registry import BACKBONES, METHODS
from selfsup.transfer import (
    FineTune,
    HyperRuleTransfer,
    Labelled,
    LinearSGD,
    Start,
    Transfer,
    Transferred,
    export_classifier,
    load_classifier,
)
from selfsup.transfer.report import confusion, write_report
from selfsup.transfer.transfer import _batch_norm
from selfsup.weights.card import read_card
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.read import read_weights
from tests.engine.tiny_run import power_off, tiny_config, trained
from tests.transfer.small import CLASSES, NETWORK, write_images, write_start

QUICK = {"precision": "fp32", "num_workers": 0, "steps": 8, "batch_size": 8, "jitter": 0.0}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return write_start(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "colors")


@pytest.fixture(scope="module")
def tuned(start: Start, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Transferred:
    transfer = FineTune(**QUICK, frozen_stages=2, lr_decay=0.5, drop_path=0.3)
    return transfer.run(start, Labelled.of(images), work_dir=tmp_path_factory.mktemp("run") / "tuned")


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return {name.removeprefix("backbone."): tensor for name, tensor in read_weights(path).items()}


def test_what_is_frozen_stays_bitwise_and_everything_above_it_is_trained(tuned: Transferred, start: Start) -> None:
    assert start.file is not None
    last = Checkpoint.read(list_checkpoints(tuned.work_dir)[-1]).model
    before, after = weights_of(start.file), {name.removeprefix("backbone."): value for name, value in last.items()}
    stages = tensor_stages(tuned.method.backbone)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name, stage in stages.items() if stage > 2}


def test_each_stage_has_a_rate_of_its_own_and_the_head_the_whole(start: Start) -> None:
    groups = FineTune(lr_decay=0.5, backbone_lr_scale=0.1).param_groups(start.backbone)
    for name, stage in tensor_stages(BACKBONES.build(dict(start.backbone))).items():
        (scale,) = {g["lr_scale"] for g in groups if any(fnmatch(f"backbone.{name}", each) for each in g["match"])}
        assert scale == pytest.approx(0.1 * 0.5 ** (5 - stage)), name
    assert not any(fnmatch("classifier.weight", each) for group in groups for each in group["match"])


def test_the_control_differs_in_its_weights_alone(start: Start, images: Path) -> None:
    data, tuned = Labelled.of(images), FineTune()
    one, other = (tuned.recipe(each, data).to_dict() for each in (start, start.from_scratch()))
    assert one.pop("load_from") == str(start.file)
    assert one == other


def test_options_are_in_the_recipe(start: Start, images: Path) -> None:
    given = {"ema": 0.9, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "frozen_stages": 1}
    options = {"drop_path": 0.2, "label_smoothing": 0.1, "randaugment": (2, 9), "batch_norm": "sync", "micro_batch": 4}
    recipe = FineTune(batch_size=8, **given, **options).recipe(start, Labelled.of(images))
    assert given.items() <= recipe.model.items()
    assert (recipe.model["backbone"]["drop_path"], recipe.model["loss"]["label_smoothing"]) == (0.2, 0.1)
    assert (recipe.sync_bn, recipe.train_dataloader.batch_size, recipe.accumulate) == ("all", 4, 2)
    transforms = recipe.train_dataloader.views["pipelines"][0]["transforms"]
    assert transforms[-1] == {"type": "RandAugment", "operations": 2, "magnitude": 9}


def test_fine_tuning_begins_in_the_middle_of_the_pretraining_head(tmp_path: Path, images: Path) -> None:
    trained(tiny_config(tmp_path / "swav", steps=1))
    start = Start.open(tmp_path / "swav").with_head()
    neck = {"type": "HiddenLayers", "hidden_dims": (32,)}
    FineTune(**QUICK | {"steps": 1}, neck=neck).run(start, Labelled.of(images), work_dir=tmp_path / "tuned")
    log = next((tmp_path / "tuned").rglob("rank0.log")).read_text()
    assert "neck" in next(line for line in log.splitlines() if "took" in line)


def test_the_step_is_the_best_on_val_and_the_model_is_that_steps(tuned: Transferred) -> None:
    scores = read_scores(tuned.work_dir)
    assert tuned.step == best_of(scores) and len(scores) == 8
    kept = Checkpoint.read(tuned.work_dir / "best" / f"step_{tuned.step:09d}.pth").model
    model = read_weights(tuned.work_dir / "model.safetensors")
    assert all(torch.equal(model[name], kept[name]) for name in model)
    assert tuned.rows[0].representation["chosen_by"] == "val"
    assert tuned.rows[0].representation["batch_norm"] == "train"
    logged = [json.loads(line) for line in (tuned.work_dir / "metrics.jsonl").read_text().splitlines()]
    watched = {line["step"]: line["head/top1"] for line in logged if "head/top1" in line}
    assert watched == scores


def test_the_card_says_what_a_user_has_to_know(tuned: Transferred) -> None:
    card = read_card(tuned.work_dir / "model.safetensors")
    assert card is not None
    assert card["classes"] == list(CLASSES)
    assert card["preprocess"]["size"] == 16
    assert card["test"]["top1"]["value"] == tuned.top1
    assert card["test_images"] == len(tuned.predictions.labels)
    assert "within the terms of" in card["license"]
    assert card["step"] == tuned.step


def test_the_file_gives_the_same_logits_in_three_lines_and_as_a_backbone(tuned: Transferred, images: Path) -> None:
    source = ImageList(images, "folder")
    loaded = load_classifier(tuned.work_dir)
    assert torch.equal(loaded.logits(source), tuned.classifier.logits(source))
    alone = open_representation(tuned.work_dir / "model.safetensors")
    torch.testing.assert_close(alone.features(source).features, loaded.features(source).features)


def test_it_is_exported_with_its_head(tuned: Transferred, tmp_path: Path, images: Path) -> None:
    written = export_classifier(tuned.work_dir, tmp_path / "model.pt2", format="torch-export")
    assert written.difference < 1e-4
    loaded = load_classifier(tuned.work_dir)
    shown = torch.stack(
        [torch.from_numpy(np.ascontiguousarray(loaded.input_contract.view(ImageList(images).image(0))))]
    ).permute(0, 3, 1, 2)
    normalized = loaded.input_contract.normalize(shown)
    logits = torch.export.load(written.path).module()(normalized)
    torch.testing.assert_close(logits, loaded.head(loaded(shown)), rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError) as caught:
        export_classifier(tuned.work_dir, tmp_path / "model.safetensors", format="timm")
    assert caught.value.problems[0].got == "timm"


def test_the_confusion_matrix_counts_every_test_image(tuned: Transferred, images: Path) -> None:
    pytest.importorskip("matplotlib")
    counts = confusion(tuned.predictions)
    assert counts.sum() == len(tuned.predictions.labels)
    assert np.trace(counts) == tuned.predictions.right.sum()
    names = {path.name for path in write_report(tuned, Labelled.of(images))}
    assert {"confusion.csv", "confusion.png", "mistakes.csv"} <= names


def test_a_run_that_was_switched_off_ends_as_one_that_was_not(
    tuned: Transferred, start: Start, images: Path, tmp_path: Path
) -> None:
    transfer, data = FineTune(**QUICK, frozen_stages=2, lr_decay=0.5, drop_path=0.3), Labelled.of(images)
    recipe = replace(transfer.recipe(start, data), work_dir=str(tmp_path / "run"))
    hooks = {**recipe.default_hooks, "checkpoint": {"type": "CheckpointHook", "every_steps": 3}}
    power_off(replace(recipe, default_hooks=hooks).to_dict(), 4)
    saved = replace(recipe, default_hooks=hooks)
    transfer.recipe = lambda start, data: saved  # type: ignore[method-assign]
    for _ in range(2):
        out = transfer.run(start, data, work_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "earlier").exists()
    assert len((tmp_path / "run" / "results.jsonl").read_text().splitlines()) == 1
    one, other = (read_weights(each.work_dir / "model.safetensors") for each in (out, tuned))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert read_scores(out.work_dir) == read_scores(tuned.work_dir)


def test_another_request_in_the_same_work_dir_is_a_new_run(start: Start, images: Path, tmp_path: Path) -> None:
    data = Labelled.of(images)
    LinearSGD(**QUICK | {"steps": 2}).run(start, data, work_dir=tmp_path)
    LinearSGD(**QUICK | {"steps": 3}).run(start, data, work_dir=tmp_path)
    assert (tmp_path / "earlier").is_dir()


def test_a_run_that_goes_on_says_how_many_steps_its_budget_has_left_it(
    start: Start, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorter(transfer: Transfer, recipe: Recipe, budget: str, began: float, **where: Any) -> Recipe:
        return replace(recipe, train_cfg=replace(recipe.train_cfg, max_steps=3), budget=budget)

    monkeypatch.setattr(Transfer, "_fitted", shorter)
    said: list[list[str]] = [[], []]
    for lines in said:
        out = LinearSGD(**QUICK).run(start, Labelled.of(images), work_dir=tmp_path, budget="1m", note=lines.append)
        assert out.step == 3
    assert said == [[], ["resumes, up to 3 steps: what there was time for when it was begun"]]


def test_every_head_of_a_linear_recipe_is_tested_on_its_own_layer(start: Start, images: Path, tmp_path: Path) -> None:
    """As ``selfsup test`` does, without a head being chosen."""
    linear = LinearSGD(**QUICK | {"steps": 2}, layers=("res5:2x1", "pooled"), rates=(0.1, 1.0))
    recipe = replace(
        linear.recipe(start, Labelled.of(images)), work_dir=str(tmp_path), evaluators={"head": {"type": "Head"}}
    )
    Runner(recipe, device="cpu").train()
    rows = evaluate(recipe, list_checkpoints(tmp_path)[-1], device="cpu", results=tmp_path / "rows.jsonl")
    assert [row.evaluator for row in rows] == [
        f"head/{layer}.{n}" for n, layer in enumerate(("res5:2x1", "res5:2x1", "pooled", "pooled"))
    ]
    assert len({row.identity for row in rows}) == 4
    assert [row.representation["layer"] for row in rows] == ["res5:2x1", "res5:2x1", "pooled", "pooled"]


def test_a_linear_transfer_leaves_the_trunk_alone_and_folds_its_batch_norm(
    start: Start, images: Path, tmp_path: Path
) -> None:
    out = LinearSGD(**QUICK, layers=("pooled", "res5:2x1"), rates=(0.1, 1.0)).run(
        start, Labelled.of(images), work_dir=tmp_path
    )
    assert start.file is not None
    before, after = weights_of(start.file), weights_of(tmp_path / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    loaded = load_classifier(tmp_path)
    features = loaded.features(ImageList(images, "folder")).features
    torch.testing.assert_close(loaded.head(features), out.method.head(features), rtol=1e-4, atol=1e-5)
    assert out.rows[0].representation["rate"] in (0.1, 1.0)
    assert out.rows[0].representation["batch_norm"] == "frozen"


@pytest.mark.parametrize(
    "transfer, network, policy",
    [
        (FineTune(), "RegNet", "train"),
        (FineTune(batch_norm="sync"), "RegNet", "synchronized"),
        (FineTune(batch_norm="frozen"), "RegNet", "frozen"),
        (FineTune(frozen_stages=4), "RegNet", "frozen"),
        (FineTune(frozen_stages=3), "RegNet", "train"),
        (LinearSGD(), "RegNet", "frozen"),
        (FineTune(), "BiTResNet", "none"),
    ],
)
def test_the_row_says_how_batch_norm_was_treated(
    transfer: Transfer, network: str, policy: str, start: Start, images: Path
) -> None:
    backbone = start.backbone if network == "RegNet" else {"type": network, "depth": 50}
    recipe = transfer.recipe(replace(start, backbone=backbone), Labelled.of(images))
    with torch.device("meta"):
        assert _batch_norm(recipe, METHODS.build(dict(recipe.model))) == policy


@pytest.mark.parametrize("transfer", [FineTune(**QUICK), LinearSGD(**QUICK), HyperRuleTransfer(micro_batch=32)])
def test_a_run_rejects_what_cannot_be_learned_before_it_trains(
    transfer: Transfer, start: Start, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainLoop, "run", lambda loop: pytest.fail("it trains"))
    more = write_images(tmp_path / "more", per_class=3, classes=(*CLASSES, "violet"))
    one = write_images(tmp_path / "one", classes=("red",))
    for data, path, got in [(Labelled.of(images, more), "--test", "violet"), (Labelled.of(one), "one", 1)]:
        with pytest.raises(DataError) as caught:
            transfer.run(start, data, work_dir=tmp_path / "never")
        assert (caught.value.problems[0].path, caught.value.problems[0].got) == (path, got)
    assert not (tmp_path / "never").exists()


OTHERS = {"wider": {"type": "RegNet", **NETWORK, "widths": (8, 8, 16, 32)}, "another": {"type": "ResNet", "depth": 18}}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", [FineTune, LinearSGD])
def test_weights_of_another_network_are_rejected_before_it_trains(
    kind: type[FineTune | LinearSGD],
    other: str,
    start: Start,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TrainLoop, "run", lambda loop: pytest.fail("it trains"))
    with pytest.raises(CheckpointError) as caught:
        kind(**QUICK).run(replace(start, backbone=OTHERS[other]), Labelled.of(images), work_dir=tmp_path)
    assert str(start.file) in caught.value.problems[0].path
    assert not list_checkpoints(tmp_path)


def test_training_stops_before_it_begins_where_nothing_can_be_learned(
    start: Start, images: Path, tmp_path: Path
) -> None:
    more = write_images(tmp_path / "more", per_class=3, classes=(*CLASSES, "violet"))
    one = write_images(tmp_path / "one", classes=("red",))
    cases = [
        (lambda: Labelled.of(images, more).check(), DataError, "--test", "violet"),
        (lambda: Labelled.of(one).check(), DataError, "one", 1),
        (lambda: Labelled.of(images, per_class=11), DataError, "--labels-per-class", 11),
        (lambda: Labelled.of(images, per_class=2, share=0.5), ConfigError, "--share", None),
        (lambda: load_classifier(start.file), CheckpointError, str(start.file), None),
        (lambda: load_classifier(tmp_path), CheckpointError, str(tmp_path), None),
    ]
    for call, kind, path, got in cases:
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.problems[0].path == path
        assert caught.value.problems[0].got == got


def test_the_test_images_are_the_same_for_every_number_of_labels_and_draws_are_nested(images: Path) -> None:
    wholes = [Labelled.of(images), *(Labelled.of(images, per_class=count, seed=3) for count in (2, 5))]
    names = []
    for data in wholes:
        test = data.task().parts.test
        names.append({test.name(index) for index in range(len(test))})
    assert names[0] == names[1] == names[2]
    few, many = ({data.source.name(index) for index in range(len(data.source))} for data in wholes[1:])
    assert few < many and len(few) == 6 and wholes[1].val is None
