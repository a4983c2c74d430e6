"""From a folder of images alone: chosen, fitted, trained, looked at, and used."""

import json
import math
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from selfsup.cli import main
from selfsup.cli.runs.next_steps import next_steps
from selfsup.config import load_config
from selfsup.evaluation.opening import open_representation
from selfsup.planning import budget, own_images

SMALL = [
    "--device=cpu",
    "--cfg-options",
    "model.backbone.widths=[16,16,32,32]",
    "optim_wrapper.precision=fp32",
    "train_dataloader.num_workers=0",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "mine" / name).mkdir(parents=True)
        for number in range(8):
            cv2.imwrite(str(folder / "mine" / name / f"{number}.png"), rng.integers(0, 255, (32, 40, 3), np.uint8))
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def said(place: Path) -> Iterator[str]:
    """What the first run says: without a budget, so that it ends after as many steps as these few images need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(own_images, "FEWEST_STEPS", 12)
        patch.setattr(own_images, "MOST_EPOCHS", 1)
        patch.setattr(budget, "SHORTEST", 0.1)
        patch.setattr(budget, "SHARE", 0.0)
        patch.setattr(sys, "stdout", written := open("said.txt", "w+"))  # noqa: SIM115
        assert main(["train", "--data", "mine", *SMALL]) == 0
        written.seek(0)
        text = written.read()
        written.close()
    yield text


def test_it_says_what_was_chosen_why_and_how_long_it_takes(said: str) -> None:
    assert "recipe: folder/cpu_small_images (SimCLR at 32 px), for no GPU and 16 images" in said
    assert "labels: the 2 folders (cat, dog); --labels none" in said
    assert "12 steps" in said and "from here; --budget sets another time" in said


def test_the_recipe_is_stored_with_its_length(said: str) -> None:
    recipe = load_config("work_dirs/mine/config.py")
    assert (recipe.train_cfg.max_steps, recipe.budget, recipe.recipe) == (12, "20m", "folder/cpu_small_images")
    assert recipe.train_dataloader.dataset["labels"] == "folder"
    assert recipe.train_dataloader.batch_size == 8
    assert recipe.optim_wrapper["optimizer"]["lr"] == pytest.approx(2e-3 * (8 / 128) ** 0.5)


def test_pictures_are_there_and_the_last_lines_are_commands_that_work(
    said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("views.png", "neighbors.png", "curves.png"):
        assert cv2.imread(f"work_dirs/mine/{name}") is not None
        assert name in said.splitlines()[-6]
    commands = [line.partition("  # ")[0].strip() for line in said.splitlines() if line.startswith("  selfsup")]
    assert [command.split()[1] for command in commands] == ["similar", "embed", "test", "train"]
    for command in commands[:3]:
        assert main([*shlex.split(command)[1:], "--device=cpu"]) == 0
    assert main([*shlex.split(commands[3])[1:], "--dry-run", "--device=cpu"]) == 0
    assert cv2.imread("similar.png") is not None


def test_a_resumed_run_has_its_length_already(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "mine", "--budget", "1s", "--resume", "--device=cpu"]) == 0
    heard = capsys.readouterr().out
    assert "resuming with the recipe that the run has stored" in heard and "resumed at step 12" in heard
    assert "the config has changed" not in heard


def test_a_longer_run_holds_out_the_same_images(said: str) -> None:
    recipe = load_config(
        "work_dirs/mine/config.py", {"train_dataloader.dataset": dict(type="ImageList", root="mine", groups=r"a\d+")}
    )
    command = next_steps(recipe, "mine")[-1][0]
    assert r"--data mine --groups 'a\d+' --labels none --init-from" in command


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_features_are_written_with_their_names(said: str, suffix: str) -> None:
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["embed", "work_dirs/mine", "mine", "--out", f"found{suffix}", "--device=cpu"]) == 0
    if suffix == ".npz":
        with np.load("found.npz") as found:
            names, features = found["names"].tolist(), found["features"]
    else:
        table = parquet.read_table("found.parquet")
        names, features = table["names"].to_pylist(), np.array(table["features"].to_pylist(), np.float32)
    assert names == [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(8)]
    from selfsup.data import ImageList

    expected = open_representation("work_dirs/mine", device="cpu").features(ImageList("mine")).features
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_the_nearest_images_are_those_of_the_greatest_cosine(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from selfsup.data import ImageList

    images = ImageList("mine")
    features = open_representation("work_dirs/mine", device="cpu").features(images).features.double()
    cosines = torch.nn.functional.cosine_similarity(features[3:4], features)
    cosines[3] = -2  # an image is not its own neighbor
    expected = [images.name(index) for index in cosines.argsort(descending=True)[:2].tolist()]
    assert main(["similar", "work_dirs/mine", "mine", "mine/cat/3.png", "--count", "2", "--device=cpu"]) == 0
    heard = capsys.readouterr().out
    assert [word for line in heard.splitlines() for word in line.split() if word.endswith(".png")][1:3] == expected


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["train"], "CONFIG"),
        (["train", "--data", "nowhere"], "--data"),
        (["train", "--data", "mine", "--budget", "soon"], "--budget"),
        (["embed", "work_dirs/mine", "mine", "--out", "found.txt"], "--out"),
        (["embed", "nowhere", "mine", "--out", "found.npz"], "nowhere"),
        (["similar", "work_dirs/mine", "mine", "nowhere.png"], "IMAGE"),
        (["embed", "timm:no_such_network", "mine", "--out", "found.npz"], "name"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], path: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    heard = capsys.readouterr().err
    assert heard.startswith(f"error: {path}: ") and heard.count("\n") == 1


NAME = "test_resnet.r160_in1k"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timm: ModuleType) -> Path:
    """Where timm keeps weights; nothing can be downloaded."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
    return tmp_path


@pytest.fixture
def pretrained(cache: Path, timm: ModuleType) -> torch.nn.Module:
    """A network of timm's whose weights lie in the cache as if they had been downloaded."""
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(0)
    model = timm.create_model(NAME)
    revision = "0" * 40
    folder = cache / f"models--timm--{NAME}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "snapshots" / revision).mkdir(parents=True)
    save_file(model.state_dict(), folder / "snapshots" / revision / "model.safetensors")
    return model.eval()


def test_weights_that_timm_cannot_fetch_are_one_line(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "mine", "--init-from", f"timm:{NAME}", "--device=cpu"]) == 2
    heard = capsys.readouterr().err
    assert heard.startswith(f"error: timm:{NAME}: the weights are not in timm's cache and cannot") and heard.endswith(
        "\n"
    )


def test_timms_weights_are_a_representation_as_timm_shows_images_to_it(
    pretrained: torch.nn.Module, timm: ModuleType
) -> None:
    from selfsup.data import ImageList

    images = ImageList("mine")
    opened = open_representation(f"timm:{NAME}", device="cpu", precision="fp32")
    contract = opened.input_contract
    shown = timm.data.resolve_data_config({}, model=pretrained)
    assert shown["input_size"] == (3, contract.size, contract.size)
    assert contract.resize == f"shorter:{math.floor(contract.size / shown['crop_pct'])}"
    assert (contract.mean, contract.std) == (shown["mean"], shown["std"])
    assert contract.interpolation == shown["interpolation"]
    seen = torch.from_numpy(contract.view(images.image(0)).copy()).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (contract.mean, contract.std))
    with torch.no_grad():
        expected = pretrained.forward_head(pretrained.forward_features((seen - mean) / std), pre_logits=True)
    torch.testing.assert_close(opened.features(images).features[:1], expected, rtol=1e-4, atol=1e-5)


def test_a_run_starts_from_timms_weights_and_its_card_says_so(pretrained: torch.nn.Module) -> None:
    short = ["--device=cpu", "--work-dir=from_timm", "--cfg-options", "train_dataloader.num_workers=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_images, "FEWEST_STEPS", 2)
        patch.setattr(own_images, "MOST_EPOCHS", 0)
        patch.setattr(budget, "SHORTEST", 0.1)
        patch.setattr(budget, "SHARE", 0.0)
        words = ["evaluators={}", "default_hooks.pictures=none", "custom_hooks=[]"]
        assert main(["train", "--data", "mine", "--init-from", f"timm:{NAME}", *short, *words]) == 0
    recipe = load_config("from_timm/config.py")
    assert recipe.model["backbone"]["name"] == NAME
    assert recipe.optim_wrapper["optimizer"]["lr"] == pytest.approx(2e-4 * (8 / 128) ** 0.5)
    card = json.loads(Path("from_timm/backbone.json").read_text())
    assert card["recipe"]["started_from"]["recipe"]["config"] == f"timm:{NAME}"
    assert "apache-2.0" in card["license"]


def test_prototypes_of_swav_go_with_the_features(capsys: pytest.CaptureFixture[str]) -> None:
    from selfsup.engine.runner import Runner
    from tests.engine.tiny_run import tiny_config

    Runner(tiny_config(Path("swav"), steps=3)).train()
    assert main(["embed", "swav", "mine", "--out", "swav.npz", "--device=cpu"]) == 0
    with np.load("swav.npz") as found:
        assert found["prototypes"].shape == (16,)
        assert set(found["prototypes"].tolist()) <= set(range(12))
    assert json.loads(Path("swav/backbone.json").read_text())["out_dim"] == 32
