"""Cutout, noise and Sobel filtering against their definitions and closed forms."""

import numpy as np
import pytest
from PIL import Image

from selfsup.data.transforms import ColorJitter, Cutout, GaussianBlur, GaussianNoise, RandomGray, Sobel, Solarize
from tests.data.pictures import picture
from tests.reference.sobel import sobel_by_the_definition


def covered_by(cutout: Cutout, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which pixels the cutout covers; the image must not hold its color."""
    return (cutout(image, rng) == cutout.fill).all(axis=2)


@pytest.mark.parametrize(("height", "width", "size", "side"), [(12, 9, 0.5, 4), (8, 8, 0.4, 3), (5, 11, 1.0, 5)])
def test_cutout_covers_every_pixel_as_often_as_a_uniform_center_does(
    height: int, width: int, size: float, side: int
) -> None:
    image, rng, draws = np.zeros((height, width, 3), np.uint8), np.random.default_rng(0), 4000
    covered = np.mean([covered_by(Cutout(size), image, rng) for _ in range(draws)], axis=0)

    def chance(length: int) -> np.ndarray:
        starts = np.arange(length) - side // 2  # one for each center
        return np.array([np.mean((starts <= place) & (place < starts + side)) for place in range(length)])

    expected = np.outer(chance(height), chance(width))
    assert (np.abs(covered - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws) + 1e-12).all()


def test_cutout_covers_a_square_cut_by_the_border_and_leaves_the_rest() -> None:
    image, rng = picture(30, 40), np.random.default_rng(0)
    cutout = Cutout(0.5, fill=(1, 2, 253))
    image[(image == cutout.fill).all(axis=2)] = 7
    areas = set()
    for _ in range(300):
        changed = cutout(image, rng)
        covered = (changed == cutout.fill).all(axis=2)
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        assert covered.sum() == len(rows) * len(columns)
        assert len(rows) <= 15 and len(columns) <= 15
        assert np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1
        np.testing.assert_array_equal(changed[~covered], image[~covered])
        areas.add(int(covered.sum()))
    assert max(areas) == 15 * 15
    assert min(areas) < 100


def test_noise_is_gaussian_and_independent_between_pixels_and_channels() -> None:
    flat = np.full((200, 250, 3), 128, np.uint8)
    noise = (GaussianNoise((0.1, 0.1), 1.0)(flat, np.random.default_rng(0)).astype(float) - 128) / 25.5
    count = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(count)
    assert noise.var() == pytest.approx(1 + 1 / 12 / 25.5**2, abs=5 * np.sqrt(2 / count))  # rounding adds a twelfth
    assert (noise**3).mean() == pytest.approx(0, abs=5 * np.sqrt(15 / count))
    assert (noise**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / count))
    for first, second in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 1:], noise[..., :-1])):
        assert abs((first * second).mean()) < 5 / np.sqrt(first.size)


def test_noise_is_clipped_and_unbiased_elsewhere() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    half = 25.5 / np.sqrt(2 * np.pi)  # mean of the positive half of a Gaussian
    for image, mean in ((white, 255 - half), (white - 255, half)):
        noisy = GaussianNoise((0.1, 0.1), 1.0)(image, np.random.default_rng(0))
        assert noisy.mean() == pytest.approx(mean, abs=5 * 15 / np.sqrt(noisy.size))


def test_the_strength_of_the_noise_is_uniform_in_its_range() -> None:
    flat, rng, noise = np.full((16, 16, 3), 128, np.uint8), np.random.default_rng(0), GaussianNoise((0.02, 0.1), 1.0)
    strengths = np.sort([noise(flat, rng).std() / 255 for _ in range(3000)])
    expected = np.linspace(0.02, 0.1, 3000)
    assert np.abs(strengths - expected).max() < 0.01  # 768 values know their spread to 2.6 %
    assert np.abs(strengths - expected).mean() < 0.002


@pytest.mark.parametrize("shape", [(13, 17), (1, 9), (9, 1), (1, 1), (2, 2)])
def test_edges_of_every_channel_agree_with_the_definition(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    edges = Sobel(1.0, channels="each")(image, np.random.default_rng(0))
    expected = np.stack([sobel_by_the_definition(image[..., channel]) for channel in range(3)], axis=2)
    assert np.abs(edges - np.minimum(expected, 255)).max() <= 0.501


def test_edges_of_the_luma_agree_with_the_definition_on_pillows_gray() -> None:
    image = picture(40, 50)
    edges = Sobel(1.0)(image, np.random.default_rng(0)).astype(float)
    expected = sobel_by_the_definition(np.asarray(Image.fromarray(image).convert("L")))
    assert (edges == edges[..., :1]).all()
    assert np.abs(edges[..., 0] - expected).max() <= 3  # the grays differ by up to one level
    assert abs((edges[..., 0] - expected).mean()) < 0.1


def test_a_straight_edge_is_as_bright_as_its_step() -> None:
    image = np.full((8, 10, 3), 40, np.uint8)
    image[:, 5:] = 240
    edges = Sobel(1.0)(image, np.random.default_rng(0))
    assert (edges[:, 4:6] == 200).all()
    assert (np.delete(edges, (4, 5), axis=1) == 0).all()
    assert (Sobel(1.0, gain=0.5)(image, np.random.default_rng(0))[:, 4:6] == 100).all()
    assert (Sobel(1.0, gain=4)(image, np.random.default_rng(0))[:, 4:6] == 255).all()


@pytest.mark.parametrize(
    "transform",
    [
        *(Cutout(p=0.7), GaussianNoise(), Sobel(0.3), RandomGray(0.2), Solarize(0.3), GaussianBlur((1.0, 2.0), 0.4)),
        ColorJitter(0.5, 0, saturation=0, hue=0, p=0.8),
    ],
)
def test_probabilities_hold(transform) -> None:
    image, rng, draws = picture(32, 32), np.random.default_rng(0), 4000
    changed = sum(transform(image, rng) is not image for _ in range(draws)) / draws
    assert changed == pytest.approx(transform.p, abs=4 * np.sqrt(transform.p * (1 - transform.p) / draws))
