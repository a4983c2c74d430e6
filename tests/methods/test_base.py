import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError
from selfsup.losses import InfoNCELoss, NTXentLoss
from selfsup.methods import Method
from selfsup.registry import METHODS
from tests.methods.tiny import TinyBackbone, images


def test_a_batch_is_normalized_and_its_views_and_labels_reach_the_loss() -> None:
    class Seen(Method):
        def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
            self.seen = views, labels
            return {}

    method = Seen(TinyBackbone())
    views = [torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8) for size in (8, 6)]
    method({"views": views, "index": torch.tensor([4, 5]), "bad": [], "label": torch.tensor([1, 0])})
    seen, labels = method.seen
    for view, expected in zip(seen, method.preprocess(views), strict=True):
        assert torch.equal(view, expected)
    assert labels is not None and labels.tolist() == [1, 0]
    normalized = images(8)
    method({"views": normalized})
    assert method.seen == (normalized, None)
    method.channels_last = True
    method({"views": views})
    assert method.seen[0][0].is_contiguous(memory_format=torch.channels_last)


def test_features_are_those_of_the_representation_from_uint8_or_normalized_images() -> None:
    method = Method(TinyBackbone()).eval()
    assert method.representation is method.backbone
    raw = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    expected = method.backbone(method.preprocess(raw))
    for given in (raw, method.preprocess(raw)):
        torch.testing.assert_close(method(given, mode="features"), expected)
    method.backbone.feature_maps = lambda seen: [torch.full((2, 3, 2, 2), number) * seen.mean() for number in range(4)]
    torch.testing.assert_close(
        method(raw, mode="features", layer="res3"), torch.ones(2, 3) * method.preprocess(raw).mean()
    )


@pytest.mark.parametrize("arguments", [{"mode": "predict"}, {"mode": "features", "layer": "res6"}])
def test_an_unknown_mode_or_layer_is_rejected(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be .*, got '(predict|res6)'"):
        Method(TinyBackbone())(images(8)[0], **arguments)


def test_a_backbone_without_out_dim_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"backbone: Linear has no 'out_dim'"):
        Method(nn.Linear(2, 2))


def test_preprocess_is_built_from_its_arguments_and_left_out_of_the_state() -> None:
    method = Method(TinyBackbone(), preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
    view = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    torch.testing.assert_close(method.preprocess([view])[0], torch.full((1, 3, 2, 2), 2.0))
    assert isinstance(Method(TinyBackbone()).preprocess, Preprocess)
    assert all(name.startswith("backbone.") for name in method.state_dict())


NECK = {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 4}
RESNET = {"type": "ResNet", "depth": 18, "width": 0.125}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": {"type": "InfoNCELoss", "temperature": 0}}, "loss.temperature: must be > 0, got 0"),
        ({"preprocess": {"std": (0, 1, 1)}}, "preprocess.std: must be > 0, got (0, 1, 1)"),
    ],
)
def test_what_a_part_rejects_is_said_with_its_place_when_the_method_is_built(change: dict[str, Any], said: str) -> None:
    loss = {"type": "InfoNCELoss", "temperature": 0.2}
    with pytest.raises(ConfigError) as caught:
        METHODS.build({"type": "MoCo", "backbone": RESNET, "neck": NECK, "loss": loss, **change})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        ("SimCLR", InfoNCELoss(0.2), "must take (z_a, z_b), and InfoNCELoss takes (query, key, queue)"),
        ("BYOL", NTXentLoss(), "must take (prediction, target), and NTXentLoss takes (z_a, z_b)"),
        ("MoCoV3", InfoNCELoss(0.2), "must take (query, key), and InfoNCELoss takes (query, key, queue)"),
        ("Supervised", InfoNCELoss(0.2), "must take (scores, targets), and InfoNCELoss takes (query, key, queue)"),
        (
            "SwAV",
            NTXentLoss(),
            "must take (scores, queue_scores) as its assign, and NTXentLoss has no assign",
        ),
        (
            "Distillation",
            InfoNCELoss(0.2),
            "must take (student_scores, teacher_scores), and InfoNCELoss takes (query, key, queue)",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_told_when_the_method_is_built(kind: str, wrong: nn.Module, said: str) -> None:
    teacher = {"type": "Supervised", "backbone": RESNET, "num_classes": 3, "loss": {"type": "CrossEntropyLoss"}}
    parts: dict[str, Any] = {"neck": NECK, "predictor": {**NECK}, "num_classes": 3, "teacher": teacher}
    parts["prototypes"] = {"type": "Prototypes", "num_prototypes": 5}
    parts["teacher_checkpoint"] = "teacher.pth"
    takes = inspect.signature(METHODS.find(kind)).parameters
    given = {name: part for name, part in parts.items() if name in takes}
    with pytest.raises(ConfigError) as caught:
        METHODS.build({"type": kind, "backbone": RESNET, "loss": wrong, **given})
    assert str(caught.value).startswith(f"loss: {said}")


class Named(nn.Module):
    def forward(self, z_a: Tensor, z_b: Tensor, weight: float = 1.0) -> Tensor:
        return weight * (z_a - z_b).square().mean()


def test_a_loss_of_ones_own_names_what_it_takes() -> None:
    loss = Named()
    assert METHODS.build({"type": "SimCLR", "backbone": RESNET, "neck": NECK, "loss": loss}).criterion is loss
