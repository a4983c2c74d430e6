"""What a run trains with, from its config: images, and the optimizer in its precision."""

import logging
from typing import Any

import numpy as np
import torch

from selfsup.config.recipe import DEFAULT_WRAPPER, Recipe
from selfsup.data.selection import Drawn
from selfsup.data.sources.source import single_labels
from selfsup.errors import DataError, under
from selfsup.methods.base import Method
from selfsup.ops.dist import gather_objects
from selfsup.ops.precision import fast_everywhere, fast_precisions, reason
from selfsup.ops.together import together
from selfsup.registry import DATASETS, OPTIM_WRAPPERS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint


def build_images(recipe: Recipe) -> tuple[Any, Any]:
    """The data set with all of its images, and the view pipeline.

    Raises:
        DataError: if there are other numbers of images in other processes, which would wait for each other for ever.
    """
    with together():
        with under("train_dataloader.dataset"):
            images = DATASETS.build(recipe.train_dataloader.dataset)
        with under("train_dataloader.views"):
            views = TRANSFORMS.build(recipe.train_dataloader.views)
    lengths = gather_objects(len(images))
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            raise DataError.at(
                "train_dataloader.dataset",
                f"process 0 sees {lengths[0]:,} images, process {number} sees {length:,}",
                expected="every process must find the same files",
            )
    return images, views


def check_labels(method: Method, images: Any) -> str | None:
    """Reject images without labels where a method learns from them; of very many images some are looked at.

    Returns:
        What to say where the method takes the images to have other classes than they have.

    Raises:
        DataError: if there are such images.
    """
    if (made_for := method.label_classes()) is None:
        return None
    if (labels := single_labels(images)) is not None:
        missing = int(np.sum(np.asarray(labels[Drawn(len(images), 1 << 21)[:]]) < 0))
        if missing:
            raise DataError(
                f"train_dataloader.dataset: {type(method).__name__} learns from labels, and {missing:,} images have "
                "none (-1); leave them out of the list"
            )
    place, number = made_for
    classes = getattr(images, "classes", None)
    if not classes or number == len(classes):
        return None
    return (
        f"{place} is {number}, the images have {len(classes)} classes; for a classifier of theirs: "
        f"--cfg-options {place}={len(classes)}"
    )


def build_optim_wrapper(recipe: Recipe, method: Method) -> Any:
    """The optimizer over the method's parameters, in what gives it gradients."""
    section = recipe.optim_wrapper
    with under("optim_wrapper"):
        return OPTIM_WRAPPERS.find(section.get("type", DEFAULT_WRAPPER)).for_method(method, section)


def settle_precision(wrapper: Any, device: torch.device, saved: Checkpoint | None, log: logging.Logger) -> None:
    """Where the recipe leaves the precision to the device: one for all processes, kept by a resumed run, and logged."""
    if not getattr(wrapper, "automatic", False):
        return
    fast, kept = fast_everywhere(device), None if saved is None else saved.precision
    wrapper.compute_in(kept or fast)
    if kept is None:
        log.info(f"precision {fast}: {reason(fast, device)}")
    elif kept in fast_precisions(device):
        log.info(f"precision {kept}: the run began with it")
    else:
        log.warning(
            f"precision {kept}: the run began with it, and it is slow here, where the {device.type} does not compute "
            f"it in hardware; optim_wrapper.precision={fast} continues in what is fast"
        )
