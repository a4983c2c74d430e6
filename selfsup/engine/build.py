"""What a run trains with, from its config: images, lengths, optimizer, batches; each needs those before."""

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from selfsup.config.recipe import DEFAULT_WRAPPER, Recipe
from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.selection import labelled
from selfsup.data.view_dataset import ViewDataset
from selfsup.errors import ConfigError, DataError, under
from selfsup.methods.base import Method
from selfsup.ops.dist import gather_objects, rank, world_size
from selfsup.ops.precision import fast_everywhere, fast_precisions, reason
from selfsup.ops.together import together
from selfsup.registry import DATASETS, OPTIM_WRAPPERS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint


def build_images(recipe: Recipe) -> tuple[Any, Any]:
    """The data set with all of its images, and the view pipeline; every process has as many images.

    Raises:
        ConfigError: if the data set lacks a method that is called.
        DataError: if there are no images, or other numbers of them in other processes.
    """
    with together():
        with under("train_dataloader.dataset"):
            images = DATASETS.build(recipe.train_dataloader.dataset)
        with under("train_dataloader.views"):
            views = TRANSFORMS.build(recipe.train_dataloader.views)
        absent = [name for name in ("__len__", "image", "name") if not callable(getattr(images, name, None))]
        if absent:
            raise ConfigError.at(
                "train_dataloader.dataset",
                f"{type(images).__name__} has no {' and no '.join(absent)}",
                expected="a data set has __len__(), image(index) and name(index)",
            )
    check_length(len(images))
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


def lengths(recipe: Recipe, num_images: int) -> tuple[int, int, int]:
    """Micro-batches per update, updates per pass over so many images, and updates of the whole run."""
    accumulate, length = recipe.accumulate, recipe.train_cfg
    per_epoch = steps_per_epoch(num_images, recipe.train_dataloader.batch_size, world_size(), accumulate)
    return accumulate, per_epoch, length.max_steps or (length.max_epochs or 0) * per_epoch


def build_optim_wrapper(recipe: Recipe, method: Method) -> Any:
    """The optimizer over the method's parameters, in what gives it gradients."""
    section = recipe.optim_wrapper
    with under("optim_wrapper"):
        return OPTIM_WRAPPERS.find(section.get("type", DEFAULT_WRAPPER)).for_method(method, section)


def settle_precision(wrapper: Any, device: torch.device, saved: Checkpoint | None, log: logging.Logger) -> None:
    """Where the recipe leaves the precision to the device: one for all processes, kept by a run that is resumed.

    Args:
        wrapper: computes in it from here on.
        device: of this process.
        saved: the checkpoint that the run is resumed from; None for a new run.
        log: for a line that says which precision it is, and why.
    """
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


def build_batches(
    recipe: Recipe,
    view_dataset: ViewDataset,
    *,
    start_step: int,
    total_steps: int,
    accumulate: int,
    collate: Callable[..., Any],
    device: torch.device,
) -> DataLoader:
    """This process's micro-batches in order, from the first one of a step on.

    Args:
        recipe: of the run.
        view_dataset: the images to train on, with their views.
        start_step: updates done so far.
        total_steps: updates of the whole run.
        accumulate: micro-batches per update.
        collate: the method's.
        device: where they are used.
    """
    loader = recipe.train_dataloader
    sampler = StepSampler(
        len(view_dataset.images),
        loader.batch_size,
        world_size=world_size(),
        rank=rank(),
        seed=recipe.seed,
        start_step=start_step,
        total_steps=total_steps,
        accumulate=accumulate,
    )
    workers = min(loader.num_workers, os.cpu_count() or 1)  # more would only wait for each other
    return build_loader(
        view_dataset,
        sampler,
        num_workers=workers,
        prefetch_factor=loader.prefetch_factor,
        collate=collate,
        device=device,
    )


def check_length(length: int) -> None:
    """Reject data sets that are not equally long in all processes, which would count different steps and wait for ever.

    Raises:
        DataError: if one differs.
    """
    lengths = gather_objects(length)
    for number, other in enumerate(lengths):
        if other != lengths[0]:
            raise DataError.at(
                "train_dataloader.dataset",
                f"process 0 sees {lengths[0]:,} images, process {number} sees {other:,}",
                expected="every process must find the same files",
            )
