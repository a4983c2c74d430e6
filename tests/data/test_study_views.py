"""SimCLR's study of augmentations: one branch transformed, the other left as it is."""

from itertools import product

import numpy as np
import pytest

from selfsup.config.read import read_config
from selfsup.config.validate import find_problems
from selfsup.data.transforms import GaussianBlur, RandomGray, RandomResizedCrop, RandomRotate90
from selfsup.data.transforms.color import to_gray
from selfsup.data.views.method_views import SimCLRViews
from selfsup.data.views.study_views import STUDY_GRID, OneBranchViews, study_transforms
from selfsup.registry import TRANSFORMS
from tests.config.small import write
from tests.data.pictures import picture


def pair(first: str, second: str, size: int = 32) -> dict:
    """One entry of the paper's figure 5 as a config."""
    operators = study_transforms(size)
    transforms = operators[first] + (operators[second] if first != second else [])
    return dict(type="OneBranchViews", size=size, transforms=transforms)


@pytest.mark.parametrize(("first", "second"), list(product(STUDY_GRID, repeat=2)))
def test_every_entry_of_the_grid_is_built_from_a_config(first: str, second: str) -> None:
    views = TRANSFORMS.build(pair(first, second))
    expected = [item["type"] for name in dict.fromkeys((first, second)) for item in study_transforms()[name]]
    assert [type(transform).__name__ for transform in views.pipelines[1].transforms] == expected
    image, rng = picture(60, 80), np.random.default_rng(0)
    made = [views(image, rng) for _ in range(12)]
    assert {view.shape for views in made for view in views} == {(32, 32, 3)}
    assert any((left != right).any() for left, right in made)


def test_the_study_validates_as_a_config(tmp_path) -> None:
    config = read_config(write(tmp_path))
    config["train_dataloader"]["views"] = pair("color", "cutout")
    assert find_problems(config) == []
    config["train_dataloader"]["views"]["transforms"][2]["type"] = "CutOut2"
    (problem,) = find_problems(config)
    assert problem.path == "train_dataloader.views.transforms.2.type"
    assert problem.expected == "did you mean 'Cutout'?"


def test_the_operators_of_simclr_are_those_of_its_pipeline() -> None:
    operators = {
        name: tuple(TRANSFORMS.build(item) for item in items)
        for name, items in study_transforms(96, strength=0.5).items()
    }
    (pipeline,) = SimCLRViews(96, 0.5).pipelines
    assert operators["crop"] == pipeline.transforms[:2]
    assert operators["resize"] == pipeline.transforms[:1]
    assert operators["color"] == pipeline.transforms[2:4]
    assert operators["blur"] == pipeline.transforms[4:]
    assert operators["drop"] == (RandomGray(1.0),)
    assert tuple(operators)[: len(STUDY_GRID)] == STUDY_GRID
    changed = study_transforms()
    changed["crop"][0]["size"] = 1
    assert changed["resize"][0]["size"] == study_transforms()["crop"][0]["size"] == 224


def test_only_one_branch_is_transformed_after_the_crop_of_simclr() -> None:
    image, rng = picture(90, 120), np.random.default_rng(3)
    views = OneBranchViews(48, [GaussianBlur()])
    assert views.shared == (RandomResizedCrop(48, (0.08, 1.0), interpolation="bicubic", attempts=100),)
    left, _ = views(image, np.random.default_rng(5))
    np.testing.assert_array_equal(left, views.shared[0](image, np.random.default_rng(5)))
    for _ in range(20):
        left, right = OneBranchViews(48, [RandomGray(1.0)])(image, rng)
        np.testing.assert_array_equal(right, to_gray(left))
        assert (left != right).any()
        left, right = OneBranchViews(48, [RandomRotate90((90,)), RandomGray(1.0)])(image, rng)
        np.testing.assert_array_equal(right, to_gray(np.ascontiguousarray(np.rot90(left))))


def test_what_comes_before_is_common_to_both_branches() -> None:
    empty = np.zeros((24, 24, 4), np.uint8)
    views = OneBranchViews(16, [RandomRotate90()], before=[dict(type="FreshBackground", kinds=("flat",))])
    rng, colors = np.random.default_rng(0), set()
    for _ in range(5):
        left, right = views(empty, rng)
        np.testing.assert_array_equal(left, right)
        colors.add(tuple(left[0, 0]))
    assert len(colors) == 5
