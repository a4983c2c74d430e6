"""What each part of the data room rejects: a problem at the argument that is wrong, before an image is seen."""

from typing import Any

import pytest

import selfsup.data
from selfsup.errors import SelfsupError
from tests.data.listed import Listed

SOME = Listed("abc")
STRENGTHS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
REJECTED: dict[str, list[dict[str, Any]]] = {  # the last argument is the wrong one
    "GaussianBlur": [{"sigma": (0.0, 2.0)}, {"p": -0.1}, {"kernel": "simclrv2"}],
    "RandomHorizontalFlip": [{"p": 1.5}],
    "RandomRotate90": [{"angles": (0, 45)}, {"angles": ()}],
    "ColorJitter": [
        *({"contrast": 0.4, "saturation": 0.4, "hue": 0.1, "brightness": -1.0}, STRENGTHS | {"hue": 0.6}),
        *(STRENGTHS | {"p": 2.0}, STRENGTHS | {"order": ("hue", "contrast")}, STRENGTHS | {"brightness_mode": "add"}),
    ],
    "Solarize": [{"threshold": 300}],
    "FreshBackground": [{"kinds": ("gradiant",)}, {"kinds": "flat"}, {"kinds": ()}],
    "RandomResizedCrop": [
        *({"size": 0}, {"size": 8, "scale": (0.5, 0.1)}, {"size": 8, "ratio": (0.0, 1.0)}),
        *({"size": 8, "interpolation": "bilinar"}, {"size": 8, "attempts": 0}),
    ],
    "Resize": [{"size": (0, 3)}],
    "CenterCrop": [{"size": -1}],
    "RandomCrop": [{"size": 0}],
    "Cutout": [{"size": 0.0}, {"size": 1.5}, {"p": 2}, {"fill": (0, 256, 0)}, {"fill": (0, 1)}],
    "GaussianNoise": [{"sigma": (0.2, 0.1)}, {"p": -1}],
    "Sobel": [{"gain": 0}, {"p": 1.1}, {"channels": "lumma"}],
    "MultiView": [{"pipelines": []}],
    "OneBranchViews": [{"size": 32, "transforms": []}],
    "SupervisedViews": [{"jitter": 0.6}, {"jitter": -0.1}],
    "BiTViews": [{"size": 0}],
    "SwAVViews": [{"sizes": (96, 224)}],
    "MoCoViews": [{"version": 4}],
    "Scenes": [
        *({"split": "valid"}, {"background": "foto"}, {"domains": ("apple",)}, {"domains": "google"}, {"seed": -1}),
        *({"level": "categories"}, {"size": 4}, {"variants": 0}, {"scale": (0.5, 1.5)}),
    ],
    "InputContract": [{"resize": "256"}, {"resize": "longer:3"}, {"size": 0}, {"std": (1.0, 0.0, 1.0)}],
    "Preprocess": [{"std": (1.0, 0.0, 1.0)}, {"mean": (0.5,)}, {"std": None, "mean": None}],
    "Subset": [{"dataset": SOME, **wrong} for wrong in ({"fraction": 0.0}, {"count": 10**9}, {"indices": [-1]})],
}
ELSEWHERE: list[tuple[str, dict[str, Any], str]] = [
    ("MultiView", {"pipelines": [{"count": 0, "transforms": [{"type": "Sobel"}]}]}, "pipelines.0.count"),
    ("MultiView", {"pipelines": [{"transforms": []}]}, "pipelines.0.transforms"),
    ("MultiView", {"pipelines": [{"number": 2}]}, "pipelines.0"),
    ("SwAVViews", {"sizes": (224,), "counts": (2, 4)}, ""),
    ("Subset", {"dataset": SOME}, ""),
    ("Subset", {"dataset": SOME, "fraction": 0.5, "count": 3}, ""),
    *(("split", {"source": SOME, name: value}, f"split.{name}") for name, value in (("val", 1.0), ("test", -0.1))),
    ("split", {"source": SOME, "max_images": 0}, "split.max_images"),
]


@pytest.mark.parametrize(
    "name, arguments, path",
    [*((name, wrong, list(wrong)[-1]) for name, all_wrong in REJECTED.items() for wrong in all_wrong), *ELSEWHERE],
)
def test_what_is_out_of_range_is_a_problem_at_its_argument(name: str, arguments: dict[str, Any], path: str) -> None:
    with pytest.raises(SelfsupError) as caught:
        getattr(selfsup.data, name)(**arguments)
    (problem,) = caught.value.problems
    assert problem.path == path
