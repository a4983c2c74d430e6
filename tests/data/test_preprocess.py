import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from selfsup.data.preprocess import Preprocess
from tests.reference import record


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


def test_a_list_gives_a_list_and_channels_last_stays() -> None:
    first, second = Preprocess()([views(), views(3)])
    assert first.shape == (2, 3, 10, 12)
    assert second.shape == (3, 3, 10, 12)
    assert second.dtype == torch.float32
    assert second.is_contiguous(memory_format=torch.channels_last)


def test_float32_views_are_not_changed_in_place() -> None:
    given = torch.rand(1, 3, 4, 4)
    kept = given.clone()
    Preprocess()(given)
    torch.testing.assert_close(given, kept, rtol=0, atol=0)


def test_a_checkpoint_does_not_hold_the_constants() -> None:
    assert Preprocess().state_dict() == {}


def test_impossible_numbers_are_rejected() -> None:
    with pytest.raises(ValueError, match="std: must be > 0"):
        Preprocess(std=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="one value per channel"):
        Preprocess(mean=(0.5,))


def test_a_card_that_does_not_know_the_input_is_told_as_that() -> None:
    with pytest.raises(
        ValueError, match=r"got None and None; a card with null belongs to weights whose input is not known: whoever"
    ):
        Preprocess(None, None)  # type: ignore[arg-type]
