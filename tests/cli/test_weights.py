"""``selfsup convert`` and ``selfsup export``."""

import hashlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from selfsup.cli import main
from selfsup.cli.models import convert as convert_verb
from selfsup.cli.models import export as export_verb
from selfsup.config import dump_config
from selfsup.errors import CheckpointError
from selfsup.ops import files as disk
from selfsup.registry import BACKBONES
from selfsup.weights import export, trained_backbone
from selfsup.weights.card import read_card
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.write import write_card, write_weights
from tests.engine.tiny_run import tiny_config
from tests.weights import official
from tests.weights.networks import TINY, resnet, tiny_regnet

DICT = "dict(type='RegNet', depths=(1, 2, 1, 1), widths=(16, 24, 32, 48), group_width=8)"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def seer_file() -> None:
    torch.save(official.vissl(official.vissl_names(tiny_regnet()), 48), "seer.torch")


@pytest.mark.parametrize(
    "backbone", [DICT, "{'type': 'RegNet', 'depths': [1, 2, 1, 1], 'widths': [16, 24, 32, 48], 'group_width': 8}"]
)
@pytest.mark.parametrize("out", ["ours.safetensors", "ours.pth"])
def test_a_backbone_is_converted_and_accounted_for(backbone: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    seer_file()
    assert main(["convert", "seer.torch", out, "--source", "vissl", "--backbone", backbone]) == 0
    said = " ".join(capsys.readouterr().out.split())
    count = len(BACKBONES.build({"type": "RegNet", **TINY}).state_dict())
    assert f"{count} │ loaded" in said and "7 │ ignored: heads" in said
    assert f"written to {out}, with a card in ours.json" in said
    card = json.loads(Path("ours.json").read_text())
    assert card["backbone"]["widths"] == [16, 24, 32, 48]
    assert card["recipe"] == {"converted_from": "seer.torch", "source": "vissl"}
    assert card["preprocess"]["std"] == [0.229, 0.224, 0.225] and card["license"].startswith("that of the file")
    expected, actual = (BACKBONES.build(card["backbone"]) for _ in range(2))
    load_backbone("seer.torch", expected, "vissl")
    load_backbone(out, actual)
    assert all(
        torch.equal(a, b) for a, b in zip(expected.state_dict().values(), actual.state_dict().values(), strict=True)
    )


def test_a_seer_checkpoint_is_trained_on_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    seer_file()
    config = tiny_config(Path("work"), steps=1)
    config["model"]["backbone"] = {"type": "RegNet", **TINY}
    config["model"]["neck"] = {"type": "ProjectionNeck", "hidden_dims": (20, 16), "out_dim": 12, "bn": False}
    config["model"]["prototypes"]["num_prototypes"] = 6
    Path("mine.py").write_text(dump_config(config))
    arguments = ["--source", "vissl", "--backbone", "mine.py"]
    assert main(["convert", "seer.torch", "whole.pth", *arguments, "--heads"]) == 0
    beside = json.loads(Path("whole.json").read_text())
    Path("whole.json").unlink()
    assert read_card(Path("whole.pth")) == beside
    assert main(["train", "mine.py", "--init-from", "whole.pth", "--device", "cpu"]) == 0
    card = json.loads(Path("work/backbone.json").read_text())
    began = {
        "file": "whole.pth",
        "sha256": hashlib.sha256(Path("whole.pth").read_bytes()).hexdigest(),
        "recipe": {"converted_from": "seer.torch", "source": "vissl"},
        "step": None,
    }
    assert card["step"] == 1 and card["recipe"] == {"config": "mine.py", "method": "SwAV", "started_from": began}
    assert card["license"] == "yours, within the terms of whole.pth: that of the file it was converted from"
    capsys.readouterr()
    assert main(["export", "mine.py", "work", "--format", "torchvision", "--output", "out/theirs.pth"]) == 0
    said = capsys.readouterr().out
    assert (
        "written to out/theirs.pth, with a card in theirs.json; on random images its features differ by at most" in said
    )
    assert "load it with: from torchvision.models.regnet import" in said
    theirs = json.loads(Path("out/theirs.json").read_text())
    assert theirs["step"] == 1 and theirs["recipe"] == card["recipe"]
    assert main(["export", "mine.py", "work/backbone.safetensors", "--output", "again.safetensors"]) == 0
    again = json.loads(Path("again.json").read_text())
    assert {key: again[key] for key in ("recipe", "step", "license")} == {
        key: card[key] for key in ("recipe", "step", "license")
    }
    Path("work/backbone.json").unlink()
    assert main(["export", "mine.py", "work/backbone.safetensors", "--output", "again.safetensors"]) == 0
    assert json.loads(Path("again.json").read_text()) == again  # the file holds its card too
    Path("work/backbone.json").write_text("{")
    assert main(["export", "mine.py", "work/backbone.safetensors", "--output", "again.safetensors"]) == 2
    assert "work/backbone.json: not a readable card" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["o.txt", "--backbone", DICT], "OUT: must end in .safetensors or .pth, got 'o.txt'"),
        (["o.pth", "--backbone", DICT, "--heads"], "--backbone: --heads needs a config here"),
        (["o.safetensors", "--backbone", "mine.py", "--heads"], "OUT: must end in .pth with --heads"),
        (["o.pth", "--backbone", "dict(depth=50)"], "--backbone: the dict has no 'type'"),
        (["o.pth", "--backbone", "dict(type=open('x'))"], "--backbone: must be a config or a dict of plain values"),
        (["o.pth", "--backbone", "dict(type='RegNet', arhc='y_8gf')"], "--backbone.arhc: is not an argument of RegNet"),
        (["o.pth", "--backbone", "dict(type='SimCLR')"], "--backbone.type: no backbone is called 'SimCLR'"),
        (["o.pth", "--backbone", "swav/swav_scens"], "did you mean 'swav/swav_scenes'?"),
        (["o.pth", "--backbone", DICT.replace("48", "56")], "the file holds a RegNet"),
    ],
)
def test_errors_of_the_user_are_one_message(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seer_file()
    assert main(["convert", "seer.torch", *arguments, "--source", "vissl"]) == 2
    heard = capsys.readouterr().err
    assert said in heard and "Traceback" not in heard
    assert not list(Path().glob("o.*"))


@pytest.mark.parametrize(("format", "file"), [("torch-export", "t.pt2"), ("onnx", "t.onnx")])
def test_what_a_run_has_trained_can_be_traced(format: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    config = tiny_config(Path("work"), steps=1)
    Path("mine.py").write_text(dump_config(config))
    assert main(["train", "mine.py", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["export", "mine.py", "work", "--format", format, "--output", file]) == 0
    assert f"written to {file}, with a card in {file}.json" in capsys.readouterr().out


def test_the_words_of_the_commands_are_those_of_the_engine() -> None:
    assert tuple(export.FORMATS) == export_verb.FORMATS == tuple(export.SUFFIXES)
    assert tuple(SOURCES) == convert_verb.SOURCES


def test_a_converted_file_is_tested_and_the_original_is_rejected_with_the_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seer_file()
    config = tiny_config(Path("work"), evaluators={"spread": {"type": "Spread"}})
    config["model"]["backbone"] = {"type": "RegNet", **TINY}
    Path("mine.py").write_text(dump_config(config))
    assert main(["test", "mine.py", "seer.torch", "--device", "cpu"]) == 2
    assert (
        "every tensor is there with source='vissl'; `selfsup convert` makes a file of it that is taken here"
        in capsys.readouterr().err
    )
    assert main(["convert", "seer.torch", "o.safetensors", "--source", "vissl", "--backbone", "mine.py"]) == 0
    assert main(["test", "mine.py", "o.safetensors", "--device", "cpu"]) == 0
    assert 0 < json.loads(Path("work/scores.json").read_text())["spread/rankme_share"] < 1


def convert_resnet(out: str) -> int:
    words = ["--source", "torchvision", "--backbone", "dict(type='ResNet', depth=18)"]
    return main(["convert", "tv.pth", out, *words])


def test_one_of_several_state_dicts_is_named_and_the_card_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    trained = resnet(18).state_dict()
    averaged = {name: tensor + 1 for name, tensor in trained.items()}
    torch.save({"state_dict": trained, "state_dict_ema": averaged, "optimizer": {}}, "timm.pth")
    words = ["--source", "timm", "--backbone", "dict(type='ResNet', depth=18)"]
    assert main(["convert", "timm.pth", "o.safetensors", *words]) == 0
    said = "".join(part.strip("│ ") for part in capsys.readouterr().out.replace("│", "\n").split("\n"))
    assert "122" in said and "key='state_dict_ema'" in said
    assert main(["convert", "timm.pth", "ema.safetensors", *words, "--key", "state_dict_ema"]) == 0
    recipe = {"converted_from": "timm.pth", "source": "timm"}
    assert json.loads(Path("o.json").read_text())["recipe"] == recipe
    assert json.loads(Path("ema.json").read_text())["recipe"] == {**recipe, "key": "state_dict_ema"}
    for name, expected in (("o", trained), ("ema", averaged)):
        assert torch.equal(trained_backbone(f"{name}.safetensors").conv1.weight, expected["conv1.weight"])
    capsys.readouterr()
    assert main(["convert", "timm.pth", "p.safetensors", *words, "--key", "state_dict_emma"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no state dict stands under the key, got 'state_dict_emma'; did you mean 'state_dict_ema'?" in said


def test_nothing_of_somebody_else_s_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(resnet(18).state_dict(), "tv.pth")
    before = Path("tv.pth").read_bytes()
    assert convert_resnet("tv.pth") == 2
    assert "tv.pth: is the file that is read" in capsys.readouterr().err
    Path("link.pth").symlink_to("tv.pth")
    assert convert_resnet("link.pth") == 2
    assert Path("tv.pth").read_bytes() == before and not Path("tv.json").exists()
    for mine in ('{"mine": 1}', "{", "[]"):
        Path("scores.json").write_text(mine)
        assert convert_resnet("scores.pth") == 2
        assert "scores.json: is no card, and scores.pth needs it" in capsys.readouterr().err
        assert Path("scores.json").read_text() == mine and not Path("scores.pth").exists()
    assert convert_resnet("o.pth") == 0 == convert_resnet("o.pth")
    capsys.readouterr()


def exported(path: str, format: str) -> int:
    return main(["export", "resnet.py", "b.pth", "--format", format, "--output", path])


def test_a_card_is_not_taken_from_another_file_of_weights(capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(Path("work"))
    config["model"]["backbone"] = {"type": "ResNet", "depth": 18}
    Path("resnet.py").write_text(dump_config(config))
    torch.save(BACKBONES.build(config["model"]["backbone"]).state_dict(), "b.pth")
    assert exported("b.pth", "timm") == 2
    assert "b.pth: is the file that is read" in capsys.readouterr().err
    assert exported("ex/z.safetensors", "torchvision") == 0
    before = Path("ex/z.json").read_bytes()
    capsys.readouterr()
    assert exported("ex/z.pth", "timm") == 2
    assert "ex/z.json: is the card of z.safetensors too" in " ".join(capsys.readouterr().err.split())
    assert exported("ex/z.pt2", "torch-export") == 0  # a traced file's card has a name of its own
    assert sorted(path.name for path in Path("ex").iterdir()) == ["z.json", "z.pt2", "z.pt2.json", "z.safetensors"]
    assert Path("ex/z.json").read_bytes() == before
    trained_backbone("ex/z.safetensors")
    Path("ex/z.safetensors").unlink()
    assert exported("ex/z.pth", "timm") == 0  # a card without a file is nobody's


def test_a_traced_file_s_card_under_its_earlier_name_is_found_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("z.pt2").touch()
    earlier = {"backbone": {"type": "ResNet", "depth": 18}, "format": "torch-export"}
    Path("z.json").write_text(json.dumps(earlier))
    assert read_card(Path("z.pt2")) == earlier and read_card(Path("z.onnx")) is None
    torch.save(resnet(18).state_dict(), "tv.pth")
    assert convert_resnet("z.safetensors") == 2
    assert "z.json: is the card of z.pt2 too" in " ".join(capsys.readouterr().err.split())


def test_a_card_that_was_put_beside_a_plain_file_is_that_file_s(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(resnet(18).state_dict(), "tv.pth")
    torch.save(resnet(18).state_dict(), "plain.pt")
    write_card({"backbone": {"type": "ResNet", "depth": 18}, "step": 3}, Path("plain.pt"))
    assert convert_resnet("plain.safetensors") == 2
    assert "plain.json: is the card of plain.pt too" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("out", ["file/o.pth", "file/o.safetensors"])
def test_a_place_that_cannot_be_written_is_said_without_talk_of_resuming(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(resnet(18).state_dict(), "tv.pth")
    Path("file").write_text("in the way")
    assert convert_resnet(out) == 2
    said = capsys.readouterr().err
    assert f"{out}: " in said and "could not be written" in said and "--resume" not in said


def test_a_card_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card({"backbone": {}, "step": 1}, tmp_path / "x.pth")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "settle", full)
    with pytest.raises(CheckpointError, match=r"x\.json: could not be written \(No space left on device"):
        write_card({"backbone": {}, "step": 2}, tmp_path / "x.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert json.loads((tmp_path / "x.json").read_text())["step"] == 1


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_weights_holds_its_card_and_is_plain_to_everybody_else(name: str) -> None:
    weights, card = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, {"backbone": {"type": "ViT"}, "step": 1}
    write_weights(weights, Path(name), card)
    Path("w.json").unlink()
    assert read_card(Path(name)) == card
    theirs = load_file(name) if name.endswith("safetensors") else torch.load(name, weights_only=True)
    torch.nn.Linear(3, 2).load_state_dict(theirs)
    assert set(theirs) == set(weights)
    write_weights(weights, Path(name))
    assert read_card(Path(name)) is None


@pytest.mark.parametrize("source", ["timm", "byol", "selfsup"])
def test_a_card_says_nothing_of_an_input_that_is_not_known(source: str) -> None:
    torch.save(resnet(18).state_dict(), "tv.pth")
    words = ["--source", source, "--backbone", "dict(type='ResNet', depth=18)"]
    if source == "selfsup":
        torch.save(BACKBONES.build({"type": "ResNet", "depth": 18}).state_dict(), "tv.pth")
    assert main(["convert", "tv.pth", "o.pth", *words]) == 0
    shown = json.loads(Path("o.json").read_text())["preprocess"]
    known = {name for name, value in shown.items() if value is not None}
    assert known == {"crop", "antialias", "background"}  # as usual, where nothing else is said


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_a_card_of_a_network_of_timm_has_the_input_of_timm_s_weights(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name, num_classes=5)
    torch.save(model.state_dict(), "x.pth")
    assert (
        main(["convert", "x.pth", "o.pth", "--source", "timm", "--backbone", f"dict(type='Timm', name='{name}')"]) == 0
    )
    shown = json.loads(Path("o.json").read_text())["preprocess"]
    assert (shown["mean"], shown["std"]) == ([*model.pretrained_cfg["mean"]], [*model.pretrained_cfg["std"]])
    assert shown["mean"] == ([0.5] * 3 if name.startswith("vit") else [0.485, 0.456, 0.406])
    assert shown["channel_order"] == "rgb" and shown["size"] is None


def test_a_file_that_is_converted_again_keeps_its_input() -> None:
    torch.save(resnet(18).state_dict(), "tv.pth")
    assert convert_resnet("o.pth") == 0
    card = json.loads(Path("o.json").read_text())
    assert card["preprocess"]["mean"] == [0.485, 0.456, 0.406]
    stated = {"size": 64, "resize": "square", "crop": "none", "interpolation": "bicubic", "antialias": False}
    stated |= {"std": [0.5, 0.5, 0.5], "channel_order": "bgr", "value_range": [-1.0, 1.0], "background": [0, 0, 0]}
    card["preprocess"] |= stated
    write_card(card, Path("o.pth"))
    words = ["--source", "selfsup", "--backbone", "dict(type='ResNet', depth=18)"]
    assert main(["convert", "o.pth", "again.safetensors", *words]) == 0
    assert json.loads(Path("again.json").read_text())["preprocess"] == card["preprocess"]
