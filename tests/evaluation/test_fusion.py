"""Fusion: features side by side, each network by its own input contract."""

from typing import Any

import pytest
import torch
from torch import nn

from selfsup.backbones import ResNet
from selfsup.errors import ConfigError
from selfsup.evaluation import KNN, Fusion, RawPixels, Representation, Task
from selfsup.evaluation.rows import row_of
from tests.evaluation.pictures import SMALL, Blobs
from tests.reference import record

A = Representation(RawPixels(2), SMALL, name="a")
B = Representation(RawPixels(4), SMALL.replace(std=(0.1, 0.1, 0.1)), name="b")
IMAGES = Blobs(30)


def test_features_stand_side_by_side() -> None:
    found = Fusion(A, B).features(IMAGES)
    parts = [each.features(IMAGES).features for each in (A, B)]
    assert torch.equal(found.features, torch.cat(parts, dim=1))
    assert found.labels is not None and found.labels.tolist() == IMAGES.labels.tolist()


def test_the_dimensions_are_those_of_the_conformance_record() -> None:
    expected = record("eval/fusion_dims")["expected"]
    with torch.device("meta"):
        dims = 2 * ResNet(50).out_dim
        heads = {name: nn.Linear(dims, classes) for name, classes in CLASSES.items()}
    assert dims == expected["dim"]
    for name, head in heads.items():
        assert sum(each.numel() for each in head.parameters()) == expected[f"linear_{name}"]


CLASSES = {"imagenet": 1000, "inat21": 10_000, "places365": 365, "glc20": 16}


def test_scalings_are_what_they_say() -> None:
    lengths = Fusion(A, B, scaling="normalize").features(IMAGES).features.split([12, 48], dim=1)
    for part in lengths:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(30))
    scaled = Fusion(A, B, scaling="standardize", reference=IMAGES)
    whole = scaled.features(IMAGES).features
    torch.testing.assert_close(whole.mean(dim=0), torch.zeros(60), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.std(dim=0, correction=0), torch.ones(60))
    assert not torch.allclose(scaled.features(Blobs(30, seed=1)).features.mean(dim=0), torch.zeros(60), atol=1e-2)


def test_it_is_evaluated_like_any_representation_and_its_row_names_all_that_matters() -> None:
    task = Task(train=IMAGES, test=Blobs(20, seed=1, prefix="test"))
    assert KNN().evaluate(Fusion(A, B), task).scores["top1"].value > 0.5
    rows = [
        row_of(each, task, "knn", KNN()).identity
        for each in (Fusion(A, B), Fusion(B, A), Fusion(A, B, scaling="normalize"), A)
    ]
    assert len(set(rows)) == 4
    row = row_of(Fusion(A, B), task, "knn", KNN())
    assert (row.identity, row.representation["name"], row.representation["scaling"]) == (rows[0], "a+b", "none")
    assert [each["name"] for each in row.representation["fused"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("parts", "options", "path"),
    [
        ((A,), {}, "representations"),
        ((A, B), {"scaling": "sum"}, "scaling"),
        ((A, B), {"scaling": "standardize"}, "reference"),
    ],
)
def test_what_cannot_be_fused_is_rejected(parts: Any, options: Any, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        Fusion(*parts, **options)
    assert error.value.problems[0].path == path
