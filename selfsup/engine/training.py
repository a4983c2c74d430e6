"""What a run trains with, from its config: images, lengths, optimiser, batches; each needs those before."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from selfsup.config import DEFAULT_WRAPPER
from selfsup.config.schema import TrainDataloader
from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine.resume import saved_precision
from selfsup.engine.together import check_length, together
from selfsup.errors import ConfigError
from selfsup.methods.base import Method
from selfsup.ops.dist import rank, world_size
from selfsup.ops.precision import fast_everywhere, fast_precisions, reason
from selfsup.registry import DATASETS, OPTIM_WRAPPERS, TRANSFORMS


def build_images(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The data set with all of its images, and the view pipeline; every process has as many images.

    Raises:
        ConfigError: if the data set lacks a method that is called.
        DataError: if there are no images, or other numbers of them in other processes.
    """
    loader = config["train_dataloader"]
    with together():
        images = DATASETS.build(loader["dataset"])
        views = TRANSFORMS.build(loader["views"])
        absent = [name for name in ("__len__", "image", "name") if not callable(getattr(images, name, None))]
        if absent:
            raise ConfigError(
                f"train_dataloader.dataset: {type(images).__name__} has no {' and no '.join(absent)}; a data set has "
                "__len__(), image(index) and name(index)"
            )
    check_length(len(images))
    return images, views


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


def lengths(config: Mapping[str, Any], num_images: int) -> tuple[int, int, int]:
    """Micro-batches per update, updates per pass over so many images, and updates of the whole run."""
    accumulate = config["optim_wrapper"].get("accumulative_counts", 1)
    per_epoch = steps_per_epoch(num_images, config["train_dataloader"]["batch_size"], world_size(), accumulate)
    plan = config["train_cfg"]
    return accumulate, per_epoch, plan["max_steps"] if "max_steps" in plan else plan["max_epochs"] * per_epoch


def build_optim_wrapper(config: Mapping[str, Any], method: Method) -> Any:
    """The optimiser over the method's parameters, in what gives it gradients."""
    wrapper = config["optim_wrapper"]
    return OPTIM_WRAPPERS.find(wrapper.get("type", DEFAULT_WRAPPER)).for_method(method, wrapper)


def settle_precision(
    wrapper: Any,
    device: torch.device,
    saved: Mapping[str, Any] | None,
    *,
    tell: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Where the config leaves the precision to the device: one for all processes, kept by a run that is resumed.

    Args:
        wrapper: computes in it from here on.
        device: of this process.
        saved: the state of the checkpoint that the run goes on from; None for a new run.
        tell: for a line that says which precision it is, and why.
        warn: is told instead if a kept one is slow on this device.
    """
    if not getattr(wrapper, "automatic", False):
        return
    fast, kept = fast_everywhere(device), None if saved is None else saved_precision(saved)
    wrapper.compute_in(kept or fast)
    if kept is None:
        tell(f"precision {fast}: {reason(fast, device)}")
    elif kept in fast_precisions(device):
        tell(f"precision {kept}: the run began with it")
    else:
        warn(
            f"precision {kept}: the run began with it, and it is slow here, where the {device.type} does not compute "
            f"it in hardware; optim_wrapper.precision={fast} goes on in what is fast"
        )


def build_batches(
    config: Mapping[str, Any],
    view_dataset: ViewDataset,
    *,
    start_step: int,
    total_steps: int,
    accumulate: int,
    device: torch.device,
) -> DataLoader:
    """This process's micro-batches in order, from the first one of a step on.

    Args:
        config: of the run.
        view_dataset: the images to train on, with their views.
        start_step: updates done so far.
        total_steps: updates of the whole run.
        accumulate: micro-batches per update.
        device: where they are used.
    """
    loader = config["train_dataloader"]
    sampler = StepSampler(
        len(view_dataset.images),
        loader["batch_size"],
        world_size=world_size(),
        rank=rank(),
        seed=config.get("seed", 0),
        start_step=start_step,
        total_steps=total_steps,
        accumulate=accumulate,
    )
    workers = min(loader.get("num_workers", 0), os.cpu_count() or 1)  # more would only wait for each other
    ahead = loader.get("prefetch_factor", TrainDataloader.prefetch_factor)
    return build_loader(view_dataset, sampler, num_workers=workers, prefetch_factor=ahead, device=device)
