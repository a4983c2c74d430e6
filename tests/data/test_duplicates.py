from dataclasses import dataclass
from importlib.resources import files

import cv2
import numpy as np
import pytest

from selfsup.data.decode.decoder import decode_image
from selfsup.data.duplicates import Signatures, find_copies, signatures


@dataclass(frozen=True)
class Images:
    images: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def name(self, index: int) -> str:
        return f"image {index}"


def compressed_again(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = (round(side * scale) for side in image.shape[:2])
    filter_of = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    file = cv2.imencode(".jpg", cv2.resize(image, (width, height), interpolation=filter_of)[..., ::-1], [1, 80])[1]
    return cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)


@pytest.fixture(scope="module")
def tiles() -> list[np.ndarray]:
    """96 pieces of photographs that have no pixel in common; the last 16 are skies and other plain ground."""
    folder = files("selfsup") / "data" / "photos"
    photos = [decode_image(str(path)) for path in sorted(folder.iterdir(), key=str) if path.name.endswith(".jpg")]
    return [
        np.ascontiguousarray(photo[y : y + 200, x : x + 200])
        for y, x in ((0, 0), (0, 220), (0, 420), (220, 0), (220, 220), (420, 420))
        for photo in photos
    ]


@pytest.fixture(scope="module")
def known(tiles: list[np.ndarray]) -> Signatures:
    return signatures(Images(tiles))


@pytest.mark.parametrize("side", [200, 64])
def test_copies_are_found_though_scaled_and_compressed_again(tiles: list[np.ndarray], side: int) -> None:
    images = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles]
    scales = 2 ** np.random.default_rng(0).uniform(-1, 1, len(images))
    copies = [compressed_again(image, scale) for image, scale in zip(images, scales, strict=True)]
    found = find_copies(signatures(Images(copies)), signatures(Images(images)))
    assert len(found) >= 0.95 * len(images)
    assert not found.exact.any()
    np.testing.assert_array_equal(found.queries, found.keys)


@pytest.mark.parametrize("side", [200, 32])
def test_other_pieces_of_the_same_photographs_are_no_copies(tiles: list[np.ndarray], side: int) -> None:
    images = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles]
    assert len(find_copies(signatures(Images(images[::2])), signatures(Images(images[1::2])))) == 0


def test_equal_pixels_are_found_in_plain_images_too_and_count_as_exact(known: Signatures) -> None:
    plain = [np.full((20, 30, 3), level, np.uint8) for level in (10, 200)]
    found = find_copies(signatures(Images(plain)), signatures(Images(plain[::-1])))
    np.testing.assert_array_equal(found.keys, [1, 0])
    assert found.exact.all()
    assert find_copies(known, known).exact.all()


@pytest.mark.parametrize("change", ["mirrored", "cut", "negative"])
def test_a_changed_image_is_no_copy(tiles: list[np.ndarray], known: Signatures, change: str) -> None:
    changed = {
        "mirrored": lambda image: image[:, ::-1],
        "cut": lambda image: image[40:160, 40:160],
        "negative": lambda image: 255 - image,
    }[change]
    found = find_copies(signatures(Images([np.ascontiguousarray(changed(tile)) for tile in tiles])), known)
    assert len(found) <= 0.01 * len(tiles)
