import math

import numpy as np
import pytest
import torch

from selfsup.evaluation import RawPixels, Representation, Spread, Task
from selfsup.evaluation.protocols.spread import feature_std, rankme, spread_of
from tests.evaluation.pictures import SMALL, Blobs


def test_it_scores_the_test_images_and_needs_neither_labels_nor_training_images() -> None:
    images = Blobs(30, labelled=False)
    representation = Representation(RawPixels(2), SMALL)
    result = Spread().evaluate(representation, Task(test=images))
    expected = spread_of(representation.features(images).features)
    assert {name: score.value for name, score in result.scores.items()} == expected
    assert all(score.low is None and score.n is None for score in result.scores.values())


def test_rankme_agrees_with_the_paper() -> None:
    features = np.random.default_rng(0).normal(size=(40, 9)) @ np.diag(np.geomspace(1, 1e-4, 9))
    values = np.linalg.svd(features, compute_uv=False)
    shares = [value / sum(values) + 1e-7 for value in values]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert rankme(torch.tensor(features)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_of_even_directions_is_their_number(rank: int) -> None:
    features = torch.eye(8)[torch.arange(24) % rank]
    assert rankme(features) == pytest.approx(rank, rel=1e-4)


def test_rankme_of_zeros_is_one() -> None:
    assert rankme(torch.zeros(5, 4)) == pytest.approx(1, abs=1e-4)


def test_feature_std_is_zero_for_one_direction_and_one_over_sqrt_d_on_the_sphere() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.rand(50, 1, generator=generator) + 0.1
    assert feature_std(lengths * torch.tensor([[1.0, -2.0, 3.0]])) == pytest.approx(0, abs=1e-7)
    sphere = torch.randn(20_000, 16, generator=generator)
    assert feature_std(sphere) == pytest.approx(1 / 4, rel=0.01)
    assert spread_of(sphere)["feature_std_share"] == pytest.approx(1, rel=0.01)
