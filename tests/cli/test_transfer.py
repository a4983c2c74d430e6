"""``selfsup transfer`` and ``selfsup predict``, from a folder of classes to labels of images."""

import csv
import json
from pathlib import Path

import pytest

from selfsup.cli import main
from selfsup.planning import budget
from selfsup.transfer import HyperRule, hyper_rule_transfer, load_classifier
from selfsup.transfer import choose as choosing
from tests.transfer.small import CLASSES, write_images, write_start


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    write_start(folder / "tiny.safetensors")
    write_images(folder / "colors")
    write_images(folder / "more", per_class=3, classes=(*CLASSES, "violet"))
    write_images(folder / "one", per_class=3, classes=("red",))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(budget, "SHORTEST", 0.1)
        patch.setattr(budget, "SHARE", 0.0)
        patch.setattr(choosing, "STEPS", (12, 12))
        assert main(["transfer", "tiny.safetensors", "--data", "colors", "--budget", "1m", "--work-dir", "run"]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_a_folder_becomes_a_model_with_its_scores_and_mistakes() -> None:
    for name in ("model.safetensors", "model.json", "results.jsonl", "confusion.csv", "mistakes.csv"):
        assert Path("run", name).is_file(), name
    (row,) = map(json.loads, Path("run/results.jsonl").read_text().splitlines())
    assert row["protocol"] == "head/1"
    assert row["representation"]["chosen_by"] == "val"
    assert load_classifier("run").classes == CLASSES


def test_images_are_named_and_those_that_cannot_be_read_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_bytes(b"no image")
    assert main(["predict", "run", "colors/red/0.png", "broken.png", "colors/blue", "--top", "2", "--json"]) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["image"] for line in lines[:2]] == ["colors/red/0.png", str(Path("colors/blue/0.png"))]
    assert len(lines) == 13 and all(len(line["classes"]) == 2 for line in lines)
    assert lines[0]["probabilities"][0] >= lines[0]["probabilities"][1]
    assert "broken.png" in said.err
    assert main(["predict", "run", "colors/red/0.png", "broken.png", "--out", "labels.csv"]) == 0
    with open("labels.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "class_1", "probability_1"]
    assert rows[1][1] in CLASSES and rows[2] == ["broken.png"]


def test_what_is_predicted_is_what_the_classifier_says(capsys: pytest.CaptureFixture[str]) -> None:
    from selfsup.data import ImageList

    assert main(["predict", "run", "colors", "--json"]) == 0
    named = [json.loads(line)["classes"][0] for line in capsys.readouterr().out.splitlines()]
    classifier = load_classifier("run")
    assert named == [classifier.classes[best] for best in classifier.logits(ImageList("colors", "folder")).argmax(1)]


def test_the_classifier_is_exported_without_a_config_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("run/model.json").read_bytes()
    assert main(["export", "run", "--format", "torch-export", "--output", "run/model.pt2"]) == 0
    assert Path("run/model.json").read_bytes() == before
    assert json.loads(Path("run/model.pt2.json").read_text())["classes"] == list(CLASSES)
    assert main(["export", "run", "--format", "timm", "--output", "x.pth"]) == 2
    assert "--format" in capsys.readouterr().err


def test_what_hyper_rule_does_is_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyper_rule_transfer, "hyper_rule", lambda *_, **__: HyperRule(12, 2, (6,), 0.0, 16, 16, 0.003))
    monkeypatch.setattr(hyper_rule_transfer, "BATCH", 16)
    for name, value in {"SHORTEST": 0.1, "SHARE": 0.0}.items():
        monkeypatch.setattr(budget, name, value)
    command = ["transfer", "tiny.safetensors", "--data", "colors", "--rule", "bit", "--micro-batch", "8"]
    assert main([*command, "--budget", "1m", "--work-dir", "bit"]) == 0
    said = capsys.readouterr().out
    assert said.count("images make it a small task: 12 steps of 16 images") == 1
    assert said.count("8 images at a time (as asked), accumulated 2 times to 16") == 1


@pytest.mark.slow
def test_onnx_and_torch_export_lie_in_one_folder() -> None:
    pytest.importorskip("onnxruntime")
    for suffix, format in {"onnx": "onnx", "pt2": "torch-export"}.items():
        assert main(["export", "run", "--format", format, "--output", f"out/colors.{suffix}"]) == 0
    cards = {path.name: json.loads(path.read_text())["format"] for path in Path("out").glob("*.json")}
    assert cards == {"colors.onnx.json": "onnx", "colors.pt2.json": "torch-export"}


@pytest.mark.parametrize(
    "arguments, option",
    [
        (["--data", "nowhere"], "--data"),
        (["--data", "colors", "--rule", "fine-tunning"], "--rule"),
        (["--data", "colors", "--labels-per-class", "50"], "--labels-per-class"),
        (["--data", "colors", "--labels-per-class", "0"], "--labels-per-class"),
        (["--data", "colors/red"], "--labels"),
        (["--data", "colors", "--budget", "soon"], "--budget"),
        (["--data", "colors", "--test", "more"], "--test"),
        (["--data", "one", "--labels", "folder"], "one: "),
    ],
)
def test_a_mistake_is_said_before_anything_is_trained(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", "tiny.safetensors", *arguments, "--work-dir", "never"]) == 2
    assert option in capsys.readouterr().err
    assert not Path("never").exists()
