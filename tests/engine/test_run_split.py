"""What is held out from a run's training is decided once, and never trained on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from selfsup.config import Recipe
from selfsup.data import LabelSets, split
from selfsup.engine.evaluate import evaluate
from selfsup.engine.runner import Runner
from selfsup.engine.splits import run_split
from selfsup.errors import CheckpointError
from selfsup.evaluation import Representation, Result, Score, Task
from selfsup.registry import DATASETS, EVALUATORS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.data.listed import Listed
from tests.engine.tiny_run import Noise, log_of, losses, tiny_config, trained

COUNT = 64
ANY = Recipe.from_dict({}, partial=True)


@DATASETS.register_module()
class Coins(Noise):
    """Noise whose labels are drawn by coin: whoever has not seen an image cannot know its label."""

    classes = ("heads", "tails")

    def __init__(self, *, labelled: bool = True) -> None:
        super().__init__(COUNT)
        self.labels = np.random.default_rng(0).integers(0, 2, COUNT) if labelled else None


@EVALUATORS.register_module()
class Which:
    """Notes which images it learns from and predicts, in ``seen``, call by call."""

    seen: ClassVar[list[tuple[set[int], ...]]] = []
    protocol, needs = "which/1", frozenset({"labels", "train"})

    def evaluate(self, representation: Representation, task: Task) -> Result:
        train, test = (
            [int(part.name(index)) for index in range(len(part))] for part in (task.parts.train, task.parts.test)
        )
        self.seen.append((set(train), set(test)))
        return Result({"number": Score(float(len(train) + len(test)))})


WHICH = {"which": {"type": "Which"}}


def coins(
    work_dir: Path, *, labelled: bool = True, evaluators: dict[str, Any] | None = None, steps: int = 8
) -> dict[str, Any]:
    config = tiny_config(work_dir, steps=steps, evaluators=WHICH if evaluators is None else evaluators)
    del config["default_hooks"]["evaluate"]
    config["train_dataloader"]["dataset"] = {"type": "Coins", "labelled": labelled}
    return config


def trained_on(runner: Runner) -> set[int]:
    """The numbers of the images that are trained on, by their names."""
    return {int(runner.train_images.name(index)) for index in range(len(runner.view_dataset))}


def parts_of(runner: Runner) -> tuple[set[int], set[int]]:
    assert runner.split is not None
    return set(runner.split.held_out["val"].tolist()), set(runner.split.held_out["test"].tolist())


def held_out_by(work_dir: Path) -> dict[str, list[int]] | None:
    """What the newest checkpoint says."""
    state = Checkpoint.read(list_checkpoints(work_dir)[-1]).data["split"]
    return None if state is None else {part: state[part].tolist() for part in ("val", "test", "copies")}


def by_a_test(config: dict[str, Any], checkpoint: Path) -> tuple[set[int], list[str]]:
    """The images that a test predicts, and what it says of them."""
    Which.seen.clear()
    notes: list[str] = []
    evaluate(config, checkpoint, device="cpu", note=notes.append)
    return set().union(*(predicted for _, predicted in Which.seen)), notes


def built(config: dict[str, Any]) -> Runner:
    runner = Runner(config, device="cpu")
    runner._build_training()
    return runner


def test_what_is_held_out_is_not_trained_on_and_said(tmp_path: Path) -> None:
    runner = built(coins(tmp_path))
    val, test = parts_of(runner)
    assert len(val) == len(test) == 7 and not val & test
    assert trained_on(runner) == set(range(COUNT)) - val - test
    assert runner.steps_per_epoch == 6  # of 50 images, 8 at a time
    assert "7 (val) and 7 (test) of 64 images; 50 are trained on" in log_of(tmp_path)


@pytest.mark.parametrize("changes", [{"split": None}, {"tasks": {"own": {"type": "Task"}}}, {"labelled": False}])
def test_a_run_trains_on_all_images_where_it_has_no_split(tmp_path: Path, changes: dict[str, Any]) -> None:
    runner = built(coins(tmp_path, labelled=changes.pop("labelled", True)) | changes)
    assert runner.split is None and trained_on(runner) == set(range(COUNT))


def test_images_of_one_class_or_of_several_each_have_no_split() -> None:
    assert run_split(Listed("abcdef", [0] * 6), ANY) is None
    assert run_split(Listed("abcdef", [0, 0, 0, -1, -1, -1]), ANY) is None
    several = Listed("abcdef")
    several.labels = LabelSets(np.arange(6) % 2, np.arange(7), 2)  # type: ignore[assignment]
    assert run_split(several, ANY) is None
    said: list[str] = []
    assert run_split(Listed("abcdef", range(6)), ANY, log=said.append) is None
    assert len(said) == 1 and "every class has one image" in said[0]


def test_the_section_says_which_and_neither_seed_nor_evaluators_of_the_run_do(tmp_path: Path) -> None:
    one = parts_of(built(coins(tmp_path / "one", evaluators={})))
    same = parts_of(built(coins(tmp_path / "same", evaluators=WHICH) | {"seed": 7}))
    other = parts_of(built(coins(tmp_path / "other") | {"split": {"seed": 1}}))
    assert one == same != other
    expected = split(DATASETS.build({"type": "Coins"}), seed=1).held_out
    assert other == (set(expected["val"].tolist()), set(expected["test"].tolist()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    Which.seen.clear()
    Runner(coins(folder), device="cpu").train()
    return folder


def test_a_training_watches_val_and_a_test_takes_test(whole: Path) -> None:
    held_out = held_out_by(whole)
    assert held_out is not None and all(predicted == set(held_out["val"]) for _, predicted in Which.seen)
    learnt = Which.seen[0][0]
    assert learnt and not learnt & {*held_out["val"], *held_out["test"]}
    checkpoint = list_checkpoints(whole)[-1]
    assert by_a_test(coins(whole), checkpoint) == (set(held_out["test"]), [])
    assert by_a_test(coins(whole) | {"split": {"seed": 9}}, checkpoint)[0] == set(held_out["test"])


def test_the_work_dir_names_what_is_held_out(whole: Path, tmp_path: Path) -> None:
    written = json.loads((whole / "split.json").read_text())
    held_out = held_out_by(whole)
    assert written["indices"] == held_out and held_out is not None
    assert written["names"]["val"] == [str(index) for index in held_out["val"]]
    backbone = whole / "backbone.safetensors"
    assert by_a_test(coins(whole) | {"split": {"seed": 9}}, backbone) == (set(held_out["test"]), [])
    alone = shutil.copy(backbone, tmp_path)
    assert by_a_test(coins(whole), Path(alone))[1] == [
        f"{alone} does not say which images it was trained on; those tested here may be among them"
    ]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after three steps."""
    folder = tmp_path_factory.mktemp("begun")
    Runner(coins(folder, steps=3), device="cpu").train()
    return folder


@pytest.mark.parametrize(
    "changes",
    [{"evaluators": {}}, {"split": None}, {"split": {"seed": 5, "val": 0.3}}, {"tasks": {"a": {"type": "Task"}}}],
)
def test_a_resumed_run_keeps_its_split_whatever_the_recipe_says_now(
    tmp_path: Path, whole: Path, begun: Path, changes: dict[str, Any]
) -> None:
    work_dir = Path(shutil.copytree(begun, tmp_path / "run"))
    Runner(coins(work_dir) | changes, resume=True, device="cpu").train()
    assert (losses(work_dir), held_out_by(work_dir)) == (losses(whole), held_out_by(whole))
    assert json.loads((work_dir / "split.json").read_text())["indices"] == held_out_by(whole)


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps on all images."""
    folder = tmp_path_factory.mktemp("unsplit")
    Runner(coins(folder, steps=3) | {"split": None}, device="cpu").train()
    return folder


def test_a_run_that_trained_on_everything_goes_on_with_everything(tmp_path: Path, unsplit: Path) -> None:
    assert not (unsplit / "split.json").exists()
    shutil.copytree(unsplit, tmp_path, dirs_exist_ok=True)
    Runner(coins(tmp_path, steps=4), resume=True, device="cpu").train()
    assert held_out_by(tmp_path) is None and len(losses(tmp_path)) == 4
    assert by_a_test(coins(tmp_path), list_checkpoints(tmp_path)[-1])[0] == set()


@pytest.mark.parametrize("held_out", [[3, 9, 40], []])
def test_a_checkpoint_of_commit_41b416a_keeps_what_it_held_out(
    tmp_path: Path, unsplit: Path, held_out: list[int]
) -> None:
    shutil.copytree(unsplit, tmp_path, dirs_exist_ok=True)
    (checkpoint,) = list_checkpoints(tmp_path)
    saved = Checkpoint.read(checkpoint)
    assert saved.data is not None
    known = {name: saved.data[name] for name in ("length", "digest")}
    data = {**known, "held_out": torch.tensor(held_out, dtype=torch.int64)}
    replace(saved, data=data, images=COUNT - len(held_out)).write(checkpoint)
    runner = trained(coins(tmp_path, steps=4), resume=True, device="cpu")
    assert trained_on(runner) == set(range(COUNT)) - set(held_out)
    assert by_a_test(coins(tmp_path), checkpoint)[0] == set(held_out)


def test_another_list_of_as_many_images_is_rejected(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=3)
    Runner(config, device="cpu").train()
    config["train_dataloader"]["dataset"] = {"type": "Scenes", "split": "test", "size": 40, "seed": 1}
    with pytest.raises(CheckpointError, match=r"step_000000003\.pth: .* another list"):
        Runner(config, resume=True, device="cpu").train()


def test_a_test_matches_by_name_where_images_were_added(tmp_path: Path) -> None:
    run, checkpoint = coins(tmp_path, steps=3), tmp_path / "checkpoints" / "step_000000003.pth"
    run["train_dataloader"]["dataset"] = {"type": "Subset", "dataset": {"type": "Coins"}, "indices": list(range(60))}
    Runner(run, device="cpu").train()
    held_out = held_out_by(tmp_path)
    assert held_out is not None
    predicted, (note,) = by_a_test(coins(tmp_path), checkpoint)
    assert predicted == set(held_out["test"])
    assert "60 images than the 64" in note and "(0 of those held out are unknown)" in note
