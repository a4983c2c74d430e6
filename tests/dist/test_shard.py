"""Sharded training on two processes against DistributedDataParallel, and against one process with the whole batch.

The three kinds of run are compared in float64: in float32 the order in which sums are rounded is magnified from step to
step. That float32 is split likewise is seen where runs are cut and resumed, below and in test_shard_methods.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from selfsup.data.input_contract import InputContract
from selfsup.data.preprocess import Preprocess
from selfsup.data.selection import Subset
from selfsup.data.sources.scenes import Scenes
from selfsup.engine.evaluate import evaluate, metrics
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import CheckpointError
from selfsup.evaluation import Features, Representation
from selfsup.ops.dist import rank
from selfsup.ops.parts import is_sharded, own_part, whole
from selfsup.registry import BACKBONES, DATASETS, METHODS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.load import load_backbone
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import SGD, tiny_config, trained

pytestmark = pytest.mark.dist

SHARDING = {"min_parameters": 1000}
FROZEN = {"precision": "fp32", "freeze": {"prototypes": 2}}
_SGD = SGD | {"lr": 1e-3}
_LARC = {"type": "LARS", "variant": "larc", "lr": 0.1, "weight_decay": 1e-3, "trust_coefficient": 0.01}
CASES: dict[str, dict[str, Any]] = {
    "larc": {"optimizer": _LARC},
    "simclr's lars": {
        "optimizer": _LARC | {"variant": "simclr"},
        "param_groups": [{"kinds": ("bias", "norm"), "weight_decay": 0.0, "adapt": False, "lr": 1e-3}],
    },
    "accumulated": {"optimizer": _SGD, "accumulative_counts": 2},
    "clipped": {"optimizer": _SGD, "clip_grad": {"max_norm": 0.01}},
    "clipped by the largest": {"optimizer": _SGD, "clip_grad": {"max_norm": 1e-3, "norm_type": float("inf")}},
}


@DATASETS.register_module()
class SomeScenes(Subset):
    """Forty scenes with labels."""

    def __init__(self) -> None:
        super().__init__(Scenes(split="test", size=96), count=40)


@TRANSFORMS.register_module()
class InFloat64(Preprocess):
    """What a model with float64 weights reads."""

    def _normalize(self, view: Tensor) -> Tensor:
        return super()._normalize(view).double()


@contextmanager
def float64() -> Iterator[None]:
    """Weights, buffers and constants made inside are float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def config_of(work_dir: Path, batch: int, *, checkpointed: bool = False, **changes: Any) -> dict[str, Any]:
    """Maps of more than one pixel."""
    config = tiny_config(work_dir, steps=3, sync_bn="all", channels_last=False, param_scheduler=None)
    views = config["train_dataloader"]["views"] | {"sizes": (96, 64)}
    config["train_dataloader"] |= {"batch_size": batch, "views": views, "dataset": {"type": "SomeScenes"}}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": _SGD, "freeze": {"prototypes": 2}}
    if checkpointed:
        config["model"]["backbone"] |= {"checkpoint_stages": (1, 2, 3, 4)}
    return config | changes


def losses(work_dir: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_metrics(work_dir / "metrics.jsonl") if name in line]


def weights_of(work_dir: Path) -> dict[str, Tensor]:
    return Checkpoint.read(list_checkpoints(work_dir)[-1]).model


def train_all(folder: Path, batch: int, sharding: dict[str, Any] | None) -> None:
    configs = [
        config_of(folder / name, batch, optim_wrapper=FROZEN | wrapper, sharding=sharding)
        for name, wrapper in CASES.items()
    ]
    configs.append(config_of(folder / "checkpointed", batch, checkpointed=True, sharding=sharding))
    configs += [with_method(config_of(folder / name, batch, sharding=sharding), OTHERS[name]) for name in OTHERS]
    with float64():
        for config in configs:
            config["model"]["preprocess"] = {"type": "InFloat64"}
            Runner(config, device="cpu").train()


NECK = {"type": "ProjectionNeck", "hidden_dims": (32,), "out_dim": 32}
NT_XENT = {"type": "NTXentLoss", "temperature": 0.5}
OTHERS: dict[str, dict[str, Any]] = {"simclr": {"type": "SimCLR", "neck": NECK, "loss": NT_XENT}}


def with_method(config: dict[str, Any], method: dict[str, Any], *, num_views: int = 2) -> dict[str, Any]:
    """Another method, for which all views have one size."""
    views = config["train_dataloader"]["views"] | {"sizes": (64,), "counts": (num_views,), "scales": ((0.14, 1.0),)}
    return config | {
        "model": {"backbone": config["model"]["backbone"], **method},
        "train_dataloader": config["train_dataloader"] | {"views": views},
        "optim_wrapper": {"precision": "fp32", "optimizer": dict(SGD)},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case on one process, wrapped on two, and sharded on two."""
    folder = tmp_path_factory.mktemp("runs")
    train_all(folder / "one", 8, None)
    run_in_processes(train_all, folder / "ddp", 4, None)
    run_in_processes(train_all, folder / "sharded", 4, SHARDING)
    return folder


@pytest.mark.parametrize("name", [*CASES, "checkpointed", *OTHERS])
def test_sharded_is_wrapped_is_one_process(folder: Path, name: str) -> None:
    one, ddp, sharded = (folder / kind / name for kind in ("one", "ddp", "sharded"))
    for number, tolerance in (("loss", 2e-7), ("grad_norm", 1e-9)):  # losses are recorded as float32
        assert len(losses(sharded, number)) == 3
        for other in (ddp, one):
            assert losses(sharded, number) == pytest.approx(losses(other, number), rel=tolerance), (number, other)
    expected, actual, alone = weights_of(ddp), weights_of(sharded), weights_of(one)
    assert list(actual) == list(expected) == list(alone)
    for key, tensor in expected.items():
        assert tensor.dtype == (torch.float64 if tensor.is_floating_point() else torch.int64), key
        others = [tensor] if key.startswith("queue.") else [tensor, alone[key]]  # a process's queue is of its images
        for other in others:
            torch.testing.assert_close(
                actual[key], other, rtol=1e-9, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}"
            )


def resume(work_dir: Path, sharding: dict[str, Any] | None = SHARDING, *, batch: int = 4) -> None:
    Runner(resumable(work_dir, 6, sharding, batch=batch), resume=True, device="cpu").train()


def resumable(work_dir: Path, steps: int, sharding: dict[str, Any] | None, *, batch: int = 4) -> dict[str, Any]:
    wrapper = {"precision": "fp32", "optimizer": {"type": "AdamW", "lr": 1e-3}, "freeze": {"prototypes": 2}}
    config = config_of(work_dir, batch, optim_wrapper=wrapper, train_cfg={"max_steps": steps}, sharding=sharding)
    return config | {"sync_bn": None}


def whole_run_cut_run_and_others(folder: Path) -> None:
    Runner(resumable(folder / "whole", 6, SHARDING), device="cpu").train()
    for name in ("cut", "cut then wrapped"):
        Runner(resumable(folder / name, 3, SHARDING), device="cpu").train()
    resume(folder / "cut")
    resume(folder / "cut then wrapped", None)
    Runner(resumable(folder / "wrapped then sharded", 3, None), device="cpu").train()
    resume(folder / "wrapped then sharded")
    for name, steps, apart, again in (
        ("other groups", 3, "backbone.s2.*", False),
        ("other groups", 6, "neck.*", True),
        ("those groups", 6, "neck.*", False),
    ):
        config = resumable(folder / name, steps, SHARDING)
        config["optim_wrapper"]["param_groups"] = [{"match": apart, "lr": 1e-3}]  # as without the rule
        Runner(config, resume=again, device="cpu").train()


def test_a_resumed_run_is_bitwise_and_may_change_between_sharded_and_wrapped(tmp_path: Path) -> None:
    run_in_processes(whole_run_cut_run_and_others, tmp_path)
    expected = losses(tmp_path / "whole")
    assert len(expected) == 6
    assert losses(tmp_path / "cut") == expected
    for key, tensor in weights_of(tmp_path / "whole").items():
        assert torch.equal(weights_of(tmp_path / "cut")[key], tensor), key
    assert losses(tmp_path / "other groups") == losses(tmp_path / "those groups")
    for key, tensor in weights_of(tmp_path / "those groups").items():
        assert torch.equal(weights_of(tmp_path / "other groups")[key], tensor), key
    for name in ("cut then wrapped", "wrapped then sharded"):
        assert losses(tmp_path / name) == pytest.approx(expected, rel=1e-4)
    # Finished: nothing is left to do, but everything is read on one process.
    resume(tmp_path / "cut then wrapped", batch=8)
    exported = BACKBONES.build(tiny_config(tmp_path)["model"]["backbone"])
    load_backbone(tmp_path / "cut" / "backbone.safetensors", exported)
    saved = weights_of(tmp_path / "cut")
    for key, tensor in exported.state_dict().items():
        assert torch.equal(saved[f"backbone.{key}"], tensor), key


def built(work_dir: Path) -> dict[str, Any]:
    runner = Runner(config_of(work_dir, 4, sharding=SHARDING), device="cpu")
    method = runner.method
    parameters = dict(method.named_parameters())
    return {
        "random": torch.get_rng_state(),
        "state": {name: whole(tensor.detach()) for name, tensor in method.state_dict().items()},
        "buffers": {name: tensor.clone() for name, tensor in method.named_buffers()},
        "rows": {name: len(own_part(tensor)) for name, tensor in parameters.items()},
        "images": shown(method),
        "sharded": is_sharded(method),
        "log": [file.read_text() for file in work_dir.rglob(f"rank{rank()}.log")],
    }


def shown(method: Any) -> Features:
    """Features of five scenes, one at a time."""
    images = Subset(Scenes(split="test", size=40), count=5)
    return Representation(method, InputContract.for_side(32), batch_size=1, num_workers=1).features(images)


def test_what_is_split_is_what_one_process_builds_and_its_features_are_the_same(tmp_path: Path) -> None:
    plain = Runner(config_of(tmp_path / "plain", 4), device="cpu")
    random_state = torch.get_rng_state()
    expected = shown(plain.method)
    results = run_in_processes(built, tmp_path / "split")
    for result in results:
        assert result["sharded"]
        assert torch.equal(result["random"], random_state)
        for name, tensor in plain.method.state_dict().items():
            assert torch.equal(result["state"][name], tensor), name
        for name, tensor in plain.method.named_buffers():
            assert torch.equal(result["buffers"][name], tensor), name
        # Three rounds of one image on the first process, two on the second, which keeps the first company.
        torch.testing.assert_close(result["images"].features, expected.features, rtol=1e-5, atol=1e-6)
    for name, parameter in plain.method.named_parameters():
        assert sum(result["rows"][name] for result in results) == len(parameter), name
    assert any("parameters are split over 2 processes and gathered in 5 blocks" in text for text in results[0]["log"])


def watched(work_dir: Path) -> tuple[list[str], dict[str, float]]:
    config = config_of(work_dir, 4, sharding=SHARDING)
    config["default_hooks"] = {
        "evaluate": {"type": "EvaluateHook", "evaluators": EVALUATORS, "every_steps": 2, "at_start": True},
        "collapse": {"type": "CollapseWatchHook", "every_steps": 2, "num_images": 9},
        "pictures": {"type": "PictureHook", "min_steps": 1, "num_images": 15},
        "checkpoint": {"type": "CheckpointHook", "every_steps": 3},
    }
    Runner(config, device="cpu").train()
    plain = config_of(work_dir / "blind", 4, sharding=SHARDING, evaluators=EVALUATORS)  # the same images held out
    Runner(plain, device="cpu").train()
    checkpoint = list_checkpoints(work_dir)[-1]
    return sorted(path.name for path in work_dir.glob("*.png")), scores_of(plain, checkpoint)


def scores_of(config: dict[str, Any], checkpoint: Path) -> dict[str, float]:
    rows = evaluate(config, checkpoint, device="cpu")
    return {name: score.value for name, score in metrics(rows, tasks=1).items()}


EVALUATORS = {"knn": {"type": "KNN", "k": 5}, "spread": {"type": "Spread"}}


def test_hooks_look_at_sharded_weights_without_changing_the_training(tmp_path: Path) -> None:
    results = run_in_processes(watched, tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "run" / "blind")
    assert len(losses(tmp_path / "run", "knn/top1")) == 3
    one = scores_of(config_of(tmp_path, 4, evaluators=EVALUATORS), list_checkpoints(tmp_path / "run")[-1])
    for pictures, scores in results:
        assert pictures == ["curves.png", "embedding.png", "prototypes.png", "views.png"]
        assert scores == pytest.approx(one, rel=1e-4)


def halved(work_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for precision in ("fp32", "bf16", "fp16"):
        wrapper = {"optimizer": _SGD, "precision": precision}
        runner = trained(config_of(work_dir / precision, 4, optim_wrapper=wrapper, sharding=SHARDING), device="cpu")
        found[precision] = {parameter.dtype for parameter in runner.method.parameters()}
    config = config_of(work_dir / "other", 4, sharding=SHARDING, load_from=str(list_checkpoints(work_dir / "bf16")[-1]))
    config["model"]["prototypes"] = {"type": "Prototypes", "num_prototypes": 10}
    try:
        Runner(config, device="cpu").train()
    except CheckpointError as error:
        found["error"] = str(error)
    return found


def test_half_precision_keeps_float32_weights_and_another_models_checkpoint_is_rejected(tmp_path: Path) -> None:
    for result in run_in_processes(halved, tmp_path):
        assert result["bf16"] == result["fp16"] == {torch.float32}
        assert "1 shape mismatch: prototypes.weight: (12, 16), expected (10, 16)" in result["error"]
    exact = losses(tmp_path / "fp32")[0]
    for precision in ("bf16", "fp16"):
        assert losses(tmp_path / precision)[0] == pytest.approx(exact, rel=2e-2)
        assert len(losses(tmp_path / precision)) == 3
        assert all(torch.isfinite(tensor).all() for tensor in weights_of(tmp_path / precision).values())


def test_the_checkpoint_names_the_method_and_not_its_shards(folder: Path) -> None:
    saved = Checkpoint.read(list_checkpoints(folder / "sharded" / "larc")[-1])
    assert saved.method == "SwAV"
    METHODS.find(saved.method)
    other = Checkpoint.read(list_checkpoints(folder / "ddp" / "larc")[-1])
    for number, state in other.optim_wrapper["state"].items():
        assert saved.optim_wrapper["state"][number].keys() == state.keys()
        for key, value in state.items():
            assert saved.optim_wrapper["state"][number][key].shape == value.shape
