"""What to do where a batch turns out not to fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfsup.config.recipe import Recipe
from selfsup.errors import ConfigError
from selfsup.ops.dist import world_size
from selfsup.ops.launch import local_device
from selfsup.ops.memory import device_memory, is_lack_of_memory
from selfsup.ops.precision import fast_precision
from selfsup.planning.scale import largest_batch


@contextmanager
def batch_has_to_fit(recipe: Recipe, *, device: str | None = None, option: str | None = None) -> Iterator[None]:
    """Where memory runs out inside, say with which accumulation the batch would fit.

    Args:
        recipe: that is trained.
        device: as of the :class:`~selfsup.engine.runner.Runner`.
        option: of the command, which sets the images at a time and leaves accumulation to it; None for config options.

    Raises:
        ConfigError: at the batch size, with what would fit.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        where, batch = local_device(device), recipe.train_dataloader.batch_size
        micro = _smaller(recipe, device=device)
        if micro is None:
            expected = "a smaller network or image"
        elif option is not None:
            expected = f"{option} {micro} would fit, {batch * recipe.accumulate // micro} times accumulated"
        else:
            counts = batch // micro * recipe.accumulate
            expected = (
                f"--cfg-options train_dataloader.batch_size={micro} optim_wrapper.accumulative_counts={counts} would "
                "fit; `selfsup plan` shows other ways"
            )
        raise ConfigError.at(
            option or "train_dataloader.batch_size",
            f"so many images at a time do not fit into the memory of {where}",
            got=batch,
            expected=expected,
        ) from None


def _smaller(recipe: Recipe, *, device: str | None) -> int | None:
    """The largest part of the batch that fits, by what a step takes; half of it at the most, for the whole does not."""
    where, batch = local_device(device), recipe.train_dataloader.batch_size
    precision = fast_precision(where) if recipe.precision == "auto" else recipe.precision
    fits = largest_batch(recipe, processes=world_size(), memory=device_memory(where), precision=precision)
    most = batch // 2 if fits is None else min(fits, batch // 2)
    return next((micro for micro in range(most, 0, -1) if batch % micro == 0), None)
