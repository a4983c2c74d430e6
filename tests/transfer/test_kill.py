"""A transfer killed with ``kill -9`` resumes by the same call, and comes to what it would have come to."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.cli import main
from selfsup.engine.hooks import best_step
from selfsup.engine.hooks.best_step import read_scores
from selfsup.evaluation import battery
from selfsup.methods import LinearHeads, Supervised
from selfsup.planning import budget
from selfsup.transfer import (
    Detection,
    Detector,
    HyperRuleTransfer,
    Labelled,
    LinearSGD,
    Start,
    choose,
    hyper_rule_transfer,
    linear_sgd,
    transfer,
)
from selfsup.transfer.detection import transfer as detection
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.read import read_weights
from tests.transfer.small import NETWORK, write_images, write_start

STEPS, LATE = 120, 70
COMMAND = ["transfer", "tiny.safetensors", "--data", "colors", "--budget", "1m", "--work-dir"]
DETECTION = {
    "model.backbone": {"type": "RegNet", **NETWORK},
    **{f"model.{name}": 8 for name in ("fpn_dim", "head_dim", "mask_dim", "anchor_size", "sampled_boxes")},
    **{f"model.{name}": 20 for name in ("proposals", "sampled_anchors")},
    **{f"model.{name}_size": 64 for name in ("min", "max")},
    "model.pre_nms": (50, 20),
    "model.score_threshold": 0.0,
    "train_dataloader.batch_size": 2,
    "train_dataloader.num_workers": 0,
    "train_dataloader.dataset": {"type": "CrowdedScenes", "size": 64, "num_images": 6, "scale": (0.3, 0.5)},
    "train_dataloader.views.size": 64,
    "tasks.scenes.test": {"type": "CrowdedScenes", "split": "test", "size": 64, "num_images": 4, "scale": (0.3, 0.5)},
    "tasks.scenes.val": 0.2,
    "input_contract.size": 64,
    "default_hooks.checkpoint": {"every_steps": 5},
    "default_hooks.evaluate": None,
    "auto_scale_lr": None,
    "train_cfg.max_steps": 16,
}


def by_command(work_dir: str) -> None:
    assert main([*COMMAND, work_dir]) == 0


def by_rates(work_dir: str) -> None:
    linear = LinearSGD(rates=(0.1, 0.3, 1.0), steps=STEPS, num_workers=0, seed=3)
    linear.run(Start.open("tiny.safetensors"), Labelled.of("colors"), work_dir=work_dir)


def by_rule(work_dir: str) -> None:
    rule = HyperRuleTransfer(size=(20, 16), steps=STEPS, micro_batch=16, num_workers=0)
    rule.run(Start.open("tiny.safetensors"), Labelled.of("colors", val=0.0), work_dir=work_dir)


def by_detection(work_dir: str, **options: Any) -> None:
    Detection(weights="tiny.safetensors", options={**DETECTION, **options}).run(work_dir)


RUNS: dict[str, Callable[[str], None]] = {
    "budget": by_command,
    "linear": by_rates,
    "bit": by_rule,
    "mask_rcnn": by_detection,
    "retinanet": lambda work_dir: by_detection(work_dir, **{"model.kind": "retinanet"}),
}

Point = tuple[Any, str, Callable[..., bool]]


def always(*arguments: Any, **options: Any) -> bool:
    return True


def from_step(late: int) -> Callable[..., bool]:
    return lambda method, progress: progress.step >= late


DETECTED: dict[str, Point] = {
    "in training": (Detector, "after_step", from_step(12)),
    "between training and evaluation": (detection, "evaluate", always),
    "in the evaluation": (battery, "append_row", always),
}
ENDED: dict[str, Point] = {
    "between training and evaluation": (transfer, "_finished", always),
    "in the evaluation": (battery, "append_row", always),
    "once the row is there": (transfer, "save_classifier", always),
}
BUDGET: dict[str, Point] = {
    "in training": (Supervised, "after_step", from_step(LATE)),
    "in the evaluation of a step": (
        best_step,
        "write_record",
        lambda path, text: max(map(int, json.loads(text))) > LATE,
    ),
    "between training and evaluation": ENDED["between training and evaluation"],
    "in the evaluation": (transfer, "evaluate_rows", always),
    "once the row is there": ENDED["once the row is there"],
}
KILLED_AT: dict[str, dict[str, Point]] = {
    "budget": BUDGET,
    "linear": {
        "in training": (LinearHeads, "after_step", from_step(LATE)),
        "in the choice of a rate": (linear_sgd.Head, "evaluate", always),
        **ENDED,
    },
    "bit": {"in training": (Supervised, "after_step", from_step(LATE)), **ENDED},
    "mask_rcnn": DETECTED,
    "retinanet": DETECTED,
}
"""Before a call of which the process ends itself, once the run itself, and no rehearsal, has saved."""


def run(kind: str, folder: Path, work_dir: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.set_num_threads(1)  # in all processes alike
        patch.setattr(budget, "SHORTEST", 0.1)
        patch.setattr(budget, "SHARE", 0.0)
        patch.setattr(budget, "CHECKPOINT_SECONDS", 0.0)  # as often as steps allow
        patch.setattr(choose, "STEPS", (STEPS, STEPS))
        patch.setattr(hyper_rule_transfer, "BATCH", 32)
        RUNS[kind](work_dir)


def killed(kind: str, folder: Path, work_dir: str, point: str) -> None:
    owner, name, is_there = KILLED_AT[kind][point]
    original = getattr(owner, name)

    def then_no_more(*arguments: Any, **options: Any) -> Any:
        if is_there(*arguments, **options) and any(Path(work_dir).glob("checkpoints/*")):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, then_no_more)
    run(kind, folder, work_dir)


def final_weights(work_dir: Path) -> dict[str, torch.Tensor]:
    """Of the classifier, or of a detector, which is its last checkpoint."""
    model = work_dir / "model.safetensors"
    return read_weights(model) if model.is_file() else Checkpoint.read(list_checkpoints(work_dir)[-1]).model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_images(folder / "colors")
    write_start(folder / "tiny.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "point"), [(kind, point) for kind, points in KILLED_AT.items() for point in points])
def test_the_same_call_resumes_and_writes_no_row_twice(
    kind: str, point: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = folder / f"{kind}_whole", folder / f"{kind}_{point}".replace(" ", "_")
    if not whole.is_dir():
        run(kind, folder, whole.name)
    child = multiprocessing.get_context("spawn").Process(target=killed, args=(kind, folder, cut.name, point))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert list_checkpoints(cut), "there is something to resume from"
    monkeypatch.setattr(choose, "_seconds_per_image", lambda *arguments, **options: (1e6, 16))  # the machine is busy
    for _ in range(2):
        run(kind, folder, cut.name)
    assert not (cut / "earlier").exists()
    lines = [(each / "results.jsonl").read_text().splitlines() for each in (whole, cut)]
    assert len(lines[0]) == len(lines[1]) == 1
    assert lines[0][0][:50] == lines[1][0][:50], "the identity, and so the weights"
    one, other = (final_weights(each) for each in (whole, cut))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert read_scores(whole) == read_scores(cut)
