"""Shipped recipes on two processes: small networks and batches, everything else as it is shipped."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.config import load_config
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.layers import SyncBatchNorm
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.two_processes import run_in_processes

pytestmark = pytest.mark.dist

RESNET = {"type": "ResNet", "depth": 18, "width": 0.125}
REGNET = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8}
SMALL_HEAD = {"model.neck.hidden_dims": (32,), "model.neck.out_dim": 16}
SMALL: dict[str, dict[str, Any]] = {
    "swav/swav_resnet50": {
        "model.backbone": RESNET,
        **SMALL_HEAD,
        "model.prototypes.num_prototypes": 12,
        "train_dataloader.views.sizes": (64, 32),
    },
    "swav/seer_regnety128": {
        "model.backbone": REGNET | {"checkpoint_stages": (1, 2, 3, 4)},
        **SMALL_HEAD,
        "model.prototypes.num_prototypes": 12,
        "train_dataloader.views.sizes": (64, 32),
    },
    "simclr/simclr_resnet50": {"model.backbone": RESNET, **SMALL_HEAD, "train_dataloader.views.size": 64},
    "byol/byol_resnet50": {
        "model.backbone": RESNET,
        **SMALL_HEAD,
        "model.predictor.hidden_dims": (32,),
        "train_dataloader.views.size": 64,
    },
    "moco/moco_v2_resnet50": {
        "model.backbone": RESNET,
        **SMALL_HEAD,
        "model.queue_length": 64,
        "train_dataloader.views.size": 64,
    },
}


def run(folder: Path, name: str, batch: int) -> dict[str, Any]:
    options = {
        **SMALL[name],
        "train_dataloader.batch_size": batch,
        "train_dataloader.num_workers": 0,
        "train_dataloader.dataset": {"type": "Scenes", "split": "test", "size": 64},
        "train_cfg.max_steps": 2,
        "optim_wrapper.precision": "fp32",
        "channels_last": False,
        "evaluators": {},
        **{f"default_hooks.{hook}": None for hook in ("evaluate", "pictures", "collapse")},
        "work_dir": str(folder / name),
    }
    runner = Runner(load_config(name, options), device="cpu")
    runner.train()
    return {
        "synced": any(isinstance(module, SyncBatchNorm) for module in runner.method.modules()),
        "parameters": {key: value.detach() for key, value in runner.method.named_parameters()},
    }


def run_all(folder: Path) -> dict[str, Any]:
    return {name: run(folder, name, 4) for name in SMALL}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("recipes")
    return folder, run_in_processes(run_all, folder)


def losses(work_dir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_trains_on_two_processes_which_stay_alike(
    results: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    folder, (first, second) = results
    assert len(losses(folder / name)) == 2
    assert first[name]["synced"] == second[name]["synced"] == (load_config(name).sync_bn is not None)
    for key, value in first[name]["parameters"].items():
        assert value.equal(second[name]["parameters"][key]), key


@pytest.mark.parametrize("name", [name for name in SMALL if "moco" not in name])  # MoCo's batch norm is per process
def test_its_first_step_is_that_of_one_process_with_the_whole_batch(
    results: tuple[Path, list[dict[str, Any]]], name: str, tmp_path: Path
) -> None:
    folder, _ = results
    run(tmp_path, name, 8)
    assert losses(folder / name)[0] == pytest.approx(losses(tmp_path / name)[0], rel=1e-5)
    saved = [Checkpoint.read(list_checkpoints(place / name)[-1]).batch for place in (folder, tmp_path)]
    assert saved == [[4, 2, 1], [8, 1, 1]]
