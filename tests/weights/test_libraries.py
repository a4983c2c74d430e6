"""timm's and torchvision's networks give the same features here, and ours the same there."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import VisionTransformer

from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.export import counterpart
from selfsup.weights.load import load_backbone
from selfsup.weights.translate import find_weights
from tests.weights import official
from tests.weights.networks import (
    LAYERS,
    REGNET,
    REGNET_STAGES,
    RESNET,
    TINY,
    assert_relatively_close,
    assert_same_features,
    images_of,
    randomized,
    rejected,
    resnet,
    saved,
    tiny_regnet,
    without_classifier,
)

Y_8GF_TV = {"depths": (2, 4, 10, 1), "widths": (224, 448, 896, 2016), "group_width": 56}
VIT = {"type": "ViT", "position": "learned", "embed_dim": 48, "depth": 3, "num_heads": 4, "image_size": 32}
VIT |= {"patch_size": 8}


def build(**arguments: Any) -> nn.Module:
    return BACKBONES.build(arguments)


def of_torchvision(name: str) -> nn.Module:
    return getattr(torchvision.models, name)(num_classes=5) if name else tiny_regnet()


def loaded(reference: nn.Module, model: nn.Module, folder: Path, source: str) -> Any:
    """The report of loading another library's network into ours."""
    return load_backbone(saved(randomized(reference).state_dict(), folder), model, source)


SLOW = pytest.mark.slow
NETWORKS = [
    ("timm", {"type": "RegNet", "arch": "y_8gf"}, "regnety_080"),
    pytest.param("timm", {"type": "RegNet", "arch": "y_16gf"}, "regnety_160", marks=SLOW),
    pytest.param("timm", {"type": "RegNet", "arch": "y_32gf"}, "regnety_320", marks=SLOW),
    ("torchvision", REGNET, ""),
    ("torchvision", {"type": "RegNet", **Y_8GF_TV}, "regnet_y_8gf"),
    pytest.param("torchvision", {"type": "RegNet", "arch": "y_16gf"}, "regnet_y_16gf", marks=SLOW),
    pytest.param("torchvision", {"type": "RegNet", "arch": "y_32gf"}, "regnet_y_32gf", marks=SLOW),
    *((library, RESNET | {"depth": d}, f"resnet{d}") for library in ("torchvision", "timm") for d in (18, 50, 101)),
]
STAGES = {"RegNet": {"torchvision": REGNET_STAGES, "timm": ["s1", "s2", "s3", "s4"]}}
STAGES |= {"ResNet": {"torchvision": LAYERS, "timm": LAYERS}}


@pytest.mark.parametrize(("library", "arguments", "name"), NETWORKS)
def test_features_and_maps_are_those_of_the_library_s_network(
    timm: ModuleType, tmp_path: Path, library: str, arguments: dict[str, Any], name: str
) -> None:
    reference: Any = timm.create_model(name, num_classes=5) if library == "timm" else of_torchvision(name)
    report = loaded(reference, model := build(**arguments), tmp_path, library)
    classifier = "head.fc" if name.startswith("regnety") else "fc"
    assert report.ignored == {"classifier": (f"{classifier}.weight", f"{classifier}.bias")}
    assert len(report.loaded) == len(model.state_dict())
    if library == "timm":
        reference.reset_classifier(0)
    else:
        without_classifier(reference)
    assert_same_features(model, reference, STAGES[arguments["type"]][library], reference)


@pytest.mark.parametrize(
    ("arch", "name"), [("y_64gf", "regnety_640"), ("y_128gf", "regnety_1280"), ("y_256gf", "regnety_2560")]
)
def test_every_tensor_of_timm_s_large_regnets_has_a_place(timm: ModuleType, arch: str, name: str) -> None:
    with torch.device("meta"):
        reference, model = timm.create_model(name, num_classes=5), build(type="RegNet", arch=arch)
    weights, report = find_weights(reference.state_dict(), model, source="timm", file=name)
    assert list(weights) == list(model.state_dict())
    assert report.complete and report.ignored == {"classifier": ("head.fc.weight", "head.fc.bias")}
    assert len(weights) + 2 == len(reference.state_dict())


def test_torchvision_s_8gf_is_another_network_and_the_error_says_which() -> None:
    reference = torchvision.models.regnet_y_8gf()
    with torch.device("meta"):
        model = build(type="RegNet", arch="y_8gf")
    with pytest.raises(CheckpointError, match=r"tv: the weights belong to another .*; \d+ shape mismatch: ") as caught:
        find_weights(reference.state_dict(), model, source="torchvision", file="tv")
    assert caught.value.problems[0].expected == (
        "the file holds a RegNet with 2-4-10-1 blocks of width 224-448-896-2016 in groups of 56, the model is a RegNet "
        "with 2-4-10-1 blocks of width 168-448-896-2016 in groups of 56"
    )


def test_old_files_without_counters_are_taken(tmp_path: Path) -> None:
    reference, model = resnet(50), build(type="ResNet", depth=50)
    state = {name: tensor for name, tensor in reference.state_dict().items() if "num_batches" not in name}
    report = load_backbone(saved(state, tmp_path), model, "torchvision")
    assert len(report.kept) == 53 and all(name.endswith("num_batches_tracked") for name in report.kept)
    assert_same_features(model, reference, LAYERS, without_classifier(reference))


def timm_vit(timm: ModuleType, num_heads: int = 4) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": num_heads}
    return randomized(timm.models.VisionTransformer(num_classes=5, **sizes))


def torchvision_vit() -> nn.Module:
    return randomized(VisionTransformer(32, 8, 3, 4, 48, 4 * 48, num_classes=5))


def old_names(state: official.State) -> official.State:
    """As torchvision called the linear layers before."""
    renamed = {name.replace("mlp.0.", "mlp.linear_1."): tensor for name, tensor in state.items()}
    return {name.replace("mlp.3.", "mlp.linear_2."): tensor for name, tensor in renamed.items()}


@torch.no_grad()
@pytest.mark.parametrize("file", ["timm", "moco v3", "torchvision", "torchvision, old names"])
def test_vits(timm: ModuleType, tmp_path: Path, file: str) -> None:
    source, heads = file.split(" ")[0].rstrip(","), 12 if file == "moco v3" else 4
    reference = torchvision_vit() if source == "torchvision" else timm_vit(timm, heads)
    state = official.moco_v3(reference, "head.") if source == "moco" else reference.state_dict()
    path = saved(old_names(state) if file.endswith("old names") else state, tmp_path)
    model = build(**{**VIT, "num_heads": heads}).eval()
    report = load_backbone(path, model, source)
    ignored = ["predictor", "projection head", "teacher"] if source == "moco" else ["classifier"]
    assert sorted(report.ignored) == ignored and not report.kept
    setattr(reference, "heads" if source == "torchvision" else "head", nn.Identity())
    images = images_of(32, 3)
    assert_relatively_close(model(images), reference(images))


def test_another_number_of_positions_is_explained(tmp_path: Path) -> None:
    larger = build(**{**VIT, "image_size": 64})
    message = rejected(torchvision_vit().state_dict(), larger, tmp_path, "torchvision").message
    assert message.endswith("; 1 shape mismatch: pos_embed: (1, 17, 48), expected (1, 65, 48)")


SMALL = {"type": "ViT", "arch": "small", "position": "learned"}
OUTWARD: list[tuple[str, dict[str, Any], list[str]]] = [
    ("torchvision", REGNET, REGNET_STAGES),
    ("torchvision", {"type": "RegNet", **TINY, "se_ratio": None, "stem_width": 8}, REGNET_STAGES),
    ("timm", {"type": "RegNet", "arch": "y_400mf"}, STAGES["RegNet"]["timm"]),
    ("torchvision", {"type": "ResNet", "depth": 18}, LAYERS),
    ("torchvision", {"type": "ResNet", "depth": 34}, LAYERS),
    ("timm", {"type": "ResNet", "depth": 34}, LAYERS),
    ("timm", {"type": "ResNet", "depth": 50}, LAYERS),
    ("torchvision", VIT, []),
    ("timm", SMALL, []),
    ("timm", {**SMALL, "pool": "mean"}, []),
]


@torch.no_grad()
@pytest.mark.parametrize(("library", "arguments", "stages"), OUTWARD)
def test_ours_load_there_strictly_and_give_the_same_features(
    timm: ModuleType, library: str, arguments: dict, stages: list[str]
) -> None:
    model = randomized(build(**arguments))
    weights, reference, _ = counterpart(model, library)
    reference.eval().load_state_dict(weights, strict=True)
    if stages:
        assert_same_features(model, reference, stages, reference)
    else:
        images = images_of(arguments.get("image_size", 224), 3)
        assert_relatively_close(model(images), reference(images))


@pytest.mark.parametrize("arch", ["y_8gf", "y_64gf", "y_256gf"])
def test_the_counterpart_of_a_named_regnet_has_its_names_and_shapes(arch: str) -> None:
    with torch.device("meta"):
        model = build(type="RegNet", arch=arch)
        weights, reference, code = counterpart(model, "torchvision")
    expected = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    assert {name: tensor.shape for name, tensor in weights.items()} == expected
    assert str(list(model.widths)) in code


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("timm", REGNET),
        ("timm", {"type": "ResNet", "depth": 50, "width": 2}),
        ("torchvision", {"type": "ResNet", "depth": 50, "width": 2}),
        ("torchvision", {"type": "ResNet", "depth": 18, "stem": "cifar"}),
        ("timm", VIT),
        ("timm", {**VIT, "embed_dim": 384, "depth": 12, "num_heads": 12}),
        ("torchvision", {**VIT, "pool": "mean"}),
    ],
)
def test_a_network_that_a_library_has_not_is_rejected(timm: ModuleType, library: str, arguments: dict) -> None:
    with torch.device("meta"):
        model = build(**arguments)
    with pytest.raises(CheckpointError, match=f"{library}: has no network like the {arguments['type']} with .*;"):
        counterpart(model, library)
