"""``selfsup evaluate`` and ``compare`` on a folder of colors, with a network that has learned nothing."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selfsup.backbones import ResNet
from selfsup.cli.main import main
from selfsup.data import ImageList, InputContract
from selfsup.evaluation import read_rows
from selfsup.evaluation.leaks import find_leaks
from selfsup.evaluation.task import Task
from selfsup.weights.card import weights_card
from selfsup.weights.write import write_weights

CLASSES = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0)}


def write_images(folder: Path, count: int, *, seed: int) -> None:
    """Noise around a color for each class."""
    rng = np.random.default_rng(seed)
    for name, color in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(rng.normal(color, 70, (24, 24, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), pixels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, two of the test images among the training images too, and a file of weights with its card."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_images(folder / "train", 12, seed=0)
    write_images(folder / "test", 6, seed=1)
    for name in ("red", "blue"):
        shutil.copy(folder / "test" / name / "0.png", folder / "train" / name / "copy.png")
    torch.manual_seed(7)
    architecture = {"type": "ResNet", "depth": 18, "width": 0.125, "stem": "cifar"}
    backbone = ResNet(depth=18, width=0.125, stem="cifar")
    contract = InputContract(size=24, resize="none", mean=(0.5,) * 3, std=(0.25,) * 3)
    card = weights_card(architecture, backbone, input_contract=contract, recipe={}, step=None, license="yours")
    write_weights(backbone.state_dict(), folder / "net.pth", card)
    return folder


@pytest.fixture(scope="module")
def evaluated(place: Path) -> str:
    """What the command says; its work dir is ``out``."""
    import contextlib
    import io

    said = io.StringIO()
    words = ["--data", str(place / "train"), "--test", str(place / "test"), "--work-dir", str(place / "out")]
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", str(place / "net.pth"), *words, "--device", "cpu", "--protocols", "knn,linear"]) == 0
    return said.getvalue()


def test_baselines_stand_beside_and_every_row_is_kept(place: Path, evaluated: str) -> None:
    rows = read_rows(place / "out" / "results.jsonl")
    names = {row.representation["name"] for row in rows}
    assert names == {str(place / "net.pth"), "image statistics", f"{place / 'net.pth'}, untrained"}
    assert len(rows) == 6 and all(row.scores["top1"].low is not None for row in rows)
    statistics = next(
        row for row in rows if row.representation["name"] == "image statistics" and row.evaluator == "knn"
    )
    assert statistics.scores["top1"].value == 1.0  # colors are what they tell
    assert "95 % interval" in evaluated
    assert (place / "out" / "scores.png").is_file()


def test_copies_of_test_images_are_counted_and_left_out_beside(place: Path, evaluated: str) -> None:
    assert "2 of 18 test images are also among the training images (2 with equal bytes, 0 near-equal)" in evaluated
    row = read_rows(place / "out" / "results.jsonl")[0]
    assert row.scores["top1"].n == 18 and row.scores["top1_without_copies"].n == 16
    task = Task(train=ImageList(place / "train", "folder"), test=ImageList(place / "test", "folder"))
    for _ in range(2):
        leaks = find_leaks(task, cache=place / "kept")
        assert [task.parts.test.name(int(index)) for index in leaks.indices] == ["blue/0.png", "red/0.png"]
        for file in (place / "kept").iterdir():  # as they were written before there were sides
            with np.load(file) as found:
                older = {name: found[name] for name in ("digests", "thumbnails")}
            np.savez(file, **older)


def test_copies_in_the_pretraining_are_told_in_rows_that_are_there_already(place: Path, evaluated: str) -> None:
    words = ["--data", str(place / "train"), "--test", str(place / "test"), "--work-dir", str(place / "again")]
    words += ["--device", "cpu", "--protocols", "knn", "--no-baselines"]
    for more in ([], ["--pretraining", str(place / "test")]):
        assert main(["evaluate", str(place / "net.pth"), *words, *more]) == 0
    before, after = read_rows(place / "again" / "results.jsonl")
    assert before.identity == after.identity and before.seconds == after.seconds
    assert (before.scores["top1_without_copies"].n, len(before.notes)) == (16, 1)
    assert "top1_without_copies" not in after.scores and len(after.notes) == 2  # no image is left
    assert after.scores["top1"] == before.scores["top1"] and "18 of 18" in after.notes[1]


def test_mistakes_are_listed_by_name(place: Path, evaluated: str) -> None:
    with (place / "out" / "mistakes_train.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    row = next(row for row in read_rows(place / "out" / "results.jsonl") if row.evaluator == "linear")
    wrong = round(18 * (1 - row.scores["top1"].value))
    assert len(lines) == wrong
    assert all(line["name"].startswith(f"{line['label']}/") and line["label"] != line["predicted"] for line in lines)


def test_rows_side_by_side(place: Path, evaluated: str, capsys: pytest.CaptureFixture[str]) -> None:
    table, scores = place / "scores.md", place / "scores.csv"
    assert main(["compare", str(place / "out"), "--markdown", str(table), "--csv", str(scores)]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 4
    with scores.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6 and {line["score"] for line in lines} == {"top1"}


@pytest.mark.parametrize(
    ("words", "place_of_problem"),
    [
        (["--protocols", "knm"], "--protocols"),
        (["--protocols", "knn", "--test", "{place}/none"], "--test"),
        (["--test", "{place}/empty"], "--test"),
        (["--test", "{place}/train/red"], "--labels"),
        (["--fusion-scaling", "normalize"], "--fusion-scaling"),
    ],
)
def test_what_cannot_be_evaluated_is_said_at_once(
    place: Path, words: list[str], place_of_problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "empty").mkdir(exist_ok=True)
    command = ["evaluate", str(place / "net.pth"), "--data", str(place / "train"), "--work-dir", str(place / "none")]
    assert main([*command, *(word.format(place=place) for word in words)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {place_of_problem}: ")
    assert not (place / "none").exists()


def test_two_of_several_are_compared_by_class(place: Path, evaluated: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, own = str(place / "out"), str(place / "net.pth")
    assert "linear/top1, image statistics and" in evaluated or f"linear/top1, {own} and" in evaluated
    rows = read_rows(place / "out" / "results.jsonl")
    marked = {row.representation["name"] for row in rows if row.representation.get("baseline")}
    assert marked == {"image statistics", f"{own}, untrained"}
    assert main(["compare", out, "--by", "class"]) == 2
    assert "--of" in capsys.readouterr().err
    drawn = place / "compared.png"
    words = ["compare", out, "--of", own, "image statistics", "--by", "class", "--plot", str(drawn)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "untrained" not in said and said.count("by class") == 2 and drawn.stat().st_size > 5_000
    for name in CLASSES:
        assert said.count(f" {name} ") == 2
    taxa = place / "taxa.csv"
    taxa.write_text("kind,color\nwarm,red\ncold,green\ncold,blue\n")
    assert main(["compare", out, "--of", own, "image statistics", "--by", "taxon", "--hierarchy", str(taxa)]) == 0
    assert capsys.readouterr().out.count(" cold ") == 2
    taxa.write_text("kind,color\nwarm,red\ncold,green\n")
    assert main(["compare", out, "--of", own, "image statistics", "--by", "taxon", "--hierarchy", str(taxa)]) == 2
    assert capsys.readouterr().err.startswith("error: --hierarchy: ")
    assert main(["compare", out, "--of", "image statistic"]) == 2
    assert "'image statistics'" in capsys.readouterr().err


def test_other_protocols_are_named_and_learn_by_a_probe_where_they_must(place: Path) -> None:
    words = ["--data", str(place / "train"), "--test", str(place / "test"), "--work-dir", str(place / "others")]
    words += ["--device", "cpu", "--no-baselines", "--protocols", "corruptions,class_subset,vissl_knn"]
    assert main(["evaluate", str(place / "net.pth"), *words]) == 0
    rows = {row.evaluator: row for row in read_rows(place / "others" / "results.jsonl")}
    assert [row.protocol for row in rows.values()] == ["corruptions/1", "class-subset/2", "knn/2"]
    assert rows["corruptions"].scores["clean"] == rows["class_subset"].scores["top1"]


def test_rows_of_a_fusion_say_how_its_features_are_scaled_and_that_images_are_mirrored(place: Path) -> None:
    fused = f"{place / 'net.pth'}+{place / 'net.pth'}"
    words = ["--data", str(place / "train"), "--test", str(place / "test"), "--work-dir", str(place / "fused")]
    words += ["--device", "cpu", "--no-baselines", "--protocols", "knn"]
    for more in ([], ["--fusion-scaling", "standardize"], ["--fusion-scaling", "normalize", "--flips"]):
        assert main(["evaluate", fused, *words, *more]) == 0
    rows = read_rows(place / "fused" / "results.jsonl")
    assert [row.representation["scaling"] for row in rows] == ["none", "standardize", "normalize"]
    assert [row.representation.get("flips", False) for row in rows] == [False, False, True]
    assert len({row.identity for row in rows}) == 3


def test_a_card_that_does_not_say_how_images_are_shown_is_rejected(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(place / "net.pth", place / "silent.pth")
    card = json.loads((place / "net.json").read_text())
    del card["preprocess"]
    (place / "silent.json").write_text(json.dumps(card))
    for verb in ("evaluate", "transfer"):
        words = [verb, str(place / "silent.pth"), "--data", str(place / "train"), "--work-dir", str(place / "none")]
        assert main(words) == 2
        assert "silent.json: preprocess: " in capsys.readouterr().err
    assert not (place / "none").exists()
