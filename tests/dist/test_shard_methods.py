"""Every method whose state is more than a network: sharded on two processes it is wrapped on two, and it resumes; a
detector detects the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.config import Recipe
from selfsup.engine.evaluate import evaluate
from selfsup.engine.runner import Runner
from selfsup.registry import METHODS
from selfsup.weights.checkpoint import list_checkpoints
from tests.dist.test_shard import NECK, SHARDING, config_of, losses, weights_of, with_method
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import BACKBONE

pytestmark = pytest.mark.dist

VIT = {"type": "ViT", "embed_dim": 32, "depth": 4, "num_heads": 4, "image_size": 64}
VIT |= {"frozen_patch_projection": True}  # parameters without gradient inside a shard
BIT = {"type": "BiTResNet", "depth": 14, "width": 0.25, "num_groups": 4, "checkpoint_stages": (1, 2)}
FROZEN_BIAS = {"last_bias": True, "last_bias_frozen": True, "last_bn": True, "last_bn_weight": False}
FROZEN_BIAS |= {"bias": False, "last_bn_bias": False}
SIAMESE = {"neck": NECK, "predictor": {"type": "ProjectionNeck", "hidden_dims": (16,)}}
MOMENTUM = {"momentum": 0.9, "end_momentum": 0.9}  # a curve would end elsewhere for a run that is cut
KEPT = {"neck": {"type": "HiddenLayers", "hidden_dims": (32,)}}
CLASSIFIER = {"num_classes": 9, "loss": {"type": "CrossEntropyLoss"}} | KEPT
TEACHER = {"type": "Supervised", "backbone": BACKBONE, **CLASSIFIER}
IN_BATCH = {"type": "InBatchInfoNCELoss", "temperature": 0.2}
INFO_NCE = {"type": "InfoNCELoss", "temperature": 0.2}
CASES: dict[str, dict[str, Any]] = {
    "BYOL": {**SIAMESE, **MOMENTUM, "loss": {"type": "CosineLoss"}},
    "Distillation": {"teacher": TEACHER, "loss": {"type": "DistillationLoss"}},
    "LinearHeads": {"num_classes": 9, "loss": {"type": "CrossEntropyLoss"}, "copies": 2},
    "MoCo": {"neck": NECK | {"bn": False}, "loss": INFO_NCE, "queue_length": 16, "momentum": 0.9},
    "MoCoV3": {"backbone": VIT, **SIAMESE, **MOMENTUM, "loss": IN_BATCH},
    "SimSiam": SIAMESE | {"neck": NECK | FROZEN_BIAS, "loss": {"type": "NegativeCosineLoss"}},
    "Supervised": CLASSIFIER | {"mixup_alpha": 0.4},
    "Supervised, BiT": {
        "backbone": BIT,
        "num_classes": 9,
        "loss": {"type": "BinaryCrossEntropyLoss"},
        "zero_init_head": True,
    },
}
ELSEWHERE = {"SimCLR", "SwAV"}  # in test_shard
DETECTOR = {"Detector"}  # below
ONE_VIEW = ("Distillation", "LinearHeads", "Supervised")
STEPS, CUT = 3, 2


def config(folder: Path, case: str, sharding: dict[str, Any] | None, steps: int = STEPS) -> dict[str, Any]:
    found, name = config_of(folder / case, 4, sharding=sharding), case.partition(",")[0]
    model = {"type": name, **CASES[case]}
    if name == "Distillation":
        model["teacher_checkpoint"] = str(folder.parent / "teacher")
    sync_bn = None if name == "MoCo" else "all"  # its keys are shuffled instead
    found |= {"sync_bn": sync_bn, "train_cfg": {"max_steps": steps}}
    return with_method(found, model, num_views=1 if name in ONE_VIEW else 2)


def train_all(folder: Path) -> None:
    for case in CASES:
        Runner(config(folder / "wrapped", case, None), device="cpu").train()
        Runner(config(folder / "sharded", case, SHARDING), device="cpu").train()
        Runner(config(folder / "cut", case, SHARDING, CUT), device="cpu").train()
        Runner(config(folder / "cut", case, SHARDING), resume=True, device="cpu").train()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    teacher = config(folder / "teachers", "Supervised", None) | {"work_dir": str(folder / "teacher")}
    Runner(teacher, device="cpu").train()
    run_in_processes(train_all, folder)
    return folder


def test_every_method_is_covered() -> None:
    ours = {name for name in METHODS.names(inherited=False) if METHODS.get(name).__module__.startswith("selfsup.")}
    assert {case.partition(",")[0] for case in CASES} | ELSEWHERE | DETECTOR == ours


@pytest.mark.parametrize("case", CASES)
def test_sharded_is_wrapped_and_a_resumed_run_is_bitwise(folder: Path, case: str) -> None:
    wrapped, sharded, cut = (folder / kind / case for kind in ("wrapped", "sharded", "cut"))
    number = "loss_teacher" if case == "Distillation" else "loss"
    expected = losses(sharded, number)
    assert len(set(expected)) == STEPS
    assert expected == pytest.approx(losses(wrapped, number), rel=1e-6)
    assert losses(cut, number) == expected
    of_wrapped, of_sharded, of_cut = (weights_of(run) for run in (wrapped, sharded, cut))
    assert list(of_sharded) == list(of_wrapped) == list(of_cut)
    for key, tensor in of_sharded.items():
        torch.testing.assert_close(tensor, of_wrapped[key], rtol=1e-5, atol=1e-7, msg=key)
        assert torch.equal(of_cut[key], tensor), key


def detector_config(folder: Path, kind: str, sharding: dict[str, Any] | None, steps: int = STEPS) -> dict[str, Any]:
    from tests.transfer.detection.test_detector import config

    found = config(folder / kind, steps=steps)
    found["model"]["kind"] = kind
    images = {name: {**part, "num_images": 3} for name, part in found["tasks"]["scenes"].items() if name != "type"}
    found["tasks"]["scenes"] |= images
    found["evaluators"] = {"detection": {"type": "DetectionAP", "replicates": 0, "batch_size": 1}}
    found["default_hooks"] |= {"evaluate": None}
    return found | {"sharding": sharding, "param_scheduler": None}


def detect_all(folder: Path) -> dict[str, Any]:
    scores = {}
    for kind in ("mask_rcnn", "retinanet"):
        for name, sharding in (("wrapped", None), ("sharded", {"min_parameters": 100})):
            config = detector_config(folder / name, kind, sharding)
            Runner(config, device="cpu").train()
            (row,) = evaluate(Recipe.of(config), list_checkpoints(folder / name / kind)[-1], device="cpu")
            scores[name, kind] = {key: score.value for key, score in row.scores.items()}
        Runner(detector_config(folder / "cut", kind, sharding, CUT), device="cpu").train()
        Runner(detector_config(folder / "cut", kind, sharding), resume=True, device="cpu").train()
    return scores


def test_a_sharded_detector_learns_and_finds_what_a_wrapped_one_does_and_resumes_bitwise(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    scores, others = run_in_processes(detect_all, tmp_path)
    assert scores == others
    for kind in ("mask_rcnn", "retinanet"):
        wrapped, sharded, cut = (tmp_path / name / kind for name in ("wrapped", "sharded", "cut"))
        assert losses(sharded) == pytest.approx(losses(wrapped), rel=1e-5)
        assert losses(cut) == losses(sharded) and len(set(losses(cut))) == STEPS
        assert scores["sharded", kind] == pytest.approx(scores["wrapped", kind], abs=1e-3)
