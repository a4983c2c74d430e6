"""Batches that a method cannot learn from: too few views of an image, or no other image to compare it with."""

from collections.abc import Sequence

from torch import Tensor

from selfsup.errors import ConfigError, require


def check_has_negatives(per_process: int, processes: int) -> None:
    """What ``check_batch`` does where images are compared with the others of their batch.

    Raises:
        ConfigError: if there are no others.
    """
    require(
        per_process * processes >= 2, "", "compares images of a batch with each other, which takes two or more", got=1
    )


def check_views(views: Sequence[Tensor], *, needed: int | None, exact: bool, why: str) -> None:
    """Reject a batch whose number of views does not fit the method.

    Args:
        views: the batch.
        needed: how many views it must have; None leaves it open.
        exact: whether more are wrong too.
        why: what asks for them, for the error message.

    Raises:
        ConfigError: if there are too few, or with ``exact`` too many, or if they are no list of normalized images.
    """
    if isinstance(views, Tensor):
        raise ConfigError.at(
            "views", f"must be a list with a batch of images per view, got one of {tuple(views.shape)}"
        )
    if any(not view.is_floating_point() for view in views):
        raise ConfigError.at("views", "must be normalized images, as method.preprocess makes them", got=views[0].dtype)
    if misfit := _misfit(len(views), needed=needed, exact=exact, why=why):
        raise ConfigError.at("views", f"{misfit} (a run's come from train_dataloader.views)")


def check_view_count(num_views: int, *, needed: int | None, exact: bool, why: str) -> None:
    """Reject a config whose number of views does not fit the method; the arguments are those of :func:`check_views`.

    Raises:
        ConfigError: if there are too few, or with ``exact`` too many.
    """
    if misfit := _misfit(num_views, needed=needed, exact=exact, why=why):
        raise ConfigError(misfit)


def _misfit(num_views: int, *, needed: int | None, exact: bool, why: str) -> str:
    if needed is None or (num_views >= needed and not (exact and num_views > needed)):
        return ""
    amount = f"exactly {needed}" if exact else f"at least {needed}"
    return f"{why} needs {amount} view{'' if needed == 1 else 's'} of each image, got {num_views}"
