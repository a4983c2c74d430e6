import pickle

import numpy as np
import pytest

from selfsup.data import Scenes
from selfsup.data.sources.pictures import emoji_table


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    first, second = Scenes(size=32, seed=3), Scenes(size=32, seed=3)
    for index in (7, 4000, 0):
        first.image(index)
    for index in (0, 7, 4000):
        np.testing.assert_array_equal(first.image(index), second.image(index))
    assert not np.array_equal(first.image(0), Scenes(size=32, seed=4).image(0))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).image(7), first.image(7))


def test_a_scene_does_not_depend_on_what_else_is_in_the_data_set() -> None:
    everything, twitter = Scenes("all", 32), Scenes("test", 32, domains=("twitter",), variants=2)
    index = 101
    emoji, variant = twitter.emoji[index], index % 2
    same = np.flatnonzero((everything.emoji == emoji) & (everything.domain_index == 1))[variant]
    np.testing.assert_array_equal(twitter.image(index), everything.image(int(same)))


def test_no_emoji_is_in_two_splits_in_any_domain_or_seed() -> None:
    parts = [Scenes(split, seed=seed) for seed, split in enumerate(("train", "val", "test"))]
    emoji = [set(part.emoji.tolist()) for part in parts]
    assert sum(map(len, emoji)) == 1906 and set.union(*emoji) == set(range(1906))
    assert [len(each) / 1906 for each in emoji] == pytest.approx([0.7, 0.1, 0.2], abs=0.005)
    assert set(Scenes("held_out").emoji.tolist()) == emoji[1] | emoji[2]
    assert parts[0].groups is not None and set(parts[0].groups.tolist()) == emoji[0]


@pytest.mark.parametrize("split", ["train", "val", "test", "held_out"])
def test_every_category_is_in_all_splits_and_nearly_every_subcategory_in_two(split: str) -> None:
    assert set(Scenes(split, level="category").labels.tolist()) == set(range(9))
    if split in ("val", "test"):
        return
    missing = set(range(98)) - set(Scenes(split, level="subcategory").labels.tolist())
    sizes = np.bincount(emoji_table().members["subcategory"])
    assert all(sizes[subcategory] == 1 for subcategory in missing)


def test_levels_are_nested() -> None:
    category, subcategory, emoji = (Scenes(level=level) for level in ("category", "subcategory", "emoji"))
    assert [len(each.classes) for each in (category, subcategory, emoji)] == [9, 98, 1906]
    np.testing.assert_array_equal(emoji.hierarchy["emoji"][emoji.labels], subcategory.labels)
    np.testing.assert_array_equal(emoji.hierarchy["subcategory"][subcategory.labels], category.labels)
    assert category.classes[category.labels[0]] == "Smileys & Emotion"
    assert category.name(0) == "google/grinning#0"
    assert category.name(5) == "twitter/grinning#1"


@pytest.mark.parametrize("size", [16, 64, (48, 96), 300])
def test_boxes_are_the_bounds_of_the_masks_and_lie_inside(size: int | tuple[int, int]) -> None:
    scenes = Scenes("test", size, variants=1)
    chosen = range(0, len(scenes), 97)
    boxes = np.array([scenes.boxes[index] for index in chosen]) if size == 16 else None
    for number, index in enumerate(chosen):
        mask = scenes.mask(index)
        rows, columns = np.nonzero(mask)
        bounds = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert mask.shape == (scenes.height, scenes.width)
        if boxes is not None:
            np.testing.assert_array_equal(boxes[number], bounds)


def test_the_emoji_stays_wholly_inside_at_any_scale_and_rotation() -> None:
    scenes = Scenes("all", 64, background="none", variants=1, scale=(0.2, 1.0), rotation=180.0)
    whole = Scenes("all", 64, background="none", variants=1, scale=(0.5, 0.5), rotation=0.0)
    for index in range(0, len(scenes), 131):
        tile_share = (whole.image(index)[..., 3] / 255).sum() / 32**2
        alpha = scenes.image(index)[..., 3] / 255
        key = (0, int(scenes.emoji[index]), int(scenes.domain_index[index]), 0)
        scale, angle = np.random.default_rng(np.random.SeedSequence(key)).random(4)[:2]
        turned = np.deg2rad((2 * angle - 1) * 180)
        side = 64 * min(0.2 + 0.8 * scale, 1 / (abs(np.cos(turned)) + abs(np.sin(turned))))
        assert alpha.sum() == pytest.approx(tile_share * side**2, rel=0.1, abs=8)


def test_the_same_scene_on_each_background_differs_only_behind_the_emoji() -> None:
    cut, flat, photo = (Scenes(size=64, background=background) for background in ("none", "flat", "photo"))
    for index in (0, 1234, 9000):
        alpha = cut.image(index)[..., 3]
        assert flat.image(index).shape == (64, 64, 3)
        opaque, empty = alpha == 255, alpha == 0
        np.testing.assert_array_equal(flat.image(index)[opaque], photo.image(index)[opaque])
        np.testing.assert_array_equal(flat.image(index)[opaque], cut.image(index)[..., :3][opaque])
        assert len(np.unique(flat.image(index)[empty], axis=0)) == 1
        assert len(np.unique(photo.image(index)[empty], axis=0)) > 10
        color, share = cut.image(index)[..., :3].astype(float), alpha[..., None] / 255  # straight alpha
        laid = color * share + flat.image(index)[empty][0] * (1 - share)
        assert np.abs(flat.image(index) - laid).max() <= 2
    google, twitter = (Scenes(size=64, domains=(name,), rotation=0, scale=(0.8, 0.8)) for name in ("google", "twitter"))
    np.testing.assert_array_equal(google.labels, twitter.labels)
    assert not np.array_equal(google.image(0), twitter.image(0))
