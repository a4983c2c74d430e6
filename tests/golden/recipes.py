"""One tiny recipe per method: what is trained for twenty steps. A new method adds an entry here."""

from dataclasses import dataclass, field
from typing import Any

BACKBONE = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 16, 24), "group_width": 8}
NECK = {"type": "ProjectionNeck", "hidden_dims": (24,), "out_dim": 12}
PREDICTOR = {"type": "ProjectionNeck", "hidden_dims": (8,)}
SGD = {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4}
LARS = {"type": "LARS", "variant": "simclr", "lr": 0.3, "momentum": 0.9, "weight_decay": 1e-4}
CROSS_ENTROPY = {"type": "CrossEntropyLoss", "label_smoothing": 0.1}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What is trained.

    Args:
        model: the method's dict.
        sides: sides of an image's views in pixels, multiples of 4.
        num_classes: labels are drawn from this many classes; 0 for images without labels.
        optim_wrapper: as in a config.
        batch: images per step.
    """

    model: dict[str, Any]
    sides: tuple[int, ...] = (32, 32)
    num_classes: int = 0
    optim_wrapper: dict[str, Any] = field(default_factory=lambda: {"optimizer": SGD})
    batch: int = 8


SUPERVISED = {"type": "Supervised", "backbone": BACKBONE, "num_classes": 6, "loss": CROSS_ENTROPY}

RECIPES: dict[str, Golden] = {
    "swav": Golden(
        model={
            "type": "SwAV",
            "backbone": BACKBONE,
            "neck": NECK,
            "prototypes": {"type": "Prototypes", "num_prototypes": 10},
            "loss": {"type": "SwAVLoss"},
            "queue_length": 16,
            "queue_start_epoch": 1,
        },
        sides=(32, 32, 16),
        optim_wrapper={"optimizer": SGD, "freeze": {"prototypes": 2}},
    ),
    "simclr": Golden(
        model={
            "type": "SimCLR",
            "backbone": BACKBONE,
            "neck": NECK | {"bias": False, "last_bn": True, "last_bn_bias": False},
            "loss": {"type": "NTXentLoss", "temperature": 0.2},
        },
        optim_wrapper={
            "optimizer": LARS,
            "param_groups": [{"kinds": ("bias", "norm"), "weight_decay": 0.0, "adapt": False, "lr_scale": 0.1}],
        },
    ),
    "moco": Golden(
        model={
            "type": "MoCo",
            "backbone": BACKBONE,
            "neck": NECK | {"bn": False},
            "loss": {"type": "InfoNCELoss", "temperature": 0.2},
            "queue_length": 32,
            "momentum": 0.9,
        },
    ),
    "moco_v3": Golden(
        model={
            "type": "MoCoV3",
            "backbone": BACKBONE,
            "neck": NECK,
            "predictor": PREDICTOR,
            "loss": {"type": "InBatchInfoNCELoss", "temperature": 0.2},
            "momentum": 0.9,
        },
    ),
    "byol": Golden(
        model={
            "type": "BYOL",
            "backbone": BACKBONE,
            "neck": NECK,
            "predictor": PREDICTOR,
            "loss": {"type": "CosineLoss"},
            "momentum": 0.9,
        },
    ),
    "simsiam": Golden(
        model={
            "type": "SimSiam",
            "backbone": BACKBONE,
            "neck": NECK | {"last_bn": True, "last_bn_weight": False, "last_bn_bias": False},
            "predictor": PREDICTOR,
            "loss": {"type": "NegativeCosineLoss"},
        },
        optim_wrapper={"optimizer": SGD, "param_groups": [{"match": "predictor.*", "fixed_lr": True}]},
    ),
    "supervised": Golden(
        model=SUPERVISED | {"neck": {"type": "HiddenLayers", "hidden_dims": (24,)}},
        sides=(32,),
        num_classes=6,
    ),
    "supervised_mixup": Golden(
        model=SUPERVISED | {"loss": {"type": "BinaryCrossEntropyLoss"}, "mixup_alpha": 0.4, "zero_init_head": True},
        sides=(32,),
        num_classes=6,
    ),
    "linear_heads": Golden(
        model={
            "type": "LinearHeads",
            "backbone": BACKBONE,
            "num_classes": 6,
            "loss": CROSS_ENTROPY,
            "layers": ("pooled", "res5:2x1"),
            "copies": 2,
            "bn": True,
            "image_size": 32,
        },
        sides=(32,),
        num_classes=6,
        optim_wrapper={"optimizer": SGD, "param_groups": [{"match": "heads.1.*", "lr_scale": 3.0}]},
    ),
    "distillation": Golden(
        model={
            "type": "Distillation",
            "backbone": BACKBONE,
            "teacher": SUPERVISED,
            "teacher_checkpoint": "random",  # it teaches what it was built with, see record.py
            "loss": {"type": "DistillationLoss", "temperature": 0.1},
            "alpha": 0.75,
        },
        sides=(32,),
        num_classes=6,
    ),
}
