"""Images to batches of views, whatever the files are like."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from selfsup.data.sources.source import ImageSource, LabelSets, file_or_name
from selfsup.data.views.image_check import check_images
from selfsup.errors import DataError, DecodeError, SelfsupError, UnreadableError
from selfsup.registry import DATASETS, TRANSFORMS

ViewPipeline = Callable[[np.ndarray, np.random.Generator], list[np.ndarray]]
BadImage = tuple[int, str, str]
"""Index, name and reason of an image that could not be decoded."""

_NEXT_NEIGHBORS = 8


class Sample(TypedDict):
    """Views of one image, each uint8 of shape (h, w, 3); label: its class, or 0 and 1 for each class, uint8, (C,).

    target: what the one view shows, where the pipeline moves boxes and masks with the image.
    """

    views: list[np.ndarray]
    index: int
    bad: list[BadImage]
    label: NotRequired[int | np.ndarray]
    target: NotRequired[dict[str, Any]]


class Batch(TypedDict):
    """Views of B images: uint8, shape (B, 3, h, w), channels_last; index and label: int64, shape (B,).

    Where images may belong to several classes, label is uint8, shape (B, C).
    """

    views: list[Tensor]
    index: Tensor
    bad: list[BadImage]
    label: NotRequired[Tensor]


class ViewDataset(Dataset[Sample | DataError]):
    """Several random views of each image, reproducible by image and epoch.

    ``dataset[epoch, index]`` draws its random numbers from (seed, epoch, index) alone: neither workers nor a resume
    change them. Where an image cannot be decoded, a neighbor takes its place (index + 1 to + 8, then + 16, + 32 and so
    on, which leaves a whole missing folder behind) with the same random numbers, and ``bad`` names every image that
    failed: again in each epoch, for a file may come back. A source with ``stand_in(index)`` puts another image in the
    place of one that failed, and is asked again.

    A pipeline with ``with_targets(image, target, rng)`` is given the boxes and masks of the image, too, and returns one
    view with what is left of them in it.

    Args:
        images: the image data set, built or as a dict.
        views: the view pipeline, built or as a dict.
        seed: of all views.
        max_bad_in_a_row: images that may fail one after the other before the search ends in an error.
    """

    def __init__(
        self,
        images: ImageSource | dict[str, Any],
        views: ViewPipeline | dict[str, Any],
        *,
        seed: int = 0,
        max_bad_in_a_row: int = 32,
    ) -> None:
        self.images: ImageSource = DATASETS.build(images)
        self.views: ViewPipeline = TRANSFORMS.build(views)
        self.seed = seed
        self.max_bad_in_a_row = max_bad_in_a_row

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Sample | DataError:
        """The views of one image.

        Returns:
            The sample; its ``index`` and ``label`` are those of the image shown. A ``DataError`` is returned, not
            raised, when no neighbor can be decoded either, or when the view pipeline rejects the image: a worker
            process would bury its message in a traceback. ``build_loader`` raises it where the batch arrives.

        Raises:
            RuntimeError: if the data set or the view pipeline fails for another reason; names the image.
        """
        epoch, wanted = epoch_and_index
        bad: list[BadImage] = []
        for index in self._candidates(wanted):
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, epoch, wanted)))
            part = "the data set"
            try:
                image = self.images.image(index)
                part = f"the view pipeline, given shape {image.shape},"
                views, target = self._shown(image, index, rng)
                check_images(views)
            except DecodeError as error:
                name = file_or_name(self.images, index)
                bad.append((index, name, str(error).removeprefix(f"{name}: ")))
                if (stand_in := getattr(self.images, "stand_in", None)) is not None:
                    try:
                        stand_in(index)
                    except SelfsupError as ended:
                        return DataError(str(ended))
                continue
            except SelfsupError as error:
                return DataError.at(f"image {index} ({file_or_name(self.images, index)})", str(error))
            except Exception as error:
                raise RuntimeError(
                    f"{part} failed on image {index} ({file_or_name(self.images, index)}) in epoch {epoch}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            sample = Sample(views=views, index=index, bad=bad)
            if target is not None:
                sample["target"] = target
            labels = getattr(self.images, "labels", None)  # kept here, they would be copied into every worker
            if labels is not None:
                sample["label"] = labels[index] if isinstance(labels, LabelSets) else int(labels[index])
            return sample
        examples = "; ".join(f"{name}: {reason}" for _, name, reason in bad[:3])
        return UnreadableError(
            f"{len(bad)} images in a row cannot be decoded, from number {wanted} of {len(self.images):,} on: "
            f"{examples}",
            bad,
        )

    def _shown(
        self, image: np.ndarray, index: int, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], dict[str, Any] | None]:
        """The views of an image, and what the one view shows where the pipeline takes boxes and masks."""
        with_targets = getattr(self.views, "with_targets", None)
        if with_targets is None:
            return self.views(image, rng), None
        if (targets := getattr(self.images, "targets", None)) is None:
            raise DataError.at("dataset", "has no boxes", got=type(self.images).__name__)
        view, target = with_targets(image, targets(index), rng)
        return [view], target

    def _candidates(self, wanted: int) -> Iterator[int]:
        """The image itself and its neighbors, none twice; itself again where the source finds one to stand in."""
        if hasattr(self.images, "stand_in"):
            yield from repeat(wanted, self.max_bad_in_a_row)
            return
        length = len(self.images)
        yield wanted
        offset = 1
        for _ in range(self.max_bad_in_a_row - 1):
            if offset >= length:
                return
            yield (wanted + offset) % length
            offset = offset + 1 if offset < _NEXT_NEIGHBORS else offset * 2


def collate_views(samples: Sequence[Sample]) -> Batch:
    """Samples to a batch, one allocation and one copy per view.

    Raises:
        DataError: if they differ in the number or sizes of their views.
    """
    shapes = [view.shape for view in samples[0]["views"]]
    batches = [np.empty((len(samples), *shape), np.uint8) for shape in shapes]
    for row, sample in enumerate(samples):
        views = sample["views"]
        if [view.shape for view in views] != shapes:
            raise DataError.at(
                "views",
                f"must have equal shapes for every image, those of image {samples[0]['index']} are {shapes} and of "
                f"image {sample['index']} {[view.shape for view in views]}",
            )
        for batch, view in zip(batches, views, strict=True):
            batch[row] = view
    collated = Batch(
        views=[torch.from_numpy(batch).permute(0, 3, 1, 2) for batch in batches],
        index=torch.tensor([sample["index"] for sample in samples]),
        bad=[bad for sample in samples for bad in sample["bad"]],
    )
    if "label" in samples[0]:
        collated["label"] = torch.from_numpy(np.array([sample["label"] for sample in samples]))
    return collated
