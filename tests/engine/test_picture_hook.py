import logging
from pathlib import Path
from typing import Any

import pytest

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from tests.engine.tiny_run import tiny_config

PICTURES = {"views.png", "curves.png", "embedding.png", "prototypes.png"}


def run(work_dir: Path, *, pictures: dict[str, Any] | None, **changes: Any) -> list[float]:
    config = tiny_config(work_dir, steps=4, **changes)
    config["default_hooks"]["pictures"] = None if pictures is None else {"type": "PictureHook", **pictures}
    Runner(config, device="cpu").train()
    return [line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


def test_a_run_leaves_its_pictures_and_trains_as_without_them(tmp_path: Path) -> None:
    without = run(tmp_path / "without", pictures=None)
    assert run(tmp_path / "with", pictures={"num_images": 15, "min_steps": 1, "curves_every_steps": 2}) == without
    assert {path.name for path in (tmp_path / "with").glob("*.png")} == PICTURES
    assert not list((tmp_path / "without").glob("*.png"))


def test_a_run_too_short_to_learn_gets_no_maps(tmp_path: Path) -> None:
    run(tmp_path, pictures={})
    assert {path.name for path in tmp_path.glob("*.png")} == {"views.png", "curves.png"}


def test_a_picture_that_cannot_be_drawn_is_one_line_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("views.png", "curves.png"):
        (tmp_path / name).mkdir()  # stands for a disk that rejects
    config = tiny_config(tmp_path, steps=4)
    config["default_hooks"]["pictures"] = {"type": "PictureHook", "curves_every_steps": 1, "min_steps": 1}
    runner = Runner(config, device="cpu")
    runner.logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        runner.train()
    lines = [record.getMessage() for record in caplog.records if "was not drawn" in record.getMessage()]
    assert [line.partition(": ")[0] for line in lines] == ["views.png was not drawn", "curves.png was not drawn"]
    assert "\n" not in "".join(lines)
    assert (tmp_path / "embedding.png").is_file()
    assert not list(tmp_path.glob(".*.partial"))


def test_a_fault_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("selfsup.engine.hooks.pictures.draw_view_sheet", broken)
    with pytest.raises(TypeError, match="a fault"):
        run(tmp_path, pictures={})


def test_maps_show_the_images_that_are_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(
        "selfsup.engine.hooks.pictures.draw_embedding_map", lambda features, *_, **__: shown.append(len(features))
    )
    monkeypatch.setattr("selfsup.engine.hooks.pictures.draw_prototypes", lambda *_, **__: None)
    small = {"type": "Scenes", "split": "val", "size": 40, "variants": 1, "domains": ["google"]}
    val, train = ({"type": "Subset", "dataset": small, "indices": range(*ends)} for ends in ((9,), (9, 50)))
    task = {"type": "Task", "train": train, "val": val, "test": small | {"split": "test"}}
    run(tmp_path, pictures={"min_steps": 1, "num_images": 12}, tasks={"emoji": task})
    assert shown == [9]
