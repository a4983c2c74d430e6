"""Boxes and masks move with the image."""

from typing import Any

import numpy as np
import pytest

from selfsup.data import CrowdedScenes, ScaleJitterViews, ShortSideViews, ViewDataset
from selfsup.data.views.detection_views import cut, mirrored, resized


def tight(mask: np.ndarray) -> list[int]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]


def example(seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Two rectangles, which can be seen in the image, too: the color of a pixel is that of its object."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 48, 64), np.uint8)
    masks[0, 4:20, 5:30] = 1
    masks[1, 25 : rng.integers(30, 48), 33 : rng.integers(40, 64)] = 1
    image = (masks[..., None] * np.array([100, 200]).reshape(2, 1, 1, 1)).sum(0).astype(np.uint8).repeat(3, 2)
    boxes = np.array([tight(mask) for mask in masks], np.float32)
    known = {"labels": np.array([3, 5]), "crowd": np.zeros(2, bool), "area": masks.sum((1, 2)).astype(float)}
    return image, {"boxes": boxes, "masks": masks, **known}


@pytest.mark.parametrize("seed", range(3))
def test_of_a_mirror_image_and_of_whole_multiples_boxes_are_exactly_those_of_the_masks(seed: int) -> None:
    image, target = example(seed)
    for changed, found in (mirrored(image, target), resized(image, target, 96, 128), resized(image, target, 24, 32)):
        exact = changed.shape[0] != 24
        for box, mask in zip(found["boxes"], found["masks"], strict=True):
            np.testing.assert_allclose(box, tight(mask), atol=0 if exact else 1)
        if changed.shape[0] == 48:
            np.testing.assert_array_equal(changed[..., 0], found["masks"][0] * 100 + found["masks"][1] * 200)
    twice = mirrored(*mirrored(image, target))
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1]["boxes"], target["boxes"])


@pytest.mark.parametrize(
    ("top", "left", "labels"), [(-8, 2, [3, 5]), (10, 10, [3, 5]), (0, 31, [5]), (22, 4, [5]), (22, -10, [])]
)
def test_what_is_cut_has_the_box_of_what_is_left_of_its_mask(top: int, left: int, labels: list[int]) -> None:
    view, found = cut(*example(0), top, left, 40)
    assert view.shape == (40, 40, 3) and found["labels"].tolist() == labels
    for box, mask in zip(found["boxes"], found["masks"], strict=True):
        assert box.tolist() == tight(mask)
    values = {3: 100, 5: 200}
    for label, mask in zip(found["labels"].tolist(), found["masks"], strict=True):
        assert (view[mask > 0] == values[label]).all()


@pytest.mark.parametrize("pipeline", [ScaleJitterViews(40, (0.5, 2.0)), ShortSideViews((30, 50), longest=60)])
def test_boxes_of_drawn_views_are_those_of_their_masks(pipeline: Any) -> None:
    samples = [ViewDataset(CrowdedScenes(num_images=6), pipeline)[0, index] for index in range(6)]
    shapes = set()
    for sample in samples:
        target, (view,) = sample["target"], sample["views"]
        shapes.add(view.shape)
        assert target["masks"].shape[1:] == view.shape[:2]
        assert len({len(target[name]) for name in ("boxes", "labels", "crowd", "area", "masks")}) == 1
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            np.testing.assert_allclose(box, tight(mask), atol=1.5)  # tips of a mask are lost where it shrinks
    assert len(shapes) == (1 if isinstance(pipeline, ScaleJitterViews) else 2)


def test_the_shorter_side_gives_way_to_the_longest() -> None:
    image, target = example(0)
    assert ShortSideViews((48,), longest=32, flip=0).with_targets(image, target, np.random.default_rng(0))[0].shape == (
        24,
        32,
        3,
    )
