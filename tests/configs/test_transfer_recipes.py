"""The papers' transfers say what recipes.md has: rates over the whole curve, epochs, decays, augmentation."""

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from selfsup.config import config_names, load_config
from selfsup.data.transforms.blur import GaussianBlur
from selfsup.data.transforms.color import ColorJitter, RandomGray
from selfsup.data.transforms.geometry import RandomResizedCrop
from selfsup.data.transforms.orientation import RandomHorizontalFlip
from selfsup.evaluation.build import run_contract
from selfsup.planning.describe import rate_curve
from selfsup.registry import TRANSFORMS
from tests.configs.test_recipes import plan
from tests.reference import record


@dataclass(frozen=True)
class Said:
    """What a paper or its code says.

    Args:
        epochs: of the run.
        batch: images per update.
        lr: at the start.
        drops: epochs after which the rate is multiplied; None for a cosine to 0.
        factor: with what.
        decay: of the weights.
        nesterov: whether the momentum of 0.9 is Nesterov's.
        optimizer: its name.
        variant: of LARS.
        trust: its coefficient.
        groups: parameters with another rate.
        per_epoch: whether the cosine moves once per epoch.
        sync_bn: processes that share batch norm.
    """

    epochs: int
    batch: int
    lr: float
    drops: tuple[int, ...] | None = None
    factor: float = 0.1
    decay: float = 0.0
    nesterov: bool = False
    optimizer: str = "SGD"
    variant: str | None = None
    trust: float | None = None
    groups: tuple[dict[str, Any], ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    per_epoch: bool = False
    sync_bn: str | int | None = None


KEPT = {"neck": {"type": "HiddenLayers", "hidden_dims": (8192,), "bn": False, "fresh_bn": True}}
NO_DECAY = {"kinds": "norm", "weight_decay": 0.0}
FEW = Said(70, 128, 0.05 * 128 / 256, (30,), nesterov=True, model=KEPT, sync_bn=8)


def probe(epochs: int, drops: tuple[int, ...], num_classes: int, sync_bn: str | int = "all") -> Said:
    heads = {"layers": ("res4:2x1", "res5:1x2", "pooled"), "bn": True, "num_classes": num_classes}
    more: dict[str, Any] = {"groups": (NO_DECAY,), "model": heads, "sync_bn": sync_bn}
    return Said(epochs, 256, 0.01, drops, decay=5e-4, nesterov=True, **more)


SAYS = {
    "byol_linear_resnet50": Said(80, 1024, 0.2 * 1024 / 256, nesterov=True),
    "moco_linear_resnet50": Said(100, 256, 30.0, (60, 80)),
    "seer_finetune_regnety256": Said(35, 256, 0.0125, (30,), decay=1e-4, model=KEPT),
    "seer_finetune_regnety256_384": Said(35, 256, 0.0125, (30,), decay=1e-4, model=KEPT),
    "seer_linear_imagenet_regnety256": probe(28, (8, 16, 24), 1000),
    "seer_linear_inat18_regnety256": probe(84, (24, 48, 72), 8142, sync_bn=16),
    "seer_linear_openimages_regnety256": Said(
        16, 1024, 0.003, (2, 4, 6), decay=1e-4, nesterov=True, model={"layers": ("pooled",), "num_classes": 9605}
    ),
    "seer_linear_places205_regnety256": probe(14, (4, 8, 12), 205),
    "seer_low_shot_10percent_regnety256": FEW,
    "seer_low_shot_1percent_regnety256": FEW,
    "simclr_finetune_10percent_resnet50": Said(30, 4096, 0.8, nesterov=True, sync_bn="all"),
    "simclr_finetune_1percent_resnet50": Said(60, 4096, 0.8, nesterov=True, sync_bn="all"),
    "simclr_linear_resnet50": Said(90, 4096, 1.6, decay=1e-6, nesterov=True, model={"init_std": 0.0}),
    "simsiam_linear_resnet50": Said(90, 4096, 1.6, optimizer="LARS", variant="larc", trust=0.001, per_epoch=True),
    "swav_finetune_10percent_resnet50": Said(
        20, 256, 0.01, (12, 16), 0.2, groups=({"match": "classifier.*", "lr_scale": 20.0},), sync_bn="all"
    ),
    "swav_finetune_1percent_resnet50": Said(
        20, 256, 0.02, (12, 16), 0.2, groups=({"match": "classifier.*", "lr_scale": 250.0},), sync_bn="all"
    ),
    "swav_linear_resnet50": Said(100, 256, 0.3, decay=1e-6, per_epoch=True),
}
SHARES = (1, 5, 10, 20, 50)
SAYS |= {
    f"seer_places205_{share}percent_regnety256": replace(FEW, model=KEPT | {"num_classes": 205}) for share in SHARES
}
IMAGES = {f"{kind}_1percent": 12_811 for kind in ("low_shot", "finetune")}
IMAGES |= {f"{kind}_10percent": 128_116 for kind in ("low_shot", "finetune")}
IMAGES |= {f"places205_{share}percent": round(2_448_873 * share / 100) for share in SHARES}


def test_every_transfer_is_listed_here() -> None:
    detectors = {"bit_retinanet_resnet101_w3", "detection_scenes", "seer_mask_rcnn_regnety128"}  # tests/transfer
    transfers = {name.removeprefix("transfer/") for name in config_names() if name.startswith("transfer/")}
    assert transfers - detectors == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_it_says_what_its_source_says(name: str) -> None:
    said, recipe, found = SAYS[name], load_config(f"transfer/{name}"), plan(f"transfer/{name}")
    steps, per_epoch = found.steps, found.steps_per_epoch
    assert steps is not None and per_epoch is not None
    assert found.effective_batch == said.batch
    assert recipe.sync_bn == said.sync_bn
    assert steps == said.epochs * per_epoch
    optimizer = recipe.optim_wrapper["optimizer"]
    assert (optimizer["type"], optimizer.get("variant")) == (said.optimizer, said.variant)
    assert optimizer.get("trust_coefficient") == said.trust
    assert optimizer["momentum"] == 0.9
    assert optimizer.get("nesterov", False) is said.nesterov
    assert optimizer["weight_decay"] == said.decay
    groups = [dict(group) for group in recipe.optim_wrapper.get("param_groups", ())]
    assert groups == [pytest.approx(group) if "match" not in group else group for group in said.groups]
    rate = rate_curve(recipe, steps=steps, steps_per_epoch=per_epoch)
    for step in {*range(0, steps, max(1, steps // 500)), steps - 1}:
        where = step // per_epoch * per_epoch if said.per_epoch else step
        if said.drops is None:
            expected = said.lr * 0.5 * (1 + math.cos(math.pi * where / steps))
        else:
            expected = said.lr * said.factor ** sum(step >= epoch * per_epoch for epoch in said.drops)
        assert rate(step) == pytest.approx(expected, rel=1e-9, abs=1e-12), step
    for key, value in said.model.items():
        held = recipe.model[key]
        assert (value.items() <= held.items()) if isinstance(value, dict) else held == value, key
    for part, count in IMAGES.items():
        if f"{part}_" in name:
            assert recipe.train_dataloader.num_images == count


@dataclass(frozen=True)
class Shown:
    """How a paper or its code shows images, and how its classifier starts.

    Args:
        side: of the crops in pixels, and of test images.
        crop: how crops are resized.
        resize: of test images.
        test: how those are resized.
        colors: whether SwAV's colors and blur follow crop and flip.
        head: standard deviation of the classifier's first weights; 0 for one that starts at zero, None for PyTorch's
            own way.
    """

    side: int
    crop: str
    resize: str = "shorter:256"
    test: str = "bilinear"
    colors: bool = False
    head: float | None = None


SIMCLR = Shown(224, "bicubic", test="bicubic", head=0.0)  # tf2/data_util.py, center_crop
SEER = Shown(224, "bilinear")  # low-shot
LINEAR = Shown(224, "bilinear", head=0.01)
SHOWN = {
    "byol_linear_resnet50": Shown(224, "bicubic", test="bicubic", head=0.01),  # byol/utils/dataset.py
    "moco_linear_resnet50": LINEAR,
    "seer_finetune_regnety256": Shown(224, "bilinear", colors=True),
    "seer_finetune_regnety256_384": Shown(384, "bicubic", "shorter:384", "bicubic", colors=True),
    "seer_linear_imagenet_regnety256": LINEAR,
    "seer_linear_inat18_regnety256": LINEAR,
    "seer_linear_openimages_regnety256": LINEAR,
    "seer_linear_places205_regnety256": LINEAR,
    "seer_low_shot_10percent_regnety256": SEER,
    "seer_low_shot_1percent_regnety256": SEER,
    **{f"seer_places205_{share}percent_regnety256": SEER for share in SHARES},
    "simclr_finetune_10percent_resnet50": SIMCLR,
    "simclr_finetune_1percent_resnet50": SIMCLR,
    "simclr_linear_resnet50": SIMCLR,
    "simsiam_linear_resnet50": LINEAR,
    "swav_finetune_10percent_resnet50": Shown(224, "bilinear"),
    "swav_finetune_1percent_resnet50": Shown(224, "bilinear"),
    "swav_linear_resnet50": LINEAR,
}
SWAV_COLORS = (
    ColorJitter(0.8, 0.8, saturation=0.8, hue=0.2, p=0.8, order="random", brightness_mode="multiplicative"),
    RandomGray(0.2),
    GaussianBlur((0.1, 2.0), 0.5, kernel="full"),
)


@pytest.mark.parametrize("name", SAYS)
def test_its_augmentation_is_the_papers(name: str) -> None:
    said, views = SHOWN[name], TRANSFORMS.build(dict(load_config(f"transfer/{name}").train_dataloader.views))
    (pipeline,) = views.pipelines
    crop = RandomResizedCrop(said.side, (0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=said.crop, attempts=10)
    assert pipeline.count == 1 and not views.before and not views.shared
    assert pipeline.transforms == (crop, RandomHorizontalFlip(0.5), *(SWAV_COLORS if said.colors else ()))


@pytest.mark.parametrize("name", SAYS)
def test_test_images_are_shown_as_the_paper_does(name: str) -> None:
    said, recipe = SHOWN[name], load_config(f"transfer/{name}")
    method: Any = SimpleNamespace(preprocess=SimpleNamespace(mean=torch.zeros(3), std=torch.ones(3)))
    contract = run_contract(recipe.input_contract, method, TRANSFORMS.build(dict(recipe.train_dataloader.views)))
    found = (contract.size, contract.resize, contract.crop, contract.interpolation)
    assert found == (said.side, said.resize, "center", said.test)


@pytest.mark.parametrize("name", SAYS)
def test_the_classifier_starts_as_the_papers(name: str) -> None:
    said, model = SHOWN[name], load_config(f"transfer/{name}").model
    if model["type"] == "LinearHeads":
        assert model["init_std"] == said.head
    else:
        assert model["zero_init_head"] is (said.head == 0)


def test_seers_rate_is_that_of_the_conformance_record() -> None:
    expected = record("schedule/base_lrs")["expected"]["seer_finetune_256"]
    recipe = load_config("transfer/seer_finetune_regnety256")
    assert recipe.optim_wrapper["optimizer"]["lr"] == pytest.approx(expected)


def test_swav_normalizes_as_its_code_does_and_simclr_not_at_all() -> None:
    for name in SAYS:
        preprocess = load_config(f"transfer/{name}").model["preprocess"]
        deviation = 0.228 if name.startswith("swav") else 1.0 if name.startswith("simclr") else 0.229
        assert preprocess["std"][0] == deviation, name


@pytest.mark.parametrize("share", SHARES)
def test_shares_of_places205_are_of_every_class(share: int) -> None:
    dataset = load_config(f"transfer/seer_places205_{share}percent_regnety256").train_dataloader.dataset
    assert (dataset["fraction"], dataset["stratified"], dataset["dataset"]["split"]) == (share / 100, True, "train")
