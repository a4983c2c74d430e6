"""What somebody should know before the first step of a run: lengths that do not go together."""

from typing import Any

from torch import nn

from selfsup.config.batch import sync_bn_group
from selfsup.config.recipe import Recipe
from selfsup.errors import ConfigError, under


def check_batches(method: Any, recipe: Recipe, processes: int) -> None:
    """Ask a method whether it can train with a micro-batch and with all of an update, and whether batch norm can.

    Raises:
        ConfigError: if not.
    """
    batch = recipe.train_dataloader.batch_size
    with under("model"):
        for size in sorted({batch, batch * recipe.accumulate}):
            method.check_batch(size, processes)
    norms = [part for part in method.modules() if isinstance(part, nn.BatchNorm1d) and part.training]
    alone = batch == 1 and sync_bn_group(recipe, processes) in (None, 1)
    if alone and norms and not getattr(method, "joins_views", False):
        raise ConfigError.at(
            "train_dataloader.batch_size", "must be >= 2 for batch norm over the features of the images", got=1
        )


def said_beforehand(
    recipe: Recipe, method: Any, *, num_images: int | None, steps: int | None, steps_per_epoch: int | None
) -> list[str]:
    """Sentences about a run that can be done and hardly does what was meant.

    Args:
        recipe: of the run.
        method: that is trained.
        num_images: that are trained on; None if unknown, as in a dry run, and so below.
        steps: optimizer updates of the whole run.
        steps_per_epoch: optimizer updates in one pass over the data.
    """
    said = []
    for path, schedule in recipe.schedules.items():
        warmup = schedule.get("warmup_steps") or round((schedule.get("warmup_epochs") or 0) * (steps_per_epoch or 0))
        if steps is not None and warmup >= steps > 0:
            said.append(
                f"{path}: the warm-up takes {warmup} steps and the run has {steps}, so that the learning rate never "
                "reaches its peak"
            )
    length = getattr(method, "queue_length", 0)
    if num_images is not None and length > num_images:
        said.append(
            f"model.queue_length: the queue holds {length:,} embeddings and the data set has {num_images:,} images, so "
            "that images are compared with earlier views of themselves"
        )
    if num_images == 1:
        said.append("train_dataloader.dataset: there is one image to train on")
    return said
