import csv
import dataclasses
import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import t

from selfsup.cli.main import main
from selfsup.cli.runs.launch import job_words
from selfsup.cli.runs.slurm import submit
from selfsup.data import Pooled, Scenes
from selfsup.engine.runner import Runner as EngineRunner
from selfsup.errors import ConfigError, SelfsupError
from selfsup.registry import DATASETS, METHODS, TRANSFORMS
from selfsup.studies import Cell, Claim, Output, Runner, Study, ahead, load_study, verdict
from selfsup.studies.axes.advice import Advice, Question, advice_page
from selfsup.studies.axes.axis import Figure
from selfsup.studies.claims import Verdict, half_width, image_part
from selfsup.studies.forecast import _said_of_batch
from selfsup.studies.load import on_own_images, study_names
from selfsup.studies.plan import plan_of
from selfsup.studies.reading import of_axis, page_of, points
from selfsup.studies.runner import finished
from selfsup.studies.works import Pretrain, Train, task_of
from tests.engine.tiny_run import PoweredOff, PowerOff
from tests.studies.tiny import TINY


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY.replace("COUNT", "50"))
    return path


@pytest.fixture(scope="module")
def done(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    patch = pytest.MonkeyPatch()
    patch.setattr("selfsup.planning.budget.SHORTEST", 0.05)
    patch.setattr("selfsup.studies.forecast.REHEARSAL", 1.0)
    assert main(["study", str(config), "--work-dir", str(root)]) == 0
    patch.undo()
    return root


def test_a_study_goes_from_a_config_to_a_table_figures_and_a_page(done: Path) -> None:
    with (done / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    main_rows = [row for row in rows if row["metric"] == "top1"]
    found = {(row["images"], row["way"]) for row in main_rows}
    assert found == {*itertools.product(("50", "all"), ("linear", "fine-tune")), ("0", "scratch"), ("0", "linear")}
    assert {row["n"] for row in main_rows if row["way"] == "linear"} == {row["n"] for row in main_rows}
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in main_rows)
    page = (done / "page.md").read_text()
    assert "8 cells: 8 done" in page and "SimCLR, linear, 40 labels: all pretraining images give more than 50" in page
    assert (done / "quantity_category.png").stat().st_size > 5_000
    (whole,) = (line for line in page.splitlines() if line.startswith("| all |"))
    assert whole.startswith("| all | 8 |") and sum(float(row["predicted"]) > 0 for row in rows) == len(rows)
    assert "more pretraining images" in (done / "quantity_category.svg").read_text().lower()


def test_a_finished_study_trains_nothing_again(
    done: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Pretrain, "run", None)
    monkeypatch.setattr(Train, "run", None)
    table = (done / "table.csv").read_text()
    assert main(["study", str(config), "--work-dir", str(done)]) == 0
    assert (done / "table.csv").read_text() == table
    assert "measuring" not in capsys.readouterr().out


def test_a_changed_config_says_which_cells_are_still_valid(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "tiny.py"
    changed.write_text(TINY.replace("COUNT", "60"))
    main(["study", str(changed), "--work-dir", str(done), "--plan"])
    assert "5 finished cells are still valid, 3 are of no use" in " ".join(capsys.readouterr().out.split())


def test_a_killed_pretraining_resumes_to_the_same_weights(config: Path, done: Path, tmp_path: Path) -> None:
    cell = next(cell for cell in load_study(config).cells() if isinstance(cell.work, Pretrain))
    runner = EngineRunner({**cell.work.recipe, "work_dir": str(tmp_path / "run")})  # type: ignore[attr-defined]
    runner.register_hook(PowerOff(3))
    with pytest.raises(PoweredOff):
        runner.train()
    cell.work.run(tmp_path, {})
    whole, resumed = (load_file(folder / "run" / "backbone.safetensors") for folder in (cell.folder(done), tmp_path))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_all_packaged_studies_give_valid_recipes() -> None:
    assert len(study_names()) >= 15
    assert load_study("studies/heads_scenes").axes[0].figures()[0].order == ("16", "64", "256")
    for name in study_names():
        study = load_study(name, seeds=1)
        cells = study.cells()
        assert cells and all(axis.figures() for axis in study.axes)
        for cell in cells:
            if isinstance(cell.work, Pretrain | Train):
                views = TRANSFORMS.build(cell.work.recipe["train_dataloader"]["views"])
                assert METHODS.find(cell.work.recipe["model"]["type"]).num_views in (None, views.num_views), cell.name
        for axis in study.axes:
            factors = {cell.name: cell.factors for cell in study.of_axis(axis, 0)}.values()
            for claim in axis.claims():
                for _, wanted in claim.terms:
                    assert sum(wanted.items() <= each.items() for each in factors) == 1, (name, wanted)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (("COUNT", "5000"), "count"),
        (("COUNT", "12"), "train_dataloader.batch_size"),
        (("labels=(40,)", "labels=(400,)"), "task.max_train"),
        (('labelled=dict(_scenes, split="train")', "labelled=_unlabelled"), "train_dataloader.dataset"),
        (('dict(type="KNN", k=5)', 'dict(type="Granularity")'), "evaluators.knn"),
        (("ways=", "wayz="), "study.axes.0.wayz"),
        (("seeds=1", "seeds=0"), "study.seeds"),
        (("question=", "questoin="), "study.questoin"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(tmp_path: Path, change: tuple[str, str], path: str) -> None:
    text = TINY.replace("labels=(40,)", 'ways=("linear", "scratch"), labels=(40,)')
    text = '_unlabelled = dict(type="Pooled", datasets=[dict(type="Scenes", size=16)])\n' + text
    file = tmp_path / "tiny.py"
    file.write_text(text.replace(*change).replace("COUNT", "50"))
    with pytest.raises(SelfsupError) as caught:
        study = load_study(file)
        from selfsup.studies.forecast import Forecast

        Forecast(tmp_path).check_images(study.cells())
    got = caught.value.problems[0].path
    assert got.endswith(path)


@dataclass(frozen=True)
class Planted:
    """A score that is known before."""

    value: float
    half: float = 0.01

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        score = {"value": self.value, "low": self.value - self.half, "high": self.value + self.half, "n": 400}
        return {"scores": {"linear/top1": score}}


def planted(values: Mapping[str, list[float]], half: float, root: Path) -> Study:
    def axis(seed: int) -> list[Cell]:
        return [
            Cell(f"{name}/{seed}", Planted(each[seed] + 1e-9 * seed, half), factors={"x": name}, seed=seed)
            for name, each in values.items()
        ]

    study = Study("planted", [axis], range(len(next(iter(values.values())))))
    Runner(study, root, say=lambda line: None).run()
    return study


def claim(first: str, second: str) -> Claim:
    return ahead(f"{first} beats {second}", {"x": first}, {"x": second}, "linear/top1")


def test_the_words_follow_what_was_planted(tmp_path: Path) -> None:
    values = {"good": [0.80, 0.81, 0.79], "bad": [0.60, 0.61, 0.60], "like bad": [0.61, 0.60, 0.60]}
    study = planted(values, 0.01, tmp_path)
    cells = finished(study, tmp_path)
    words = {
        pair: verdict(claim(*pair), cells).word
        for pair in [("good", "bad"), ("bad", "good"), ("like bad", "bad"), ("good", "nobody")]
    }
    assert list(words.values()) == ["holds", "the opposite holds", "cannot tell", "not measured"]
    page = page_of(study, tmp_path, [verdict(claim("good", "bad"), cells), verdict(claim("good", "nobody"), cells)])
    assert "- good beats bad: **holds** (+19.7 points" in page and "## What is not measured yet" in page


def test_what_all_seeds_have_in_common_is_done_once_and_read_for_each(tmp_path: Path) -> None:
    def axis(seed: int) -> list[Cell]:
        about = [("own", Planted(0.6 + seed / 100)), ("common", Planted(0.5))]
        return [Cell(f"{name}/seed{seed}", work, factors={"x": name}, seed=seed) for name, work in about]

    study = Study("common", [axis], range(3))
    Runner(study, tmp_path, say=lambda line: None).run()
    found = verdict(claim("own", "common"), of_axis(axis, study, tmp_path))
    assert len(study.cells()) == 4 and (found.seeds, found.value) == (3, pytest.approx(0.11))


def test_an_interval_joins_seeds_and_images(tmp_path: Path) -> None:
    cells = finished(planted({"a": [0.50, 0.54], "b": [0.40, 0.42]}, 0.0, tmp_path / "1"), tmp_path / "1")
    found = verdict(claim("a", "b"), cells)
    assert (found.value, found.seeds) == (pytest.approx(0.11), 2)
    assert found.high - found.value == pytest.approx(12.706 * 0.02 / 2, rel=1e-3)  # type: ignore[operator]
    one = finished(planted({"a": [0.5], "b": [0.4]}, 0.03, tmp_path / "2"), tmp_path / "2")
    alone = verdict(claim("a", "b"), one)
    assert alone.high - alone.value == pytest.approx(0.03 * 2**0.5)  # type: ignore[operator]
    assert "one seed" in alone.words()


def test_seeds_and_images_are_readers_and_cases() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random((2, 4, 30)) < np.linspace(0.2, 0.8, 30)  # two methods, four seeds, thirty images
    gains = hits[1].astype(float) - hits[0]
    whole, squares = gains.mean(), {"seed": 0.0, "image": 0.0, "both": 0.0}
    for seed in range(4):
        squares["seed"] += 30 * (gains[seed].mean() - whole) ** 2 / 3
        for image in range(30):
            squares["image"] += (gains[:, image].mean() - whole) ** 2 / 29
            left = gains[seed, image] - gains[seed].mean() - gains[:, image].mean() + whole
            squares["both"] += left**2 / (3 * 29)
    least = 2 / 32**2
    variance = squares["seed"] + max(squares["image"] - squares["both"] + 120 * least, 0)
    expected = t.ppf(0.975, 3 * (variance / squares["seed"]) ** 2) * (variance / 120) ** 0.5
    alone = t.ppf(0.975, 1e9) * (squares["image"] / 120 + least) ** 0.5
    assert half_width(gains.mean(axis=1), image_part(gains)) == pytest.approx(max(expected, alone), rel=1e-5)
    assert half_width(np.zeros(3), image_part(np.zeros((3, 12)))) > 0.15


def test_a_difference_of_differences_adds_up(tmp_path: Path) -> None:
    values = {"a": [0.9], "b": [0.5], "c": [0.8], "d": [0.7]}
    cells = finished(planted(values, 0.01, tmp_path), tmp_path)
    terms = [(1.0, {"x": "a"}), (-1.0, {"x": "b"}), (-1.0, {"x": "c"}), (1.0, {"x": "d"})]
    found = verdict(Claim("", terms, "linear/top1"), cells)
    assert (found.value, found.word) == (pytest.approx(0.3), "holds")
    figure = Figure("f", "", "lines", "x", (), ("linear/top1",))
    assert points(figure, cells)[""]["a"] == (0.9, pytest.approx(0.89), pytest.approx(0.91))


def test_a_plan_leaves_out_what_a_budget_has_no_room_for(tmp_path: Path) -> None:
    first = Cell("first", Planted(0.1))
    study = Study("s", [lambda seed: [Cell("second", Planted(0.2), {"x": first}), Cell("third", Planted(0.3))]], [0])
    plan = plan_of(study, tmp_path, lambda cell: {"first": 5.0, "second": 100.0, "third": 4.0}[cell.name], seconds=20)
    assert [cell.name for cell in plan.open if cell.identity in plan.chosen] == ["first", "third"]
    assert any("leaves out 1" in line for line in plan.words())
    small = plan_of(study, tmp_path, lambda cell: 50.0, seconds=20)
    with pytest.raises(ConfigError) as caught:
        small.check_budget("20s")
    assert (caught.value.problems[0].path, caught.value.problems[0].got) == ("--budget", "20s")


def test_pooled_images_are_those_of_all_sources_in_order() -> None:
    first, second = (Scenes("test", 16, domains=(name,), variants=1) for name in ("google", "twitter"))
    pooled = Pooled([first, second])
    assert len(pooled) == len(first) + len(second)
    assert (pooled.image(len(first) + 3) == second.image(3)).all()
    assert (pooled.name(0), pooled.name(len(first))) == (f"0/{first.name(0)}", f"1/{second.name(0)}")


def test_the_parts_of_a_split_have_nothing_in_common() -> None:
    whole = {"type": "Scenes", "split": "test", "size": 16, "variants": 1}
    parts = [DATASETS.build({"type": "Part", "dataset": whole, "part": part}) for part in ("train", "val", "test")]
    names = [{part.name(index) for index in range(len(part))} for part in parts]
    assert sum(map(len, names)) == len(set.union(*names)) == len(DATASETS.build(whole))


def test_a_classifier_on_frozen_features_has_no_more_labels_than_it_says(config: Path) -> None:
    axis = load_study(str(config)).axes[0]
    for labels, count in ((40, 40), (0.5, 100)):
        parts = task_of(axis.with_labels(labels), "category").parts
        assert len(parts.train) + len(parts.val) == count and 0 < len(parts.val) <= 0.3 * count
    own = dataclasses.replace(axis, task={"type": "StandardTask", "set": "cifar10", "root": "nowhere"})
    with pytest.raises(ConfigError) as caught:
        own.with_labels(0.1)
    assert caught.value.problems[0].path == "labels"


def test_a_gain_that_is_surely_small_is_called_none_though_it_is_a_gain() -> None:
    question = Question("Would it help?", claim("a", "b"), "Yes.", "Hardly.", 0.05)
    found = Verdict(question.claim, "holds", 0.01, 0.005, 0.03, 3, 100)
    assert "Hardly." in question.answer(found)
    assert "Yes." in question.answer(dataclasses.replace(found, high=0.06))


def test_a_batch_far_from_the_one_of_the_rates_is_said() -> None:
    recipes = [
        next(cell.work.recipe for cell in load_study(name, seeds=1).cells() if isinstance(cell.work, Pretrain))
        for name in ("studies/quantity_imagenet", "studies/quantity_scenes")
    ]
    assert "128 images an update" in _said_of_batch(recipes[0]) and "on 32 processes" in _said_of_batch(recipes[0])
    assert _said_of_batch(recipes[1]) == ""


def test_a_forecast_is_stored_with_the_study(done: Path) -> None:
    paces = json.loads((done / "paces.json").read_text())
    assert len(paces) == 3 and all(pace.get("step", 1) > 0 for pace in paces.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twenty pictures."""
    root = tmp_path_factory.mktemp("own")
    scenes = Scenes("train", 32, variants=1)
    for label in range(2):
        (root / scenes.classes[label].split()[0]).mkdir()
        for number, index in enumerate((scenes.labels == label).nonzero()[0][:20]):
            image = scenes.image(int(index))[..., ::-1]
            cv2.imwrite(str(root / scenes.classes[label].split()[0] / f"{number}.png"), image)
    return root


def test_own_images_replace_those_of_a_study_and_none_is_trained_on_and_tested(folder: Path) -> None:
    for name in ("quick_scenes", "quality_scenes", "augmentations_scenes", "losses_scenes", "low_shot_scenes"):
        study = load_study(f"studies/{name}", data=folder, seeds=1)
        for cell in study.cells():
            if isinstance(cell.work, Pretrain | Train):
                recipe = cell.work.recipe
                trained = DATASETS.build(recipe["train_dataloader"]["dataset"]) if name == "quality_scenes" else None
                assert str(folder) in str(recipe["train_dataloader"]["dataset"])
                assert recipe["model"]["type"] != "Supervised" or recipe["model"]["num_classes"] == 2
                if trained is not None:
                    test = task_of(study.axes[0].task, "own").parts.test
                    names = [{each.name(index) for index in range(len(each))} for each in (trained, test)]
                    assert names[1] and not names[0] & names[1]


@pytest.mark.parametrize(
    ("name", "path"), [("domain_scenes", "--data"), ("granularity_scenes", "--data"), ("capacity_scenes", "--data")]
)
def test_axes_that_need_more_than_a_folder_say_so(folder: Path, name: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(f"studies/{name}", data=folder)
    assert caught.value.problems[0].path == path


def test_a_study_of_images_without_labels_is_rejected(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("studies/quick_scenes", data=next(folder.iterdir()))
    assert caught.value.problems[0].path == "--labels"


def test_other_images_take_the_place_of_half_and_are_added(folder: Path) -> None:
    section = on_own_images([{"type": "Advice", "base": "folder/cpu_small_images"}], folder, None)[0]
    given = {key: value for key, value in section.items() if key != "type"}
    others = {"type": "Scenes", "split": "test", "size": 32, "variants": 1}
    images = len(DATASETS.build(section["images"]))
    axis = Advice(**given, num_images=images, others=others, num_others=500, added=True)
    trained = {
        cell.name.split("/")[1]: DATASETS.build(cell.work.recipe["train_dataloader"]["dataset"])
        for cell in axis(0)
        for cell in cell.needs.values()
        if isinstance(cell.work, Pretrain)
    }
    assert len(trained["half others"]) == len(trained["all images"]) == images
    assert [len(each) for each in trained["half others"].datasets] == [images - images // 2, images // 2]
    assert len(trained["others added"]) == images + len(DATASETS.build(others))
    asked = [question.asks for question in axis.questions()]
    assert "Would other images help?" in asked and "Does it matter which images are pretrained on?" in asked


def test_advice_says_what_was_planted_and_that_it_cannot_tell(folder: Path, tmp_path: Path) -> None:
    section = on_own_images([{"type": "Advice", "base": "folder/cpu_small_images"}], folder, None)[0]
    given = {key: value for key, value in section.items() if key != "type"}
    axis = Advice(**given, num_images=1000, steps=60, others=section["images"], num_others=900, added=True)
    whole = {"all images": 0.80, "half of the images": 0.70, "coarse": 0.801, "twice as long": 0.84, "chance": 0.5}
    whole |= {"half others": 0.75, "others added": 0.79}

    def answers(half: float, root: Path) -> str:
        cells = []
        for cell in (cell for seed in range(3) for cell in axis(seed) if cell.factors):
            what = cell.factors["what"]
            value = 0.6 if what == "scratch" else whole[what] - (0.3 if cell.factors.get("labels") == "10 %" else 0)
            score = {"value": value, "low": value - half, "high": value + half, "n": 500}
            names = ("linear/top1", "classifier/top1", "chance/top1")
            cells.append((cell, Output(root, {"scores": dict.fromkeys(names, score)})))
        return advice_page(axis, [verdict(claim, cells) for claim in axis.claims()], "own")

    sure = answers(0.005, tmp_path)
    assert "**Would more images help?** Probably" in sure and "**Would more detail help?** Hardly" in sure
    assert "**Would longer training help?** Yes" in sure and "**Would more labels help?** Hardly" in sure
    assert "which images are pretrained on?** Yes" in sure and "**Would other images help?** Hardly" in sure
    assert "pay with 10 % of the labels?** Not" in sure and "pay with 100 % of the labels?** Yes" in sure
    unsure = answers(0.4, tmp_path)
    assert unsure.count("Cannot tell") == len(axis.questions())


def test_a_job_runs_the_same_command_without_what_concerns_submitting() -> None:
    line = "study x --seeds 2 --launcher slurm --jobs=3 --slurm timeout_min=5 gpus_per_node=1 --retry"
    assert job_words(line.split()) == ["study", "x", "--seeds", "2", "--retry"]


def test_slurm_without_submitit_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError) as caught:
        submit(["true"], folder=tmp_path, jobs=1, options={})
    assert "selfsup[cluster]" in str(caught.value.problems[0].expected)


def test_scenes_bring_the_hierarchy_of_their_classes_along() -> None:
    axis = load_study("studies/granularity_scenes").axes[0]
    tree = task_of(axis.task, "emoji").tree
    assert tree.levels == axis.levels == ("category", "subcategory")
    assert tree.lineages["grinning"] == ("Smileys & Emotion", "face-smiling")
