"""timm's and torchvision's networks give the same features here, and ours the same there."""

from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.export import counterpart
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.architecture import described
from selfsup.weights.translate import find_weights
from tests.weights.networks import TINY, assert_same_features, randomized, resnet, tiny_regnet

REGNET_STAGES = [f"trunk_output.block{number}" for number in (1, 2, 3, 4)]
TIMM_STAGES = ["s1", "s2", "s3", "s4"]
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
Y_8GF_TV = {"depths": (2, 4, 10, 1), "widths": (224, 448, 896, 2016), "group_width": 56}


def build(**arguments: Any) -> nn.Module:
    return BACKBONES.build(arguments)


def pooled(reference: nn.Module) -> Any:
    reference.fc = nn.Identity()
    return reference


@pytest.fixture
def file(tmp_path: Any) -> Any:
    return tmp_path / "weights.pth"


def save(model: nn.Module, file: Any) -> nn.Module:
    torch.save(model.state_dict(), file)
    return model


@pytest.mark.parametrize(
    "arch",
    ["y_8gf", pytest.param("y_16gf", marks=pytest.mark.slow), pytest.param("y_32gf", marks=pytest.mark.slow)],
)
def test_timm_s_regnets(timm: ModuleType, file: Any, arch: str) -> None:
    name = {"y_8gf": "regnety_080", "y_16gf": "regnety_160", "y_32gf": "regnety_320"}[arch]
    reference = save(randomized(timm.create_model(name, num_classes=5)), file)
    model = build(type="RegNet", arch=arch)
    report = load_backbone(file, model, "timm")
    assert report.ignored == {"classifier": ("head.fc.weight", "head.fc.bias")}
    assert len(report.loaded) == len(model.state_dict())
    assert_same_features(
        model, reference, TIMM_STAGES, lambda x: reference.forward_head(reference.forward_features(x), pre_logits=True)
    )


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


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (TINY, None),
        (Y_8GF_TV, "regnet_y_8gf"),
        pytest.param({"arch": "y_16gf"}, "regnet_y_16gf", marks=pytest.mark.slow),
        pytest.param({"arch": "y_32gf"}, "regnet_y_32gf", marks=pytest.mark.slow),
    ],
)
def test_torchvision_s_regnets(file: Any, arguments: dict, name: str | None) -> None:
    built = getattr(torchvision.models, name)(num_classes=5) if name else tiny_regnet()
    reference = save(randomized(built), file)
    model = build(type="RegNet", **arguments)
    report = load_backbone(file, model, "torchvision")
    assert report.ignored == {"classifier": ("fc.weight", "fc.bias")}
    assert_same_features(model, reference, REGNET_STAGES, pooled(reference))


def test_torchvision_s_8gf_is_another_network_and_the_error_says_which(file: Any) -> None:
    reference = torchvision.models.regnet_y_8gf()
    with torch.device("meta"):
        model = build(type="RegNet", arch="y_8gf")
    with pytest.raises(CheckpointError, match=r"tv: the weights belong to another .*; \d+ shape mismatch: ") as caught:
        find_weights(reference.state_dict(), model, source="torchvision", file="tv")
    assert caught.value.problems[0].expected == (
        "the file holds a RegNet with 2-4-10-1 blocks of width 224-448-896-2016 in groups of 56, the model is a RegNet "
        "with 2-4-10-1 blocks of width 168-448-896-2016 in groups of 56"
    )


@pytest.mark.parametrize("depth", [18, 50, 101])
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_resnets(timm: ModuleType, file: Any, depth: int, source: str) -> None:
    make = {"torchvision": lambda: getattr(torchvision.models, f"resnet{depth}")(num_classes=5)}
    make["timm"] = lambda: timm.create_model(f"resnet{depth}", num_classes=5)
    reference = save(randomized(make[source]()), file)
    model = build(type="ResNet", depth=depth)
    assert load_backbone(file, model, source).ignored == {"classifier": ("fc.weight", "fc.bias")}
    assert_same_features(model, reference, LAYERS, pooled(reference))


def test_old_files_without_counters_are_taken(file: Any) -> None:
    reference = resnet(50)
    state = {name: tensor for name, tensor in reference.state_dict().items() if "num_batches" not in name}
    torch.save(state, file)
    model = build(type="ResNet", depth=50)
    report = load_backbone(file, model, "torchvision")
    assert len(report.kept) == 53 and all(name.endswith("num_batches_tracked") for name in report.kept)
    assert_same_features(model, reference, LAYERS, pooled(reference))


OUTWARD = [
    ("torchvision", {"type": "RegNet", **TINY}, REGNET_STAGES),
    ("torchvision", {"type": "RegNet", **TINY, "se_ratio": None, "stem_width": 8}, REGNET_STAGES),
    ("timm", {"type": "RegNet", "arch": "y_400mf"}, TIMM_STAGES),
    ("torchvision", {"type": "ResNet", "depth": 18}, LAYERS),
    ("torchvision", {"type": "ResNet", "depth": 34}, LAYERS),
    ("timm", {"type": "ResNet", "depth": 34}, LAYERS),
    ("timm", {"type": "ResNet", "depth": 50}, LAYERS),
]


@pytest.mark.parametrize(("library", "arguments", "stages"), OUTWARD)
def test_ours_load_there_strictly_and_give_the_same_features(
    timm: ModuleType, library: str, arguments: dict, stages: list[str]
) -> None:
    model = randomized(build(**arguments))
    weights, reference, _ = counterpart(model, library)
    reference.load_state_dict(weights, strict=True)
    assert_same_features(model, reference.eval(), stages, reference)


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
        ("timm", {"type": "RegNet", **TINY}),
        ("timm", {"type": "ResNet", "depth": 50, "width": 2}),
        ("torchvision", {"type": "ResNet", "depth": 50, "width": 2}),
        ("torchvision", {"type": "ResNet", "depth": 18, "stem": "cifar"}),
    ],
)
def test_a_network_that_a_library_has_not_is_rejected(timm: ModuleType, library: str, arguments: dict) -> None:
    with torch.device("meta"):
        model = build(**arguments)
    with pytest.raises(
        CheckpointError, match=f"{library}: has no network like the {arguments['type']} with .*; choose"
    ):
        counterpart(model, library)


def test_an_architecture_is_read_off_the_tensors() -> None:
    with torch.device("meta"):
        wide = build(type="ResNet", depth=101, width=2).state_dict()
        seer = build(type="RegNet", arch="y_256gf").state_dict()
    assert described(wide) == "ResNet with 3-4-23-3 blocks of width 512-1024-2048-4096"
    assert described(seer) == "RegNet with 2-7-17-1 blocks of width 746-1492-4103-10444 in groups of 373"
    assert described({"weight": torch.zeros(2)}) == ""
