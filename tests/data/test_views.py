"""The papers' pipelines: what they are made of."""

import numpy as np
import pytest

from selfsup.data.transforms import (
    ColorJitter,
    GaussianBlur,
    RandomGray,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Solarize,
)
from selfsup.data.views.method_views import BYOLViews, MoCoViews, SimCLRViews, SwAVViews
from selfsup.data.views.multi_view import MultiView
from selfsup.data.views.single_view import BiTViews, SupervisedViews
from selfsup.registry import TRANSFORMS
from tests.data.pictures import picture
from tests.reference import record

CROP, FLIP, JITTER = "RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter"
GRAY, BLUR, SOLARIZE = "RandomGray", "GaussianBlur", "Solarize"
ORDERS = [
    (SwAVViews(), [(2, [CROP, FLIP, JITTER, GRAY, BLUR]), (6, [CROP, FLIP, JITTER, GRAY, BLUR])]),
    (SimCLRViews(), [(2, [CROP, FLIP, JITTER, GRAY, BLUR])]),
    (SimCLRViews(32, 0.5, blur=False), [(2, [CROP, FLIP, JITTER, GRAY])]),
    (MoCoViews(version=1), [(2, [CROP, GRAY, JITTER, FLIP])]),
    (MoCoViews(version=2), [(2, [CROP, JITTER, GRAY, BLUR, FLIP])]),
    (MoCoViews(version=3), [(1, [CROP, JITTER, GRAY, BLUR, FLIP]), (1, [CROP, JITTER, GRAY, BLUR, SOLARIZE, FLIP])]),
    (BYOLViews(), [(1, [CROP, FLIP, JITTER, GRAY, BLUR, SOLARIZE]), (1, [CROP, FLIP, JITTER, GRAY, BLUR, SOLARIZE])]),
]


@pytest.mark.parametrize(("views", "expected"), ORDERS, ids=lambda value: type(value).__name__)
def test_steps_come_in_the_papers_order_and_are_registered(views: MultiView, expected: list) -> None:
    assert [(p.count, [type(t).__name__ for t in p.transforms]) for p in views.pipelines] == expected
    for pipeline in views.pipelines:
        for transform in pipeline.transforms:
            assert TRANSFORMS.get(type(transform).__name__) is type(transform)


def test_crop_scales_are_the_recorded_ones() -> None:
    expected = record("aug/crop_scales")["expected"]
    moco = [(MoCoViews(version=version), name) for version, name in ((1, "moco"), (2, "moco"), (2, "simsiam"))]
    for views, name in ((SimCLRViews(), "simclr"), (BYOLViews(), "byol"), *moco):
        assert all(pipeline.transforms[0].scale == tuple(expected[name]) for pipeline in views.pipelines)
    large, small = SwAVViews().pipelines
    assert large.transforms[0].scale == tuple(expected["swav_multicrop_global"])
    assert small.transforms[0].scale == tuple(expected["swav_multicrop_local"])
    wide = expected["swav_rn50w4"]  # the scales of SwAV's widest network, with 4 small crops
    scales = (tuple(wide["global_"]), tuple(wide["local"]))
    large, small = SwAVViews((224, 96), (2, 4), scales=scales).pipelines
    assert (large.count, small.count) == (2, 4)
    assert large.transforms == (RandomResizedCrop(224, (0.08, 1.0)), *SwAVViews().pipelines[0].transforms[1:])
    assert small.transforms == (RandomResizedCrop(96, (0.08, 0.14)), *SwAVViews().pipelines[1].transforms[1:])
    (one,) = SwAVViews((224,), (1,), scales=(tuple(expected["swav_2x224_only"]),)).pipelines  # SEER fine-tunes on it
    assert one.count == 1
    assert one.transforms == (RandomResizedCrop(224, (0.08, 1.0)), *SwAVViews().pipelines[0].transforms[1:])


def test_strengths_and_chances_are_the_papers() -> None:
    swav = SwAVViews(strength=0.5).pipelines[1].transforms
    assert swav == (
        RandomResizedCrop(96, (0.05, 0.14), interpolation="bilinear", attempts=10),
        RandomHorizontalFlip(0.5),
        ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=0.8),
        RandomGray(0.2),
        GaussianBlur((0.1, 2.0), 0.5, kernel="full"),
    )
    simclr = SimCLRViews(brightness_mode="additive").pipelines[0].transforms
    assert simclr[0] == RandomResizedCrop(224, (0.08, 1.0), interpolation="bicubic", attempts=100)
    assert simclr[2] == ColorJitter(0.8, 0.8, saturation=0.8, hue=0.2, p=0.8, brightness_mode="additive")
    assert simclr[4] == GaussianBlur((0.1, 2.0), 0.5, kernel="simclr")
    wide = record("aug/jitter_ranges")["expected"]["moco_v1"]
    assert MoCoViews(version=1).pipelines[0].transforms[2] == ColorJitter(
        wide["b"], wide["c"], saturation=wide["s"], hue=wide["h"], p=1.0
    )
    assert MoCoViews(version=2).pipelines[0].transforms[1] == ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=0.8)
    first, second = (pipeline.transforms for pipeline in MoCoViews(version=3).pipelines)
    assert first[:3] == second[:3]
    assert first[0] == RandomResizedCrop(224, (0.2, 1.0), interpolation="bilinear", attempts=10)
    assert first[1] == ColorJitter(0.4, 0.4, saturation=0.2, hue=0.1, p=0.8)
    assert first[2] == RandomGray(0.2)
    assert first[3:] == (GaussianBlur((0.1, 2.0), 1.0), RandomHorizontalFlip(0.5))
    assert second[3:] == (GaussianBlur((0.1, 2.0), 0.1), Solarize(0.2, 128), RandomHorizontalFlip(0.5))
    first, second = (pipeline.transforms for pipeline in BYOLViews().pipelines)
    assert first[2] == ColorJitter(0.4, 0.4, saturation=0.2, hue=0.1, p=0.8, brightness_mode="additive")
    assert (first[4].p, second[4].p) == (1.0, 0.1)
    assert (first[5].p, second[5].p, second[5].threshold) == (0.0, 0.2, 128)
    assert first[:4] == second[:4]


def test_shapes_are_those_of_the_recorded_multi_crop() -> None:
    expected = record("aug/multicrop_shapes")["expected"]["seer 2x224+4x96"]
    views = SwAVViews(counts=(2, 4))
    assert views.num_views == 6
    made = views(picture(120, 160), np.random.default_rng(0))
    assert [view.shape[::-1] for view in made] == [tuple(shape[1:]) for shape in expected]
    assert all(view.dtype == np.uint8 for view in made)


def test_supervised_and_bit_take_the_steps_of_their_code() -> None:
    (supervised,) = SupervisedViews().pipelines
    assert supervised.count == 1
    assert supervised.transforms == (
        RandomResizedCrop(224, (0.08, 1.0), interpolation="bilinear", attempts=10),
        RandomHorizontalFlip(0.5),
        ColorJitter(0.4, 0.4, saturation=0.4, hue=0.4, p=1.0),
    )
    assert SupervisedViews(jitter=0).pipelines[0].transforms == supervised.transforms[:2]
    (bit,) = BiTViews().pipelines
    assert bit.count == 1
    assert bit.transforms == (
        RandomResizedCrop(224, (0.05, 1.0), ratio=(0.75, 1.33), interpolation="bilinear", attempts=100),
        RandomHorizontalFlip(0.5),
    )
