import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfsup.engine.hooks import PictureHook
from selfsup.engine.runner import Runner
from tests.engine.tiny_run import log_of, losses, tiny_config, trained

PICTURES = {"views.png", "curves.png", "embedding.png", "prototypes.png"}


def run(work_dir: Path, *, pictures: dict[str, Any] | None, **changes: Any) -> Runner:
    config = tiny_config(work_dir, steps=4, **changes)
    config["default_hooks"]["pictures"] = None if pictures is None else {"type": "PictureHook", **pictures}
    return trained(config, device="cpu")


def test_a_run_leaves_its_pictures_and_trains_as_without_them(tmp_path: Path) -> None:
    run(tmp_path / "without", pictures=None)
    run(tmp_path / "with", pictures={"num_images": 15, "min_steps": 1, "curves_every_steps": 2})
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert {path.name for path in (tmp_path / "with").glob("*.png")} == PICTURES
    assert not list((tmp_path / "without").glob("*.png"))


def test_a_run_too_short_to_learn_gets_no_maps_and_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "curves.png").mkdir()  # stands for a disk that rejects
    run(tmp_path, pictures={})
    assert {path.name for path in tmp_path.glob("*.png") if path.is_file()} == {"views.png"}
    assert log_of(tmp_path).count("curves.png was not drawn: ") == 1
    assert len(losses(tmp_path)) == 4 and not list(tmp_path.glob(".*.partial"))


def test_without_matplotlib_a_run_says_so_once_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.plots.CAN_DRAW", False)
    run(tmp_path, pictures={"min_steps": 1, "curves_every_steps": 2}, custom_hooks=[{"type": "NeighborsHook"}])
    for what in ("pictures", "neighbors.png"):
        assert log_of(tmp_path).count(f"{what}: not drawn, matplotlib is not installed") == 1
    assert len(losses(tmp_path)) == 4 and not list(tmp_path.glob("*.png"))


def test_hooks_are_found_without_matplotlib() -> None:
    look = "import sys; sys.modules['matplotlib'] = None; import selfsup.engine.hooks"
    subprocess.run([sys.executable, "-c", look], check=True)


def test_maps_show_the_images_that_are_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(
        "selfsup.plots.embedding.draw_embedding_map", lambda features, *_, **__: shown.append(len(features))
    )
    monkeypatch.setattr("selfsup.plots.sheets.draw_prototypes", lambda *_, **__: None)
    small = {"type": "Scenes", "split": "val", "size": 40, "variants": 1, "domains": ["google"]}
    val, train = ({"type": "Subset", "dataset": small, "indices": range(*ends)} for ends in ((9,), (9, 50)))
    task = {"type": "Task", "train": train, "val": val, "test": small | {"split": "test"}}
    run(tmp_path, pictures={"min_steps": 1, "num_images": 12}, tasks={"emoji": task})
    assert shown == [9]


def test_a_fault_of_ours_in_a_picture_is_not_hidden() -> None:
    def broken(_: Path) -> None:
        raise KeyError("features")

    with pytest.raises(KeyError, match="features"):
        PictureHook()._draw(SimpleNamespace(work_dir="."), "curves.png", broken)
