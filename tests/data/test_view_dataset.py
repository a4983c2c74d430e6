from collections.abc import Callable

import numpy as np
import pytest
import torch

from selfsup.data import LabelSets, ViewDataset, collate_views
from selfsup.errors import DataError, DecodeError, UnreadableError
from tests.data.listed import Listed


class Numbered(Listed):
    """Image i is filled with the value i modulo 256; some cannot be decoded."""

    def __init__(self, length: int, bad: tuple[int, ...] = (), labelled: bool = True) -> None:
        super().__init__([f"number {index}" for index in range(length)], range(1000, 1000 + length))
        self.bad, self.labels = bad, self.labels if labelled else None

    def image(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise DecodeError(f"number {index}: broken")
        return np.full((6, 8, 3), index % 256, np.uint8)


def two_views(image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    noise = rng.integers(0, 100, (4, 5, 3), dtype=np.uint8)
    return [image, noise]


def make(length: int = 10, bad: tuple[int, ...] = (), views: Callable = two_views, **options: object) -> ViewDataset:
    return ViewDataset(Numbered(length, bad), views, **options)  # type: ignore[arg-type]


def test_views_depend_on_seed_epoch_and_index_alone() -> None:
    first, second = make(seed=1), make(seed=1)
    second[0, 3], second[5, 2]
    np.testing.assert_array_equal(first[2, 7]["views"][1], second[2, 7]["views"][1])
    others = [first[3, 7], first[2, 6], make(seed=2)[2, 7]]
    assert all(not np.array_equal(first[2, 7]["views"][1], other["views"][1]) for other in others)


def test_a_neighbor_takes_the_place_of_a_bad_image_with_its_own_label_every_epoch() -> None:
    dataset = make(bad=(3, 4))
    for epoch in (0, 1):
        sample = dataset[epoch, 3]
        assert sample["index"] == 5
        assert sample["label"] == 1005
        assert (sample["views"][0] == 5).all()
        assert sample["bad"] == [(3, "number 3", "broken"), (4, "number 4", "broken")]
    assert dataset[0, 5]["bad"] == []
    dataset.images.bad = ()  # type: ignore[attr-defined]
    assert dataset[2, 3]["index"] == 3  # a file that came back is shown again
    assert make(bad=(9,))[0, 9]["index"] == 0  # the last image has the first as its neighbor


def test_a_whole_missing_folder_is_left_behind() -> None:
    dataset = make(100_000, bad=tuple(range(1000, 6000)))
    sample = dataset[0, 1001]
    assert sample["index"] == 1001 + 8192
    assert len(sample["bad"]) == 1 + 8 + 9


def test_too_many_bad_images_in_a_row_end_in_an_error_that_names_some() -> None:
    error = make(100, bad=tuple(range(100)), max_bad_in_a_row=4)[0, 50]
    assert isinstance(error, UnreadableError) and [index for index, *_ in error.bad] == [50, 51, 52, 53]
    assert all(f"number {index}: broken" in str(error) for index in (50, 51, 52))
    for length in (1, 2, 7, 20):
        error = make(length, bad=tuple(range(length)))[0, 0]
        assert isinstance(error, UnreadableError)
        tried = [index for index, *_ in error.bad]
        assert len(tried) == len(set(tried)) <= length


def test_a_failing_view_pipeline_names_the_image() -> None:
    def fails(image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        raise ZeroDivisionError("no area")

    said = r"shape \(6, 8, 3\), failed on image 2 \(number 2\).*ZeroDivisionError: no area"
    with pytest.raises(RuntimeError, match=said):
        make(views=fails)[0, 2]

    def rejects(image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        raise DataError("the image must have three channels")

    assert str(make(views=rejects)[0, 2]) == "image 2 (number 2): the image must have three channels"


def test_a_batch_holds_channels_last_uint8_views_of_every_size() -> None:
    dataset = make(bad=(1,))
    samples = [dataset[0, index] for index in (0, 1, 5)]
    batch = collate_views(samples)
    assert [view.shape for view in batch["views"]] == [(3, 3, 6, 8), (3, 3, 4, 5)]
    for number, view in enumerate(batch["views"]):
        assert view.dtype == torch.uint8
        assert view.is_contiguous(memory_format=torch.channels_last)
        expected = np.stack([sample["views"][number] for sample in samples]).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(view.numpy(), expected)
    assert batch["index"].tolist() == [0, 2, 5]
    assert batch["label"].tolist() == [1000, 1002, 1005]
    assert batch["bad"] == [(1, "number 1", "broken")]
    assert "label" not in collate_views([ViewDataset(Numbered(4, labelled=False), two_views)[0, 0]])


def test_views_of_different_shapes_are_rejected() -> None:
    def uneven(image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        return [image[: 1 + image[0, 0, 0]]]

    dataset = make(views=uneven)
    with pytest.raises(
        DataError, match=r"views: must have equal shapes for every image, those of image 0 are .* of image 1 "
    ):
        collate_views([dataset[0, 0], dataset[0, 1]])  # type: ignore[list-item]


NO_IMAGE = "the pipeline must return images, uint8 (height, width, 3), got "


@pytest.mark.parametrize(
    "made, got",
    [
        (None, "views: the pipeline must return a list of images, got NoneType"),
        ([], "views: the pipeline must return a list of images, got an empty one"),
        ([np.zeros((4, 4, 3), np.uint8), None], f"views.1: {NO_IMAGE}NoneType"),
        ([np.zeros((4, 4, 3), np.float32)], f"views.0: {NO_IMAGE}float32 (4, 4, 3)"),
        *(([np.zeros(shape, np.uint8)], f"views.0: {NO_IMAGE}uint8 {shape}") for shape in ((4, 4), (4, 4, 4))),
    ],
)
def test_a_pipeline_that_gives_no_images_is_rejected_with_the_image_it_was_given(made: object, got: str) -> None:
    rejected = make(views=lambda image, rng: made)[0, 2]  # type: ignore[arg-type, return-value]
    assert str(rejected) == f"image 2 (number 2): {got}"


def test_labels_of_images_that_may_have_several_come_as_rows() -> None:
    images = Numbered(3, labelled=False)
    images.labels = LabelSets(np.array([1, 0, 1, 0]), np.array([0, 1, 3, 4]), 2)  # type: ignore[attr-defined]
    dataset = ViewDataset(images, two_views)
    batch = collate_views([dataset[0, index] for index in range(3)])
    assert batch["label"].dtype == torch.uint8
    assert batch["label"].tolist() == [[0, 1], [1, 1], [1, 0]]
