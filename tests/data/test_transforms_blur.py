"""Gaussian blur against exact convolution, Pillow, torchvision and the papers' kernels."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from selfsup.data.transforms import GaussianBlur
from selfsup.data.transforms.blur import RADIUS, gaussian_kernel
from tests.data.pictures import picture
from tests.reference import record


@pytest.mark.parametrize("kernel", ["simclr", "byol"])
def test_kernel_sizes_are_the_papers(kernel: str) -> None:
    for height, size in record("aug/blur_kernel_size")["expected"][kernel].items():
        assert 2 * RADIUS[kernel](int(height)) + 1 == size


def test_kernels_are_the_recorded_ones() -> None:
    kernels = record("aug/blur_kernel")
    for (radius, sigma), expected in zip(kernels["input"]["cases"], kernels["expected"], strict=True):
        np.testing.assert_allclose(gaussian_kernel(radius, sigma), expected, atol=kernels["tol"])


@pytest.mark.parametrize("sigma", [0.1, 0.24, 0.26, 0.5, 1.0, 1.5, 2.0, 4.0])
def test_a_full_kernel_is_the_gaussian_of_that_width_to_one_level(sigma: float) -> None:
    image = picture(80, 90)
    reach = 8 * int(np.ceil(sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    exact = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(float)
    exact = np.apply_along_axis(np.convolve, 0, exact, weights, mode="valid")
    exact = np.apply_along_axis(np.convolve, 1, exact, weights, mode="valid")
    difference = GaussianBlur().blur(image, sigma) - exact
    assert np.abs(difference).max() < 1.5
    assert np.abs(difference).mean() < 0.3
    assert abs(difference.mean()) < 0.02


def test_simclrs_kernel_cuts_a_wide_gaussian_off() -> None:
    image = picture(96, 96)
    batch = torch.from_numpy(image).permute(2, 0, 1).float()
    cut = functional.gaussian_blur(batch, [9, 9], [2.0, 2.0]).permute(1, 2, 0).numpy()
    small = picture(16, 16)  # too small for the kernel: stays
    assert GaussianBlur(p=1.0, kernel="simclr")(small, np.random.default_rng(0)) is small
    inside = slice(4, -4)  # torchvision mirrors the border
    difference = GaussianBlur(kernel="simclr").blur(image, 2.0)[inside, inside] - cut[inside, inside]
    assert np.abs(difference).max() <= 0.51
    assert np.abs(GaussianBlur().blur(image, 2.0)[inside, inside] - cut[inside, inside]).max() > 2
