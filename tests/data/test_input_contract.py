"""How images are shown: against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms.v2 import functional as F

from selfsup.data.input_contract import InputContract
from selfsup.errors import ConfigError
from tests.data.pictures import picture


@pytest.mark.parametrize(("height", "width"), [(120, 160), (300, 200), (64, 64)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shorter_side_and_center_are_torchvisions_on_pillow(height: int, width: int, interpolation: str) -> None:
    image = picture(height, width)
    mode = v1.InterpolationMode(interpolation)
    expected = v1.CenterCrop(64)(v1.Resize(73, mode)(Image.fromarray(image)))
    found = InputContract(64, "shorter:73", interpolation=interpolation).view(image)
    assert found.shape == (64, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= (1 if interpolation == "bilinear" else 4)


def test_square_shows_the_whole_image_whatever_its_shape() -> None:
    image = picture(120, 160)
    expected = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR))
    found = InputContract(48, "square").view(image)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_without_antialiasing_pixels_are_torchvisions_on_tensors_without() -> None:
    image = picture(120, 160)
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


@pytest.mark.parametrize("wrong", [{"resize": "256"}, {"resize": "longer:3"}, {"size": 0}, {"std": (1.0, 0.0, 1.0)}])
def test_senseless_contracts_are_rejected(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        InputContract(**wrong)


def test_a_stated_size_takes_the_place_of_the_views_side() -> None:
    assert InputContract.for_side(224).resize == "shorter:256"
    assert InputContract.for_side(0, size=112) == InputContract(size=112, resize="shorter:128")
