"""Images behind a URL, given to the commands as a folder is: trained on, evaluated, embedded."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.cli import main
from selfsup.config.images import images_name, images_section
from selfsup.data import ImageList, WebShards
from selfsup.data.shards.write import write_shards
from selfsup.planning.own_images import find_labels, look
from selfsup.transfer import Labelled
from tests.cli.test_own_images import SMALL

fsspec = pytest.importorskip("fsspec")
IMAGES, PER_SHARD = 24, 4


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """24 images of two classes in six shards, here and in fsspec's memory; the home folder is a new one."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / "images" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (32, 40, 3), np.uint8))
    write_shards(ImageList(tmp_path / "images", "folder"), tmp_path / "shards", images_per_shard=PER_SHARD)
    memory = fsspec.filesystem("memory")
    memory.put(os.fspath(tmp_path / "shards") + "/", "/bucket/shards/", recursive=True)
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "shards"
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("name", ["", "/manifest.json", "/{00000..00005}.tar"])
def test_a_url_is_looked_at_through_its_first_shard(name: str, written: Path, tmp_path: Path) -> None:
    url = f"memory://bucket/shards{name}"
    facts = look(url)
    assert (facts.num_images, facts.side, facts.labels) == (IMAGES, 32, "cls")
    assert len(list((tmp_path / "home" / ".cache" / "selfsup" / "shards").glob("*.tar"))) == 1
    assert find_labels(written)[0] == "cls" and images_name(url) == "shards"


def test_the_commands_take_a_url_as_they_take_a_folder(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "memory://bucket/shards/manifest.json"
    sizes = ["train_cfg.max_steps=2", "train_dataloader.batch_size=4", "train_dataloader.views.size=32"]
    assert main(["train", "folder/cpu_small_images", "--data", url, "--work-dir", "run", *SMALL, *sizes]) == 0
    assert "2 classes that stand beside the images" in capsys.readouterr().out
    assert main(["embed", "run", url, "--out", "all.npz", "--device", "cpu"]) == 0
    assert np.load("all.npz")["names"].tolist() == [WebShards(written).name(index) for index in range(IMAGES)]
    evaluated = ["evaluate", "run", "--data", url, "--protocols", "knn", "--no-baselines", "--device", "cpu"]
    assert main(evaluated) == 0
    (row,) = map(json.loads, Path("work_dirs/evaluate_shards/results.jsonl").read_text().splitlines())
    assert row["task"]["name"] == "shards" and row["task"]["images"]["test"] > 0
    assert main(["train", "folder/cpu_small_images", "--data", "memory://bucket/nothing", *SMALL]) == 2


def test_a_classifier_is_learned_from_shards_and_tested_on_a_folder(written: Path, tmp_path: Path) -> None:
    url = "memory://bucket/shards"
    data = Labelled.of(url, tmp_path / "images", labels=find_labels(url)[0] or "")
    data.check()
    parts = data.task().parts
    assert (data.name, data.classes, len(parts.test)) == ("shards", ["cat", "dog"], IMAGES)
    assert len(parts.train) + len(parts.val) == IMAGES


def test_a_url_is_one_of_shards_and_its_own_scheme_is_allowed(tmp_path: Path) -> None:
    section = images_section("S3://bucket/{00..11}.tar", labels="cls")
    assert (section["type"], section["schemes"], section["labels"]) == ("WebShards", ["s3"], "cls")
    assert images_section(tmp_path / "{0..3}.tar")["type"] == "WebShards"
    assert images_section(tmp_path)["type"] == "ImageList"
