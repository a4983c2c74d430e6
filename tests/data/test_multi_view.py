"""Pipelines composed from any transforms."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.config.validate import find_problems
from selfsup.data.transforms import RandomGray, RandomResizedCrop
from selfsup.data.views.method_views import SwAVViews
from selfsup.data.views.multi_view import MultiView, Pipeline
from selfsup.errors import DataError
from selfsup.registry import TRANSFORMS
from tests.data.pictures import picture
from tests.engine.tiny_run import tiny_config


def test_multi_view_is_built_from_dicts_and_keeps_their_order() -> None:
    resized = dict(count=2, transforms=[dict(type="Resize", size=[8, 9]), RandomGray(1.0)])
    pipelines = [dict(transforms=[dict(type="CenterCrop", size=16)]), resized]
    views = TRANSFORMS.build(dict(type="MultiView", pipelines=pipelines))
    made = views(picture(20, 30), np.random.default_rng(0))
    assert [view.shape for view in made] == [(16, 16, 3), (8, 9, 3), (8, 9, 3)]
    assert views.describe().splitlines()[:2] == ["1 view:", "  CenterCrop(size=16)"]
    assert "2 views:" in views.describe()
    assert (made[1][..., 0] == made[1][..., 1]).all()


def test_a_pipeline_makes_one_view_unless_it_says_otherwise() -> None:
    assert Pipeline().count == 1
    pipelines = [dict(transforms=[dict(type="RandomGray")])]
    views = dict(type="MultiView", pipelines=pipelines)
    loader = dict(batch_size=8, dataset=dict(type="Scenes"), views=views)
    config = dict(tiny_config(Path("unused")), train_dataloader=loader)
    assert find_problems(config) == []
    pipelines[0]["number"] = 2
    (problem,) = find_problems(config)
    assert (problem.path, problem.got) == ("train_dataloader.views.pipelines.0.number", 2)


def test_before_gives_every_view_a_background_of_its_own() -> None:
    empty = np.zeros((24, 24, 4), np.uint8)
    views = SwAVViews(
        (16,), (4,), scales=((0.9, 1.0),), strength=0.0, before=[dict(type="FreshBackground", kinds=("flat",))]
    )
    colors = {tuple(view[8, 8]) for view in views(empty, np.random.default_rng(0))}
    assert len(colors) == 4
    with pytest.raises(DataError, match=r"FreshBackground.* lays an image with alpha on a background"):
        SwAVViews((16,), (1,), scales=((0.9, 1.0),))(empty, np.random.default_rng(0))


def test_what_is_shared_is_drawn_once_for_all_views() -> None:
    views = MultiView(
        [dict(transforms=[]), dict(count=2, transforms=[RandomGray(1.0)])],
        shared=[dict(type="RandomResizedCrop", size=24, scale=(0.2, 0.5))],
    )
    image, rng = picture(60, 80), np.random.default_rng(0)
    first, second, third = views(image, rng)
    crop = RandomResizedCrop(24, (0.2, 0.5))(image, np.random.default_rng(0))
    np.testing.assert_array_equal(first, crop)
    np.testing.assert_array_equal(second, RandomGray(1.0)(crop, rng))
    np.testing.assert_array_equal(third, second)
    assert (views(image, rng)[0] != first).any()
    assert views.describe().splitlines()[0] == "once:"
    assert "1 view:\n  as it is\n2 views:\n  RandomGray(p=1.0)" in views.describe()


@pytest.mark.parametrize("made, got", [(None, "NoneType"), (np.zeros((4, 4), np.uint8), "uint8 (4, 4)"),
                                       (np.zeros((4, 4, 3), np.float32), "float32 (4, 4, 3)")])  # fmt: skip
@pytest.mark.parametrize("where", ["before", "shared", "transforms"])
def test_a_transform_that_gives_no_image_is_named_before_the_next_one_sees_it(
    made: object, got: str, where: str
) -> None:
    def strange(image: np.ndarray, rng: np.random.Generator) -> object:
        return made

    def never(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise AssertionError("must not be reached")

    parts: dict[str, Any] = {"before": [], "shared": [], "transforms": []} | {where: [strange, never]}
    pipeline = {"transforms": parts.pop("transforms") or [never]}
    with pytest.raises(DataError, match=f"must return an image.*, got {re.escape(got)}"):
        MultiView([pipeline], **parts)(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
