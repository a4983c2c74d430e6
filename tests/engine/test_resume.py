"""Resuming a run: exact whatever schedules it, with the config's options, and rejected where it would mislead."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.config import load_config
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import CheckpointError
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints
from tests.engine.tiny_run import SCENES, SGD, power_off, some_scenes, tiny_config, trained

DECAYING = SGD | {"weight_decay": 1e-4}
WARMUP = {"type": "WarmupCosine", "warmup_steps": 2}


def config_of(work_dir: Path, steps: int = 12, **changes: Any) -> dict[str, Any]:
    """Three steps an epoch, a checkpoint after each epoch."""
    config = tiny_config(work_dir, steps=steps)
    config["train_dataloader"]["dataset"] = some_scenes(24)
    config["default_hooks"]["checkpoint"] = {"every_epochs": 1, "min_steps": 1}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": dict(DECAYING)}
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


@pytest.mark.parametrize("optimizer", [DECAYING, {"type": "AdamW", "lr": 0.001, "betas": (0.8, 0.99)}])
@pytest.mark.parametrize("name", BY_EPOCH)
def test_mmengines_schedules_resume_bitwise_at_the_end_of_an_epoch(
    tmp_path: Path, name: str, optimizer: dict[str, Any]
) -> None:
    schedule = {"param_scheduler": BY_EPOCH[name], "optim_wrapper": {"precision": "fp32", "optimizer": optimizer}}
    Runner(config_of(tmp_path / "whole", **schedule)).train()
    power_off(config_of(tmp_path / "cut", **schedule), 6)
    assert list_checkpoints(tmp_path / "cut")[-1].name == "step_000000006.pth"
    Runner(config_of(tmp_path / "cut", **schedule), resume=True).train()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert (len({rate for _, rate, _ in rows(tmp_path / "whole")}) > 1) == (name != "none")


def resumed(config: dict[str, Any]) -> tuple[Runner, list[str]]:
    """The runner after its training, and what it said of changes."""
    runner = trained(config, resume=True)
    log = Path(runner.log_dir, "rank0.log").read_text()
    return runner, re.findall(r"the config has changed since: .*|\w+ stays .*", log)


def with_options(work_dir: Path, steps: int, **options: Any) -> dict[str, Any]:
    return config_of(work_dir, steps, optim_wrapper={"precision": "fp32", "optimizer": DECAYING | options})


def test_what_has_changed_is_said_in_one_line_and_the_options_of_the_optimizer_are_the_configs(tmp_path: Path) -> None:
    Runner(with_options(tmp_path, 3)).train()
    assert resumed(with_options(tmp_path, 3))[1] == []
    changed = with_options(tmp_path, 5, lr=0.005, weight_decay=0.1, momentum=0.5) | {"seed": 7}
    changed["model"]["loss"] = changed["model"]["loss"] | {"temperature": 0.2}
    runner, said = resumed(changed)
    (group,) = runner.optim_wrapper.optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.005, 0.1, 0.5)
    assert said == [
        "the config has changed since: model.loss.temperature 0.1 -> 0.2, optim_wrapper.optimizer.lr 0.05 -> 0.005, "
        "optim_wrapper.optimizer.momentum 0.9 -> 0.5, optim_wrapper.optimizer.weight_decay 0.0001 -> 0.1, "
        "train_cfg.max_steps 3 -> 5, seed 0 -> 7"
    ]


@pytest.mark.parametrize(
    ("schedule", "rates", "stays"),
    [
        ({"type": "MultiStep", "steps": (4,)}, [0.05] * 3 + [0.2, 0.02, 0.02], []),
        (
            {"type": "MultiStepLR", "milestones": [4], "by_epoch": False},
            [0.05] * 4 + [0.005] * 2,
            ["lr stays 0.05 by the state of its schedule, not 0.2"],
        ),
    ],
    ids=["ours", "mmengine's"],
)
def test_our_schedules_follow_a_new_learning_rate_and_mmengines_keep_theirs_and_say_so(
    tmp_path: Path, schedule: dict[str, Any], rates: list[float], stays: list[str]
) -> None:
    Runner(config_of(tmp_path, 3, param_scheduler=schedule)).train()
    _, said = resumed(with_options(tmp_path, 6, lr=0.2) | {"param_scheduler": schedule})
    assert [line for line in said if "stays" in line] == stays
    assert [rate for _, rate, _ in rows(tmp_path)] == pytest.approx(rates)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has come to step 3; nothing of it changes where it is rejected to resume."""
    folder = tmp_path_factory.mktemp("begun")
    Runner(config_of(folder, 3, param_scheduler=WARMUP)).train()
    return folder


OTHER = tiny_config(Path("unused"))["model"] | {"prototypes": {"type": "Prototypes", "num_prototypes": 10}}


def other_batch(work_dir: Path, each: int, accumulate: int) -> dict[str, Any]:
    config = config_of(work_dir, 4, param_scheduler=WARMUP)
    config["train_dataloader"]["batch_size"] = each
    config["optim_wrapper"]["accumulative_counts"] = accumulate
    return config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": OTHER}, r"another model than SwAV; 1 shape mismatch: prototypes\S*: \(12, 16\)"),
        ({"param_scheduler": None}, r"schedulers: must be \['WarmupCosine'\] as before, got \[\]; .*--init-from"),
        ({"param_scheduler": {"type": "MultiStep", "steps": (3,)}}, r"schedulers: must .* got \['MultiStep'\]; "),
        ({"optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 1e-3}}}, "optimizer: must be SGD as .* got 'AdamW'; "),
        ({"dataset": SCENES}, "had 24 images, it has 3,056 now, .*--init"),
        ({"train_cfg": {"max_steps": 2}}, r"has come to step 3, and the config ends it at step 2; .*\(train_cfg\)"),
        ({"batch": (4, 1)}, r"must be 8 \(8 x 1 x 1\) as before, got 4 \(4 x 1 x 1\), .*accumulative_counts"),
        ({"batch": (8, 2)}, r"must be 8 \(8 x 1 x 1\) as before, got 16 \(8 x 1 x 2\), .* --init-from"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_state_of_something_else_is_rejected(begun: Path, changes: dict[str, Any], said: str) -> None:
    written = (begun / "metrics.jsonl").read_text()
    config = other_batch(begun, *changes.get("batch", (8, 1)))
    config["train_dataloader"] |= {name: value for name, value in changes.items() if name == "dataset"}
    config |= {name: value for name, value in changes.items() if name in config}
    with pytest.raises(CheckpointError, match=rf"step_000000003\.pth: .*{said}"):
        Runner(config, resume=True).train()
    assert (begun / "metrics.jsonl").read_text() == written


def test_updates_of_the_same_size_may_be_made_up_otherwise(tmp_path: Path) -> None:
    Runner(config_of(tmp_path, 3, param_scheduler=WARMUP)).train()
    _, (said,) = resumed(other_batch(tmp_path, 4, 2))
    assert "train_dataloader.batch_size 8 -> 4" in said and [step for step, _, _ in rows(tmp_path)] == [1, 2, 3, 4]


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


def test_of_a_truncated_newest_checkpoint_the_one_before_is_used_and_without_one_the_run_does_not_start(
    tmp_path: Path,
) -> None:
    Runner(config_of(tmp_path, steps=6)).train()
    before, newest = list_checkpoints(tmp_path)
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = Runner(config_of(tmp_path, steps=6), resume=True)
    resumed.train()
    log = (Path(resumed._log_dir) / "rank0.log").read_text()
    assert f"{newest}: the file is truncated" in log and f"resumed at step 3 from {before}" in log
    assert [step for step, _, _ in rows(tmp_path)] == list(range(1, 7))
    for checkpoint in list_checkpoints(tmp_path):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="no checkpoint is whole"):
        Runner(config_of(tmp_path, steps=6), resume=True).train()


def grouped(work_dir: Path, steps: int, *names: str, **options: Any) -> dict[str, Any]:
    """Some parameters apart from the others; weight_decay=1e-4, as all have, unless the options say otherwise."""
    rules = [{"match": names, **(options or {"weight_decay": 1e-4})}]
    return config_of(
        work_dir, steps, optim_wrapper={"precision": "fp32", "optimizer": dict(DECAYING), "param_groups": rules}
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


def test_a_group_that_is_sorted_anew_has_the_options_of_the_config_alone(tmp_path: Path) -> None:
    Runner(grouped(tmp_path, 3, "neck.*", weight_decay=0.0, fixed_lr=True) | {"param_scheduler": WARMUP}).train()
    config = grouped(tmp_path, 6, "neck.mlp.0.*", weight_decay=0.5) | {"param_scheduler": WARMUP}
    runner = trained(config, resume=True)
    groups = runner.optim_wrapper.optimizer.param_groups
    assert sorted(group["weight_decay"] for group in groups) == [1e-4, 0.5]
    assert not any("fixed_lr" in group for group in groups)


def test_the_learning_rate_shown_is_the_one_that_a_schedule_moves(tmp_path: Path) -> None:
    moved = {"param_scheduler": WARMUP}
    Runner(grouped(tmp_path / "one_is_fixed", 6, "neck.*", fixed_lr=True) | moved).train()
    Runner(grouped(tmp_path / "all_are", 3, "*", fixed_lr=True) | moved).train()
    one, every = ([lr for _, lr, _ in rows(tmp_path / name)] for name in ("one_is_fixed", "all_are"))
    assert one == pytest.approx([0.0, 0.025, 0.05, 0.0426777, 0.025, 0.0073223], rel=1e-5)
    assert every == [SGD["lr"]] * 3


def test_mmengines_schedules_reject_other_parameter_groups(tmp_path: Path) -> None:
    schedule = {"param_scheduler": {"type": "MultiStepLR", "milestones": [4], "by_epoch": False}}
    Runner(grouped(tmp_path, 3, "neck.mlp.0.bias") | schedule).train()
    with pytest.raises(
        CheckpointError, match=r"step_000000003\.pth: optim_wrapper\.param_groups: sorts .* MultiStepLR"
    ):
        Runner(grouped(tmp_path, 6, "neck.mlp.1.bias") | schedule, resume=True).train()


@pytest.mark.parametrize("began_otherwise", [True, False])
def test_a_resumed_run_does_not_use_other_weights_and_its_config_stays_true(
    began_otherwise: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Runner(config_of(tmp_path / "first", 1)).train()
    weights = str(list_checkpoints(tmp_path / "first")[-1])
    start = {"load_from": weights} if began_otherwise else {}
    Runner(config_of(tmp_path / "run", 3, **start)).train()
    Runner(config_of(tmp_path / "whole", 6, **start)).train()
    capsys.readouterr()
    Runner(config_of(tmp_path / "run", 6, load_from="gone.pth"), resume=True).train()
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines() if "gone.pth" in line]
    assert said == [
        "gone.pth (load_from, --init-from) is not used: the run resumes from its own checkpoint, and began with "
        f"{weights if began_otherwise else 'random weights'}"
    ]
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    for folder in ("run", "whole"):
        assert load_config(tmp_path / folder / "config.py").load_from == start.get("load_from")
        saved = Checkpoint.read(list_checkpoints(tmp_path / folder)[-1])
        assert saved.config is not None and saved.config.get("load_from") == start.get("load_from")
