"""Going on with a run: exact whatever schedules it, with the config's options, and rejected where it would mislead."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.config import load_config
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import METHODS
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints, save
from tests.engine.tiny_run import tiny_config

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}


class PoweredOff(Exception):
    pass


class PowerOff(Hook):
    priority = "LOWEST"

    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.step:
            raise PoweredOff


def config_of(work_dir: Path, steps: int = 12, **changes: Any) -> dict[str, Any]:
    """Three steps an epoch, a checkpoint after each epoch."""
    config = tiny_config(work_dir, steps=steps)
    scenes = {"type": "Scenes", "split": "test", "size": 40}
    config["train_dataloader"]["dataset"] = {"type": "Subset", "dataset": scenes, "count": 24}
    config["default_hooks"]["checkpoint"] = {"every_epochs": 1, "min_steps": 1}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": dict(SGD)}
    return config | {"param_scheduler": None, "split": None} | changes


def rows(work_dir: Path) -> list[tuple[int, float, float]]:
    lines = read_metrics(work_dir / "metrics.jsonl")
    return [(line["step"], line["lr"], line["loss"]) for line in lines if "loss" in line]


BY_EPOCH: dict[str, Any] = {
    "milestones": {"type": "MultiStepLR", "milestones": [1, 2, 3], "gamma": 0.1, "by_epoch": True},
    "two of them": [
        {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 2, "by_epoch": True},
        {"type": "CosineAnnealingLR", "begin": 2, "end": 4, "by_epoch": True},
    ],
    "momentum too": [
        {"type": "ExponentialLR", "gamma": 0.5, "by_epoch": True},
        {"type": "StepMomentum", "step_size": 2, "gamma": 0.5, "by_epoch": False},
    ],
    "none": None,
}


@pytest.mark.parametrize("optimizer", [SGD, {"type": "AdamW", "lr": 0.001, "betas": (0.8, 0.99)}])
@pytest.mark.parametrize("name", BY_EPOCH)
def test_mmengines_schedules_resume_bitwise_at_the_end_of_an_epoch(
    tmp_path: Path, name: str, optimizer: dict[str, Any]
) -> None:
    schedule = {"param_scheduler": BY_EPOCH[name], "optim_wrapper": {"precision": "fp32", "optimizer": optimizer}}
    Runner(config_of(tmp_path / "whole", **schedule)).train()
    runner = Runner(config_of(tmp_path / "cut", **schedule))
    runner.register_hook(PowerOff(6))
    with pytest.raises(PoweredOff):
        runner.train()
    assert list_checkpoints(tmp_path / "cut")[-1].name == "step_000000006.pth"
    Runner(config_of(tmp_path / "cut", **schedule), resume=True).train()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert (len({rate for _, rate, _ in rows(tmp_path / "whole")}) > 1) == (name != "none")


def resumed(config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> tuple[Runner, str]:
    """The runner after its training, and what it said when it went on."""
    runner = Runner(config, resume=True)
    runner.logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        runner.train()
    (said,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("resumed at")]
    return runner, said


def with_options(work_dir: Path, steps: int, **options: Any) -> dict[str, Any]:
    return config_of(work_dir, steps, optim_wrapper={"precision": "fp32", "optimizer": SGD | options})


def test_options_of_the_optimizer_are_the_configs_and_what_changed_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Runner(with_options(tmp_path, 3)).train()
    runner, said = resumed(with_options(tmp_path, 5, lr=0.005, weight_decay=0.1, momentum=0.5), caplog)
    (group,) = runner.optim_wrapper.optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.005, 0.1, 0.5)
    assert said.endswith("; changed since: lr 0.05 -> 0.005, momentum 0.9 -> 0.5, weight_decay 0.0001 -> 0.1")


def test_a_resumed_run_without_changes_says_nothing_of_any(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    schedule = {"type": "WarmupCosine", "warmup_steps": 2}
    Runner(config_of(tmp_path, 3, param_scheduler=schedule)).train()
    _, said = resumed(config_of(tmp_path, 5, param_scheduler=schedule), caplog)
    assert said.endswith("step_000000003.pth")


def test_our_schedules_follow_a_new_learning_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    schedule = {"type": "MultiStep", "steps": (4,)}
    Runner(config_of(tmp_path, 3, param_scheduler=schedule)).train()
    changed = with_options(tmp_path, 6, lr=0.2) | {"param_scheduler": schedule}
    _, said = resumed(changed, caplog)
    assert said.endswith("changed since: lr 0.05 -> 0.2")
    assert [rate for _, rate, _ in rows(tmp_path)] == pytest.approx([0.05] * 3 + [0.2, 0.02, 0.02])


def test_mmengines_schedules_keep_theirs_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    schedule = {"type": "MultiStepLR", "milestones": [4], "by_epoch": False}
    Runner(config_of(tmp_path, 3, param_scheduler=schedule)).train()
    _, said = resumed(with_options(tmp_path, 6, lr=0.2) | {"param_scheduler": schedule}, caplog)
    assert said.endswith("changed since: lr stays 0.05 by the state of its schedule, not 0.2")
    assert [rate for _, rate, _ in rows(tmp_path)] == pytest.approx([0.05] * 4 + [0.005] * 2)


def other_batch(work_dir: Path, each: int, accumulate: int) -> dict[str, Any]:
    config = config_of(work_dir, 4)
    config["train_dataloader"]["batch_size"] = each
    config["optim_wrapper"]["accumulative_counts"] = accumulate
    return config


def test_updates_of_another_size_are_rejected_with_what_would_fit(tmp_path: Path) -> None:
    Runner(config_of(tmp_path, 3)).train()
    for each, accumulate, got in (
        (4, 1, r"got 4 \(4 x 1 x 1\), .*; set optim_wrapper.accumulative_counts=2, or use"),
        (8, 2, r"got 16 \(8 x 1 x 2\), .*; set optim_wrapper.accumulative_counts=1, or use"),
        (16, 1, r"got 16 \(16 x 1 x 1\), .*; set train_dataloader.batch_size=8, or use"),
        (3, 3, r"got 9 \(3 x 1 x 3\), .*; use --init-from"),
    ):
        with pytest.raises(CheckpointError, match=rf"must be 8 \(8 x 1 x 1\) as before, {got}"):
            Runner(other_batch(tmp_path, each, accumulate), resume=True).train()


def test_updates_of_the_same_size_may_be_made_up_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Runner(config_of(tmp_path, 3)).train()
    _, said = resumed(other_batch(tmp_path, 4, 2), caplog)
    assert said.endswith("; changed since: batch 8 x 1 x 1 -> 4 x 1 x 2")


def test_the_state_of_something_else_is_rejected(tmp_path: Path) -> None:
    schedule = {"type": "WarmupCosine", "warmup_steps": 2}
    Runner(config_of(tmp_path, 3, param_scheduler=schedule)).train()
    multi_step = {"type": "MultiStep", "steps": (3,)}
    adam = {"optimizer": {"type": "AdamW", "lr": 1e-3}}
    dataset = {"dataset": {"type": "Scenes", "split": "test", "size": 40}}
    for key, value, said in (
        ("param_scheduler", None, "schedulers: must be WarmupCosine as before, got none; "),
        ("param_scheduler", multi_step, "schedulers: must be WarmupCosine as before, got MultiStep; "),
        ("optim_wrapper", adam, "optimizer: must be SGD as before, got AdamW; .*--init-from"),
        ("train_dataloader", dataset, "data set had 24 images, it has 3,056 now; use --init-from"),
    ):
        config = config_of(tmp_path, 5, param_scheduler=schedule)
        config[key] = config[key] | value if key == "train_dataloader" else value
        with pytest.raises(CheckpointError, match=rf"step_000000003\.pth: .*{said}"):
            Runner(config, resume=True).train()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"model": {}, "format": 1}, "got no step, optim_wrapper, schedules, ranks, images, batch, optimizer"),
        ({"state_dict": {}}, "its keys are state_dict"),
    ],
)
def test_a_file_that_is_no_whole_run_is_rejected(tmp_path: Path, state: dict[str, Any], said: str) -> None:
    save(state, checkpoint_path(tmp_path, 7))
    with pytest.raises(CheckpointError, match=said):
        Runner(config_of(tmp_path), resume=True).train()


@pytest.mark.parametrize("model", [3, {"weight": torch.zeros(1), "epoch": 4}])
def test_a_model_that_is_no_state_dict_is_rejected(tmp_path: Path, model: Any) -> None:
    path = tmp_path / "odd.pth"
    Checkpoint(model=model).write(path)
    with pytest.raises(CheckpointError, match=r"odd\.pth: the weights belong to another model than SwAV"):
        load_method(path, METHODS.build(config_of(tmp_path)["model"]))


def test_a_run_that_is_past_its_end_does_not_resume(tmp_path: Path) -> None:
    Runner(config_of(tmp_path, steps=6), device="cpu").train()
    written = (tmp_path / "metrics.jsonl").read_text()
    says = (
        r"step_000000006.pth: the run has come to step 6, and the config ends it at step 5; let it end later \(train_"
    )
    with pytest.raises(CheckpointError, match=says):
        Runner(config_of(tmp_path, steps=5), resume=True, device="cpu").train()
    assert (tmp_path / "metrics.jsonl").read_text() == written


def test_another_seed_is_logged_on_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Runner(config_of(tmp_path, steps=3), device="cpu").train()
    for seed, said in ((7, "; changed since: seed 0 -> 7: "), (0, "")):
        runner = Runner(config_of(tmp_path, steps=3, seed=seed), resume=True, device="cpu")
        runner.logger.addHandler(caplog.handler)
        with caplog.at_level(logging.INFO):
            runner.train()
        (line,) = [record.getMessage() for record in caplog.records if "resumed at" in record.getMessage()]
        assert (said in line) if said else line.endswith("step_000000003.pth")
        caplog.clear()


def test_a_run_keeps_its_name_over_a_resume_and_another_run_has_another(tmp_path: Path) -> None:
    names = []
    for work_dir, resume in (("one", False), ("one", True), ("other", False)):
        Runner(config_of(tmp_path / work_dir, steps=3 + 3 * resume), resume=resume).train()
        saved = Checkpoint.read(list_checkpoints(tmp_path / work_dir)[-1])
        told = json.loads((tmp_path / work_dir / "environment.json").read_text())
        assert saved.run == told["run"]
        names.append(saved.run)
    assert names[0] == names[1] != names[2]
    assert re.fullmatch("[0-9a-f]{16}", names[0])


def test_a_truncated_newest_checkpoint_is_rejected_with_the_way_back(tmp_path: Path) -> None:
    Runner(config_of(tmp_path, steps=6)).train()
    older, newest = list_checkpoints(tmp_path)
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=rf"{newest}: .* 1000 bytes; .* {older}: .*--resume"):
        Runner(config_of(tmp_path, steps=6), resume=True).train()
    newest.rename(tmp_path / "broken.pth")
    Runner(config_of(tmp_path, steps=6), resume=True).train()
    assert [step for step, _, _ in rows(tmp_path)] == list(range(1, 7))
    older.write_bytes(b"")
    newest.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=rf"{newest}: .* 2 bytes; there is no complete one before it"):
        Runner(config_of(tmp_path, steps=6), resume=True).train()
    Runner(config_of(tmp_path, steps=3)).train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000000003.pth"]


def grouped(work_dir: Path, steps: int, *names: str, **options: Any) -> dict[str, Any]:
    """Some parameters apart from the others; weight_decay=1e-4, as all have, unless the options say otherwise."""
    rules = [{"match": names, **(options or {"weight_decay": 1e-4})}]
    return config_of(
        work_dir, steps, optim_wrapper={"precision": "fp32", "optimizer": dict(SGD), "param_groups": rules}
    )


def test_with_other_parameter_groups_it_is_the_run_that_had_them_from_the_start(tmp_path: Path) -> None:
    before, now = ("neck.mlp.0.bias",), ("neck.mlp.1.bias", "backbone.s2.b1.conv1.*")
    Runner(grouped(tmp_path / "cut", 3, *before)).train()
    Runner(grouped(tmp_path / "cut", 6, *now), resume=True).train()
    Runner(grouped(tmp_path / "whole", 6, *now)).train()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    cut, whole = (Checkpoint.read(list_checkpoints(tmp_path / name)[-1]) for name in ("cut", "whole"))
    assert cut.optim_wrapper["names"] == whole.optim_wrapper["names"]
    half = Checkpoint.read(checkpoint_path(tmp_path / "cut", 3))
    assert sorted(half.optim_wrapper["names"]) == sorted(cut.optim_wrapper["names"])
    assert half.optim_wrapper["names"] != cut.optim_wrapper["names"]
    torch.testing.assert_close(cut.optim_wrapper["state"], whole.optim_wrapper["state"], rtol=0, atol=0)
    torch.testing.assert_close(cut.model, whole.model, rtol=0, atol=0)


def test_a_group_that_is_sorted_anew_has_the_options_of_the_config_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = {"type": "WarmupCosine", "warmup_steps": 2}
    first = {"param_scheduler": schedule}
    Runner(grouped(tmp_path, 3, "neck.*", weight_decay=0.0, fixed_lr=True) | first).train()
    runner, said = resumed(grouped(tmp_path, 6, "neck.mlp.0.*", weight_decay=0.5) | first, caplog)
    assert said.endswith("; changed since: fixed_lr True -> unset, weight_decay 0.0 -> 0.5")
    groups = runner.optim_wrapper.optimizer.param_groups
    assert sorted(group["weight_decay"] for group in groups) == [1e-4, 0.5]
    assert not any("fixed_lr" in group for group in groups)


def test_the_learning_rate_shown_is_the_one_that_a_schedule_moves(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"param_scheduler": {"type": "WarmupCosine", "warmup_steps": 2}}
    Runner(config_of(tmp_path / "alike", 6, **changes)).train()
    Runner(grouped(tmp_path / "one_is_fixed", 6, "neck.*", fixed_lr=True) | changes).train()
    alike, fixed = ([lr for _, lr, _ in rows(tmp_path / name)] for name in ("alike", "one_is_fixed"))
    assert fixed == alike == pytest.approx([0.0, 0.025, 0.05, 0.0426777, 0.025, 0.0073223], rel=1e-5)
    Runner(grouped(tmp_path / "all_are", 3, "*", fixed_lr=True) | changes).train()
    assert [lr for _, lr, _ in rows(tmp_path / "all_are")] == [SGD["lr"]] * 3


def test_mmengines_schedules_reject_other_parameter_groups(tmp_path: Path) -> None:
    schedule = {"param_scheduler": {"type": "MultiStepLR", "milestones": [4], "by_epoch": False}}
    Runner(grouped(tmp_path, 3, "neck.mlp.0.bias") | schedule).train()
    with pytest.raises(
        CheckpointError,
        match=r"step_000000003\.pth: optim_wrapper\.param_groups sorts the parameters otherwise than the run did, and "
        "MultiStepLR has a value for each of its groups; restore them, or use --init-from",
    ):
        Runner(grouped(tmp_path, 6, "neck.mlp.1.bias") | schedule, resume=True).train()


def test_what_has_changed_in_the_config_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    schedule = {"type": "WarmupCosine", "warmup_steps": 1}
    Runner(config_of(tmp_path, 4, param_scheduler=schedule)).train()
    config = config_of(tmp_path, 8, param_scheduler=schedule | {"warmup_steps": 10})
    config["model"]["loss"] = config["model"]["loss"] | {"temperature": 0.2}
    _, resumed_at = resumed(config, caplog)
    assert resumed_at.endswith("step_000000004.pth")  # what follows of itself is not said twice
    said = [record.getMessage() for record in caplog.records if "config has changed" in record.getMessage()]
    assert said == [
        "the config has changed since: model.loss.temperature 0.1 -> 0.2, train_cfg.max_steps 4 -> 8, "
        "param_scheduler.warmup_steps 1 -> 10"
    ]
    caplog.clear()
    resumed(config, caplog)
    assert not [record for record in caplog.records if "config has changed" in record.getMessage()]


def began(work_dir: Path) -> str | None:
    """What the work dir's own config, as it is loaded, says that the run began with."""
    return load_config(work_dir / "config.py").load_from


def without_split(work_dir: Path, steps: int, **changes: Any) -> dict[str, Any]:
    """A config that a file can hold."""
    return {name: value for name, value in config_of(work_dir, steps, **changes).items() if name != "split"}


@pytest.mark.parametrize("began_otherwise", [True, False])
def test_a_resumed_run_does_not_use_other_weights_and_its_config_stays_true(
    began_otherwise: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Runner(without_split(tmp_path / "first", 1)).train()
    weights = str(list_checkpoints(tmp_path / "first")[-1])
    start = {"load_from": weights} if began_otherwise else {}
    for folder in ("run", "plain"):
        Runner(without_split(tmp_path / folder, 3, **start)).train()
    capsys.readouterr()
    Runner(without_split(tmp_path / "run", 6, load_from="gone.pth"), resume=True).train()
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines() if "gone.pth" in line]
    assert said == [
        "gone.pth (load_from, --init-from) is not used: the run resumes from its own checkpoint, and began with "
        f"{weights if began_otherwise else 'random weights'}"
    ]
    Runner(without_split(tmp_path / "plain", 6), resume=True).train()
    assert rows(tmp_path / "run") == rows(tmp_path / "plain")
    for folder in ("run", "plain"):
        assert began(tmp_path / folder) == start.get("load_from")
        saved = Checkpoint.read(list_checkpoints(tmp_path / folder)[-1])
        assert saved.config.get("load_from") == start.get("load_from")
