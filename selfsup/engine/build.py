"""What a run trains with, from its config: images, and the optimizer in its precision."""

import logging
from typing import Any

import torch
from torch import nn

from selfsup.config.recipe import DEFAULT_WRAPPER, Recipe
from selfsup.data.selection import labelled
from selfsup.errors import DataError, require, under
from selfsup.methods.base import Method
from selfsup.ops.dist import gather_objects, together
from selfsup.ops.precision import fast_everywhere, fast_precisions, reason
from selfsup.registry import DATASETS, OPTIM_WRAPPERS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint

SOURCE = "a source of images has __len__(), image(index) and name(index): `selfsup show ImageSource`"


def build_images(recipe: Recipe) -> tuple[Any, Any]:
    """The data set with all of its images, and the view pipeline.

    Raises:
        ConfigError: if the data set is no source of images.
        DataError: if there are other numbers of images in other processes, which would wait for each other for ever.
    """
    with together():
        with under("train_dataloader.dataset"):
            images = DATASETS.build(recipe.train_dataloader.dataset)
            missing = [name for name in ("__len__", "image", "name") if not hasattr(images, name)]
            require(not missing, "", f"{type(images).__name__} has no {', '.join(missing)}", expected=SOURCE)
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


def usable_by(method: Method, images: Any, log: logging.Logger) -> Any:
    """The images that a method can be trained on: for one that learns from labels those that have one."""
    usable = images if method.label_classes() is None else labelled(images)
    if len(usable) < len(images):
        log.info(f"{len(images) - len(usable):,} images without a label are not trained on")
    return usable


def class_difference(method: Method, images: Any) -> str | None:
    """What to say where a method looks at labels and takes them to have other classes than the images have."""
    made_for, classes = method.label_classes(), getattr(images, "classes", None)
    if made_for is None or not classes or made_for[1] == len(classes):
        return None
    place, number = made_for
    return (
        f"{place} is {number}, the images have {len(classes)} classes; for a classifier of theirs: "
        f"--cfg-options {place}={len(classes)}"
    )


def build_optim_wrapper(recipe: Recipe, method: nn.Module) -> Any:
    """The optimizer over the method's parameters, in what gives it gradients."""
    section = recipe.optim_wrapper
    with under("optim_wrapper"):
        wrapper = OPTIM_WRAPPERS.find(section.get("type", DEFAULT_WRAPPER)).for_method(method, section)
    wrapper.whole_gradients = recipe.sharding is not None and recipe.sharding.whole_gradients
    return wrapper


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
