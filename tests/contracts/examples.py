"""The smallest arguments of every component of ours, and what its kit has to be told.

A registered name without a line here fails ``test_ours``: registering a component is testing it. Lines are in the order
of the alphabet, so that two people who add one do not meet. A variant is called by the registered name, a comma, and
what is special about it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from selfsup.data import Hierarchy, InputContract, Scenes
from selfsup.evaluation import Task


@dataclass(frozen=True)
class Example:
    """How a component is built and checked.

    Args:
        arguments: of its constructor.
        inputs: of a loss.
        options: of the kit.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def rows(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


TINY = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8}
NECK = {"type": "ProjectionNeck", "hidden_dims": (16,), "out_dim": 8}
PREDICTOR = {"type": "ProjectionNeck", "hidden_dims": (16,)}
CLASSES = torch.tensor([0, 1, 2, 3, 4, 0])
CLASSIFIER = {"type": "Supervised", "backbone": TINY, "num_classes": 5, "loss": {"type": "CrossEntropyLoss"}}
_SCENES_ARGUMENTS = {"split": "val", "size": 16, "variants": 1}
SCENES = {"type": "Scenes", **_SCENES_ARGUMENTS}
_ON_SCENES = {
    "task": Task(train=SCENES, test=SCENES | {"split": "test"}),
    "input_contract": InputContract(size=16, resize="none"),
}

_DEEP_RESNET = {"depth": 50, "width": 0.125}
_VIT = {"embed_dim": 16, "depth": 5, "num_heads": 2, "image_size": 64}
_FINE = {"pools_last_map": True, "strides": (1, 2, 4, 8)}
_POOLS = {"pools_last_map": True}

BACKBONES = {
    "BiTResNet": Example({"depth": 14, "width": 0.25, "num_groups": 8}, options=_POOLS),
    "BiTResNet, batch norm": Example(
        {"depth": 14, "width": 0.25, "norm": "bn", "weight_standardization": False, "num_groups": 8}, options=_POOLS
    ),
    "BiTResNet, cifar": Example({"depth": 14, "width": 0.25, "num_groups": 8, "stem": "cifar"}, options=_FINE),
    "RegNet": Example(
        {"depths": (1, 2, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8, "stem_width": 8}, options=_POOLS
    ),
    "ResNet": Example(_DEEP_RESNET, options=_POOLS),
    "ResNet, basic blocks": Example({"depth": 18, "width": 0.125}, options=_POOLS),
    "ResNet, cifar": Example({"depth": 18, "width": 0.125, "stem": "cifar"}, options=_FINE),
    "ResNet, selective kernels": Example(_DEEP_RESNET | {"selective_kernels": True}, options=_POOLS),
    "Timm": Example(
        {"name": "resnet10t", "model_args": {"stem_width": 8, "channels": (8, 16, 24, 32)}}, options=_POOLS
    ),
    "Timm, vit": Example(
        {
            "name": "vit_tiny_patch16_224",
            "model_args": {"img_size": 64, "embed_dim": 16, "depth": 2, "num_heads": 2, "dynamic_img_size": True},
        }
    ),
    "ViT": Example(_VIT),
    "ViT, mean": Example(
        _VIT | {"pool": "mean", "position": "learned", "frozen_patch_projection": True},
        options={"pools_last_map": True, "sizes": (64, (96, 64))},
    ),
}
NECKS = {
    "HiddenLayers": Example({"in_dim": 12, "hidden_dims": (16, 8)}),
    "Identity": Example({"in_dim": 12}),
    "ProjectionNeck": Example({"in_dim": 12, "hidden_dims": (16,), "out_dim": 8}),
    "Prototypes": Example({"in_dim": 8, "num_prototypes": 5}),
}
LOSSES = {
    "BinaryCrossEntropyLoss": Example(inputs=(rows(6, 5, 0), CLASSES)),
    "CosineLoss": Example(inputs=(rows(6, 4, 0), rows(6, 4, 1)), options={"constant": (1,)}),
    "CrossEntropyLoss": Example({"label_smoothing": 0.1}, inputs=(rows(6, 5, 0), CLASSES)),
    "DistillationLoss": Example(
        {"temperature": 0.5}, inputs=(rows(6, 5, 0), rows(6, 5, 1)), options={"constant": (1,)}
    ),
    "InBatchInfoNCELoss": Example(
        {"temperature": 0.2}, inputs=(rows(6, 4, 0), rows(6, 4, 1)), options={"constant": (1,)}
    ),
    "InfoNCELoss": Example(
        {"temperature": 0.2}, inputs=(rows(6, 4, 0), rows(6, 4, 1), rows(9, 4, 2)), options={"constant": (1, 2)}
    ),
    "NTXentLoss": Example({"temperature": 0.5}, inputs=(rows(6, 4, 0), rows(6, 4, 1))),
    "NTLogisticLoss": Example({"temperature": 0.5}, inputs=(rows(6, 4, 0), rows(6, 4, 1))),
    "MarginTripletLoss": Example({"margin": 0.8}, inputs=(rows(6, 4, 0), rows(6, 4, 1))),
    "NegativeCosineLoss": Example(inputs=(rows(6, 4, 0), rows(6, 4, 1)), options={"constant": (1,)}),
    "SwAVLoss": Example(inputs=([rows(6, 5, 0) / 4, rows(6, 5, 1) / 4, rows(6, 5, 2) / 4],)),
}
METHODS = {
    "BYOL": Example({"backbone": TINY, "neck": NECK, "predictor": PREDICTOR, "loss": {"type": "CosineLoss"}}),
    "Distillation": Example(
        {"backbone": TINY, "teacher": CLASSIFIER, "loss": {"type": "DistillationLoss"}, "teacher_checkpoint": "none"},
        options={"another": None, "teacher_moves": False},  # another would have another teacher
    ),
    "LinearHeads": Example(
        {"backbone": TINY, "num_classes": 5, "loss": {"type": "CrossEntropyLoss"}, "copies": 2, "bn": True},
        options={"labels": CLASSES[:4]},
    ),
    "MoCo": Example(
        {"backbone": TINY, "neck": NECK, "loss": {"type": "InfoNCELoss", "temperature": 0.2}, "queue_length": 16}
    ),
    "MoCoV3": Example(
        {
            "backbone": TINY,
            "neck": NECK,
            "predictor": PREDICTOR,
            "loss": {"type": "InBatchInfoNCELoss", "temperature": 0.2},
        }
    ),
    "SimCLR": Example({"backbone": TINY, "neck": NECK, "loss": {"type": "NTXentLoss", "temperature": 0.5}}),
    "SimSiam": Example(
        {"backbone": TINY, "neck": NECK, "predictor": PREDICTOR, "loss": {"type": "NegativeCosineLoss"}}
    ),
    "Supervised": Example(
        {key: value for key, value in CLASSIFIER.items() if key != "type"},
        options={"labels": CLASSES[:4]},
    ),
    "SwAV": Example(
        {
            "backbone": TINY,
            "neck": NECK,
            "prototypes": {"type": "Prototypes", "num_prototypes": 6},
            "loss": {"type": "SwAVLoss"},
            "queue_length": 8,
            "queue_start_epoch": 0,
        },
        options={"per_process": ("queue.rows",)},
    ),
}
_DRAWS, _DRAWS_NOTHING = {"varies": True}, {"varies": False}

TRANSFORMS = {
    "BYOLViews": Example({"size": 24}, options=_DRAWS),
    "BiTViews": Example({"size": 24}, options=_DRAWS),
    "Blur": Example(options=_DRAWS_NOTHING),
    "CenterCrop": Example({"size": 1}, options=_DRAWS_NOTHING),
    "ColorJitter": Example(
        {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "p": 1.0}, options=_DRAWS
    ),
    "Cutout": Example(options=_DRAWS),
    "FreshBackground": Example(options=_DRAWS_NOTHING),
    "FreshBackground, alpha": Example(options={"channels": 4, "varies": True}),
    "FreshFlatBackground": Example(options=_DRAWS_NOTHING),
    "GaussianBlur": Example({"sigma": (0.5, 2.0), "p": 1.0}, options=_DRAWS),
    "GaussianNoise": Example({"p": 1.0}, options=_DRAWS),
    "ImageNetC": Example({"kind": "gaussian_noise"}, options=_DRAWS),
    "ImageNetC, without chance": Example({"kind": "defocus_blur"}, options=_DRAWS_NOTHING),
    "Jpeg": Example(options=_DRAWS_NOTHING),
    "LowResolution": Example(options=_DRAWS_NOTHING),
    "MoCoViews": Example({"size": 24}, options=_DRAWS),
    "MultiView": Example(
        {"pipelines": [{"count": 2, "transforms": [{"type": "RandomResizedCrop", "size": 24}]}]}, options=_DRAWS
    ),
    "OneBranchViews": Example({"size": 24, "transforms": [{"type": "Sobel"}]}, options=_DRAWS),
    "RandAugment": Example(options=_DRAWS),
    "RandomCrop": Example({"size": 1}, options=_DRAWS),
    "RandomGray": Example({"p": 1.0}, options=_DRAWS_NOTHING),
    "RandomGray, sometimes": Example({"p": 0.5}, options=_DRAWS),
    "RandomHorizontalFlip": Example({"p": 1.0}, options=_DRAWS_NOTHING),
    "RandomHorizontalFlip, sometimes": Example(options=_DRAWS),
    "RandomResizedCrop": Example({"size": 16}, options=_DRAWS),
    "RandomRotate90": Example(options=_DRAWS),
    "Resize": Example({"size": 16}, options=_DRAWS_NOTHING),
    "SaltAndPepper": Example(options=_DRAWS),
    "ScaleJitterViews": Example({"size": 24}, options=_DRAWS),
    "Shrink": Example({"side": 16}, options=_DRAWS_NOTHING),
    "SimCLRViews": Example({"size": 24}, options=_DRAWS),
    "Sobel": Example({"p": 1.0}, options=_DRAWS_NOTHING),
    "Solarize": Example({"p": 1.0}, options=_DRAWS_NOTHING),
    "Solarize, sometimes": Example({"p": 0.5}, options=_DRAWS),
    "SupervisedViews": Example({"size": 24}, options=_DRAWS),
    "SwAVViews": Example({"sizes": (24, 16), "counts": (2, 1)}, options=_DRAWS),
}
_TREE = Hierarchy(
    ("kind",), {name: (f"kind {number % 3}",) for number, name in enumerate(Scenes(**_SCENES_ARGUMENTS).classes)}
)
_ON_FEW = _ON_SCENES | {"task": Task(train=SCENES, test=SCENES | {"split": "test"}, max_train=300, hierarchy=_TREE)}
EVALUATORS = {
    "ClassSubset": Example({"probe": {"type": "KNN", "k": 5}}, options=_ON_FEW),
    "Corruptions": Example(
        {"kinds": ["contrast"], "severities": (5,), "probe": {"type": "KNN", "k": 5}},
        options=_ON_FEW | {"unbounded": ("drop*",)},
    ),
    "Granularity": Example({"probe": {"type": "KNN", "k": 5}}, options=_ON_FEW),
    "KNN": Example({"k": 5}, options=_ON_SCENES),
    "LinearProbe": Example({"max_iterations": 5}, options=_ON_SCENES),
    "Retrieval": Example(options=_ON_SCENES),
    "SVM": Example({"costs": (1.0,)}, options=_ON_FEW),
    "FewShot": Example({"shots": (1, 2), "draws": 3}, options=_ON_SCENES),
    "LogisticRegression": Example({"l2": (1e3, 1.0)}, options=_ON_SCENES),
    "VisslKNN": Example(options=_ON_SCENES),
    "Spread": Example(options=_ON_SCENES | {"unbounded": ("rankme", "feature_std*")}),
}
TASKS = {"Task": Example({"train": SCENES, "test": SCENES | {"split": "test"}})}
HOOKS = {
    "BadImagesHook": Example(),
    "BestStepHook": Example(
        {"evaluators": {"spread": {"type": "Spread"}}, "score": "spread/rankme", "every_steps": 1, "max_images": 8}
    ),
    "CheckpointHook": Example({"every_steps": 1, "sharded": True, "asynchronous": True}),
    "CollapseWatchHook": Example({"every_steps": 1, "num_images": 4}),
    "EvaluateHook": Example({"evaluators": {"spread": {"type": "Spread"}}, "every_steps": 1, "max_images": 8}),
    "NeighborsHook": Example({"first_step": 1, "max_images": 4}),
    "OnlineHeadHook": Example({"every_steps": 1}),
    "PictureHook": Example(),
    "ProgressHook": Example(),
}

EXAMPLES: dict[str, dict[str, Example]] = {
    "backbones": BACKBONES,
    "necks": NECKS,
    "losses": LOSSES,
    "methods": METHODS,
    "transforms": TRANSFORMS,
    "evaluators": EVALUATORS,
    "tasks": TASKS,
    "hooks": HOOKS,
}

ELSEWHERE = {
    "evaluators": {
        "DetectionAP": "evaluates a detector: tests/transfer/detection",
        "Head": "needs a classifier: tests/evaluation/test_head.py",
    },
    "hooks": {"TrackersHook": "needs a tracker's package: tests/engine/test_utilization.py"},
    "methods": {"Detector": "learns from boxes: tests/transfer/detection"},
    "tasks": {"StandardTask": "needs data on disk: tests/data/test_standard.py"},
    "transforms": {
        "Preprocess": "a module that normalizes batches: tests/data/test_input_contract.py",
        "ShortSideViews": "its views have several sizes: tests/transfer/detection",
    },
}
"""Names that are no component of their registry's usual kind, with where they are tested."""
