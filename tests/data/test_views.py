"""The papers' pipelines: what they are made of, and that whole pipelines match the reference code's."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision import transforms as v1

from selfsup.data.transforms import ColorJitter, GaussianBlur, RandomGray, RandomHorizontalFlip, RandomResizedCrop
from selfsup.data.views import BYOLViews, EvaluationView, MoCoViews, MultiView, SimCLRViews, SwAVViews
from selfsup.errors import ConfigError, DataError
from selfsup.registry import TRANSFORMS
from tests.data.pictures import assert_same_distribution, picture, sample
from tests.reference import record

CROP, FLIP, JITTER, GREY, BLUR, SOLARISE = (
    "RandomResizedCrop",
    "RandomHorizontalFlip",
    "ColorJitter",
    "RandomGray",
    "GaussianBlur",
    "Solarize",
)
ORDERS = [
    (SwAVViews(), [(2, [CROP, FLIP, JITTER, GREY, BLUR]), (6, [CROP, FLIP, JITTER, GREY, BLUR])]),
    (SimCLRViews(), [(2, [CROP, FLIP, JITTER, GREY, BLUR])]),
    (SimCLRViews(32, 0.5, blur=False), [(2, [CROP, FLIP, JITTER, GREY])]),
    (MoCoViews(version=1), [(2, [CROP, GREY, JITTER, FLIP])]),
    (MoCoViews(version=2), [(2, [CROP, JITTER, GREY, BLUR, FLIP])]),
    (BYOLViews(), [(1, [CROP, FLIP, JITTER, GREY, BLUR, SOLARISE]), (1, [CROP, FLIP, JITTER, GREY, BLUR, SOLARISE])]),
]


@pytest.mark.parametrize(("views", "expected"), ORDERS, ids=lambda value: type(value).__name__)
def test_steps_come_in_the_papers_order_and_are_registered(views: MultiView, expected: list) -> None:
    assert [(p.count, [type(t).__name__ for t in p.transforms]) for p in views.pipelines] == expected
    for pipeline in views.pipelines:
        for transform in pipeline.transforms:
            assert TRANSFORMS.get(type(transform).__name__) is type(transform)


@pytest.mark.parametrize(
    ("views", "name"),
    [(SimCLRViews(), "simclr"), (MoCoViews(), "moco"), (BYOLViews(), "byol"), (MoCoViews(), "simsiam")],
)
def test_crop_scales_are_the_recorded_ones(views: MultiView, name: str) -> None:
    expected = record("aug/crop_scales")["expected"][name]
    assert all(pipeline.transforms[0].scale == tuple(expected) for pipeline in views.pipelines)


def test_multi_crop_scales_are_the_recorded_ones() -> None:
    expected = record("aug/crop_scales")["expected"]
    large, small = SwAVViews().pipelines
    assert large.transforms[0].scale == tuple(expected["swav_multicrop_global"])
    assert small.transforms[0].scale == tuple(expected["swav_multicrop_local"])


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
    assert MoCoViews(version=1).pipelines[0].transforms[2] == ColorJitter(0.4, 0.4, saturation=0.4, hue=0.4, p=1.0)
    assert MoCoViews(version=2).pipelines[0].transforms[1] == ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=0.8)
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


@pytest.mark.parametrize(
    "views", [SwAVViews(), SimCLRViews(64), MoCoViews(64), BYOLViews(64)], ids=lambda v: type(v).__name__
)
def test_the_same_generator_gives_the_same_views_and_the_image_stays(views: MultiView) -> None:
    image = picture(90, 120)
    before = image.copy()
    first, again, other = (views(image, np.random.default_rng(seed)) for seed in (7, 7, 8))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    assert len({view.tobytes() for view in first}) == len(first)
    np.testing.assert_array_equal(image, before)


class PillowBlur:
    """The blur of SwAV's and MoCo's code."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.rng.random() >= 0.5:
            return image
        return image.filter(ImageFilter.GaussianBlur(self.rng.uniform(0.1, 2.0)))


def swav_by_torchvision(size: int, scale: tuple[float, float]) -> v1.Compose:
    return v1.Compose(
        [
            v1.RandomResizedCrop(size, scale=scale),
            v1.RandomHorizontalFlip(),
            v1.RandomApply([v1.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v1.RandomGrayscale(0.2),
            PillowBlur(1),
        ]
    )


def moco_by_torchvision(size: int, scale: tuple[float, float]) -> v1.Compose:
    return v1.Compose(
        [
            v1.RandomResizedCrop(size, scale=scale),
            v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v1.RandomGrayscale(0.2),
            PillowBlur(2),
            v1.RandomHorizontalFlip(),
        ]
    )


@pytest.mark.parametrize(
    ("views", "reference", "scale"),
    [
        (SwAVViews((40,), (1,), scales=((0.14, 1.0),)), swav_by_torchvision, (0.14, 1.0)),
        (SwAVViews((24,), (1,), scales=((0.05, 0.14),)), swav_by_torchvision, (0.05, 0.14)),
        (MoCoViews(32), moco_by_torchvision, (0.2, 1.0)),
    ],
    ids=["swav large", "swav small", "moco v2"],
)
def test_whole_pipelines_are_distributed_as_torchvisions_on_pillow(views: MultiView, reference, scale) -> None:
    image, rng, draws = picture(96, 128), np.random.default_rng(0), 2500
    torch.manual_seed(0)
    theirs = reference(views.pipelines[0].transforms[0].size, scale)
    expected = sample(lambda: np.asarray(theirs(Image.fromarray(image))), draws)
    assert_same_distribution(sample(lambda: views(image, rng)[0], draws), expected)


def test_multi_view_is_built_from_dicts_and_keeps_their_order() -> None:
    views = TRANSFORMS.build(
        dict(
            type="MultiView",
            pipelines=[
                dict(transforms=[dict(type="CenterCrop", size=16)]),
                dict(count=2, transforms=[dict(type="Resize", size=[8, 9]), RandomGray(1.0)]),
            ],
        )
    )
    made = views(picture(20, 30), np.random.default_rng(0))
    assert [view.shape for view in made] == [(16, 16, 3), (8, 9, 3), (8, 9, 3)]
    assert views.describe().splitlines()[:2] == ["1 view:", "  CenterCrop(size=16)"]
    assert "2 views:" in views.describe()
    assert (made[1][..., 0] == made[1][..., 1]).all()


def test_before_gives_every_view_a_background_of_its_own() -> None:
    empty = np.zeros((24, 24, 4), np.uint8)
    views = SwAVViews(
        (16,), (4,), scales=((0.9, 1.0),), strength=0.0, before=[dict(type="FreshBackground", kinds=("flat",))]
    )
    colours = {tuple(view[8, 8]) for view in views(empty, np.random.default_rng(0))}
    assert len(colours) == 4
    with pytest.raises(DataError, match=r"FreshBackground.* lays an image with alpha on a background"):
        SwAVViews((16,), (1,), scales=((0.9, 1.0),))(empty, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SwAVViews((224,), (2, 4)), "sizes, counts and scales must be equally long, got 1, 2 and 2"),
        (lambda: SwAVViews((96, 224)), r"SwAVViews.sizes: must fall, got \(96, 224\)"),
        (lambda: MoCoViews(version=3), "MoCoViews.version: must be 1 or 2, got 3"),
        (lambda: EvaluationView(128, 224), "EvaluationView.resize: must be at least size = 224, got 128"),
        (lambda: MultiView([]), "MultiView.pipelines: must hold at least one pipeline, got none"),
        (lambda: MultiView([dict(count=0, transforms=[RandomGray()])]), r"pipelines\[0\].count: must be >= 1, got 0"),
        (lambda: MultiView([dict(transforms=[])]), r"pipelines\[0\].transforms: must hold at least one transform"),
        (lambda: MultiView([dict(number=2)]), r"pipelines\[0\]: takes 'count' and 'transforms', got \['number'\]"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(("height", "width"), [(120, 160), (300, 200), (64, 64)])
def test_the_evaluation_view_is_torchvisions_resize_and_centre_crop(height: int, width: int) -> None:
    image = picture(height, width)
    expected = v1.CenterCrop(64)(v1.Resize(73)(Image.fromarray(image)))
    view = EvaluationView(73, 64)(image)
    assert view.shape == (64, 64, 3)
    assert np.abs(view.astype(int) - np.asarray(expected)).max() <= 1
