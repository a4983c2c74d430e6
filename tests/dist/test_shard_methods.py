"""Every method whose state is more than a network: sharded on two processes it is wrapped on two, and it resumes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine.runner import Runner
from selfsup.registry import METHODS
from tests.dist.test_shard import SHARDING, config_of, losses, weights_of
from tests.dist.two_processes import run_in_processes

pytestmark = pytest.mark.dist

BACKBONE = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8}
VIT = {
    "type": "ViT",
    "embed_dim": 32,
    "depth": 4,
    "num_heads": 4,
    "image_size": 64,
    "frozen_patch_projection": True,  # parameters without gradient inside a shard
}
BIT = {"type": "BiTResNet", "depth": 14, "width": 0.25, "num_groups": 4, "checkpoint_stages": (1, 2)}
NECK = {"type": "ProjectionNeck", "hidden_dims": (32,), "out_dim": 32}
FROZEN_BIAS = {"last_bias": True, "last_bias_frozen": True, "last_bn": True, "last_bn_weight": False}
PREDICTOR = {"type": "ProjectionNeck", "hidden_dims": (16,)}
CLASSIFIER = {
    "type": "Supervised",
    "backbone": BACKBONE,
    "num_classes": 9,
    "loss": {"type": "CrossEntropyLoss"},
    "neck": {"type": "HiddenLayers", "hidden_dims": (32,)},
}
CASES: dict[str, dict[str, Any]] = {
    "BYOL": {
        "backbone": BACKBONE,
        "neck": NECK,
        "predictor": PREDICTOR,
        "loss": {"type": "CosineLoss"},
        "momentum": 0.9,
        "end_momentum": 0.9,  # a curve would end elsewhere for a run that is cut
    },
    "Distillation": {"backbone": BACKBONE, "teacher": CLASSIFIER, "loss": {"type": "DistillationLoss"}},
    "LinearHeads": {"backbone": BACKBONE, "num_classes": 9, "loss": {"type": "CrossEntropyLoss"}, "copies": 2},
    "MoCo": {
        "backbone": BACKBONE,
        "neck": NECK | {"bn": False},
        "loss": {"type": "InfoNCELoss", "temperature": 0.2},
        "queue_length": 16,
        "momentum": 0.9,
    },
    "MoCoV3": {
        "backbone": VIT,
        "neck": NECK,
        "predictor": PREDICTOR,
        "loss": {"type": "InBatchInfoNCELoss", "temperature": 0.2},
        "momentum": 0.9,
        "end_momentum": 0.9,
    },
    "SimSiam": {
        "backbone": BACKBONE,
        "neck": NECK | FROZEN_BIAS | {"bias": False, "last_bn_bias": False},
        "predictor": PREDICTOR,
        "loss": {"type": "NegativeCosineLoss"},
    },
    "Supervised": {key: value for key, value in CLASSIFIER.items() if key != "type"} | {"mixup_alpha": 0.4},
    "Supervised, BiT": {
        "backbone": BIT,
        "num_classes": 9,
        "loss": {"type": "BinaryCrossEntropyLoss"},
        "zero_init_head": True,
    },
}
ELSEWHERE = {"SimCLR", "SwAV"}  # in test_shard
NEVER_SPLIT = {"Detector"}  # torchvision's detectors are called through their own forward
ONE_VIEW = ("Distillation", "LinearHeads", "Supervised")
STEPS, CUT = 3, 2


def config(folder: Path, case: str, sharding: dict[str, Any] | None, steps: int = STEPS) -> dict[str, Any]:
    found, name = config_of(folder / case, 4, sharding=sharding), case.partition(",")[0]
    counts = (1,) if name in ONE_VIEW else (2,)
    views = found["train_dataloader"]["views"] | {"sizes": (64,), "counts": counts, "scales": ((0.14, 1.0),)}
    model = {"type": name, **CASES[case]}
    if name == "Distillation":
        model["teacher_checkpoint"] = str(folder.parent / "teacher")
    return found | {
        "model": model,
        "sync_bn": None if name == "MoCo" else "all",  # its keys are shuffled instead
        "train_dataloader": found["train_dataloader"] | {"views": views},
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
        "train_cfg": {"max_steps": steps},
    }


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
    assert {case.partition(",")[0] for case in CASES} | ELSEWHERE | NEVER_SPLIT == ours


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
