"""How images are shown: against Pillow and torchvision."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms.v2 import functional as F

from selfsup.data.input_contract import InputContract
from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError
from tests.data.pictures import picture
from tests.reference import record


@pytest.mark.parametrize(("height", "width"), [(120, 160), (300, 200), (64, 64)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shorter_side_and_center_are_torchvisions_on_pillow(height: int, width: int, interpolation: str) -> None:
    image = picture(height, width)
    mode = v1.InterpolationMode(interpolation)
    expected = v1.CenterCrop(64)(v1.Resize(73, mode)(Image.fromarray(image)))
    found = InputContract(64, "shorter:73", interpolation=interpolation).view(image)
    assert found.shape == (64, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= (1 if interpolation == "bilinear" else 4)


def test_square_shows_the_whole_image_and_without_antialiasing_pixels_are_torchvisions_on_tensors_without() -> None:
    image = picture(120, 160)
    whole = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR))
    assert np.abs(InputContract(48, "square").view(image).astype(int) - whole).max() <= 1
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = F.resize(tensor.float(), [60, 80], antialias=False).permute(1, 2, 0).numpy()
    found = InputContract(60, "shorter:60", "none", antialias=False).view(image)
    assert np.abs(found - expected).max() <= 1


def test_channel_order_background_and_an_image_as_it_is() -> None:
    image = picture(40, 50)
    plain = InputContract(32, "none").view(image)
    assert np.array_equal(plain, image[4:36, 9:41])
    assert np.array_equal(InputContract(32, "none", channel_order="bgr").view(image), plain[..., ::-1])
    clear = np.zeros((32, 32, 4), np.uint8)
    assert (InputContract(32, "none", background=(9, 8, 7)).view(clear) == (9, 8, 7)).all()


@pytest.mark.parametrize(
    ("stated", "white", "black"),
    [
        ({}, [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], [-0.485 / 0.229]),
        ({"mean": (0, 0, 0), "std": (1, 1, 1), "value_range": (-1, 1)}, [1.0, 1.0, 1.0], [-1.0]),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, [1.0, 1.0, 1.0], [-1.0]),
        ({"mean": (127.5,) * 3, "std": (2.0,) * 3, "value_range": (0, 255)}, [63.75] * 3, [-63.75]),
    ],
)
def test_normalization_by_range_mean_and_std(stated: dict, white: list[float], black: list[float]) -> None:
    contract = InputContract(**stated)
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    found = contract.normalize(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1, :, 0, 0], torch.tensor(white), rtol=1e-6, atol=1e-6)
    assert found[0, 0, 0, 0].item() == pytest.approx(black[0], rel=1e-6)
    assert images.dtype == torch.uint8 and images[1, 0, 0, 0] == 255


def test_it_survives_plain_data_and_cards_of_version_0_1_are_read() -> None:
    contract = InputContract(96, "square", "none", "bicubic", mean=(0.5, 0.5, 0.5))
    assert InputContract.from_dict(contract.to_dict()) == contract
    card = {
        "channels": "RGB", "range": [0, 1], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "resize": 37, "size": 32,
        "interpolation": "bilinear",
    }  # fmt: skip
    expected = InputContract(32, "shorter:37", mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    assert InputContract.from_dict(card) == expected
    unknown = dict.fromkeys(card) | {"channels": None}
    assert set(InputContract.from_dict(unknown).unknown) >= {"size", "mean", "std"}
    with pytest.raises(ConfigError, match="mean"):
        InputContract(mean=None).check_known("weights.json")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"mean": (123.7, 116.3, 103.5)}, "mean"),
        ({"std": (58.4, 57.1, 57.4)}, "std"),
        ({"value_range": (0, 255)}, "std"),
    ],
)
def test_mean_and_deviation_in_another_unit_than_the_pixels_are_rejected(wrong: Any, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        InputContract(**wrong)
    assert error.value.problems[0].path == path
    caffe = InputContract(value_range=(0, 255), mean=(123.7, 116.3, 103.5), std=(1, 1, 1), channel_order="bgr")
    assert caffe.std == (1, 1, 1)


def test_a_stated_size_takes_the_place_of_the_views_side() -> None:
    assert InputContract.for_side(224).resize == "shorter:256"
    assert InputContract.for_side(0, size=112) == InputContract(size=112, resize="shorter:128")


def views(count: int = 2) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 10, 12, 3), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name, mean, std", [("swav", 0.485, 0.228), ("vissl", 0.485, 0.229), ("simclr_tf2", 0.0, 1.0)])
def test_a_white_pixel_becomes_what_the_papers_code_makes_of_it(name: str, mean: float, std: float) -> None:
    check = record("aug/normalise")
    white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    assert Preprocess((mean,), (std,))(white).item() == pytest.approx(check["expected"][name], rel=1e-6)


def test_agrees_with_torchvision() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)
    expected = F.normalize(F.to_dtype(views(), torch.float32, scale=True), mean, std)
    torch.testing.assert_close(Preprocess(mean, std)(views()), expected, rtol=1e-5, atol=1e-6)


def test_floating_point_views_are_taken_to_be_in_0_to_1() -> None:
    preprocess = Preprocess()
    torch.testing.assert_close(preprocess(views() / 255), preprocess(views()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(preprocess((views() / 255).double()), preprocess(views()), rtol=1e-5, atol=1e-6)
    given = views() / 255
    kept = given.clone()
    preprocess(given)
    torch.testing.assert_close(given, kept, rtol=0, atol=0)
    assert preprocess.state_dict() == {}  # a checkpoint does not hold the constants


def test_a_list_gives_a_list_and_channels_last_stays() -> None:
    first, second = Preprocess()([views(), views(3)])
    assert first.shape == (2, 3, 10, 12)
    assert second.shape == (3, 3, 10, 12)
    assert second.dtype == torch.float32
    assert second.is_contiguous(memory_format=torch.channels_last)
