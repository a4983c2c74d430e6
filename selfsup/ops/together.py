"""What stops one process stops all of them, with its message, instead of leaving the others to wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfsup.errors import SelfsupError
from selfsup.ops.dist import gather_objects


@contextmanager
def together() -> Iterator[None]:
    """An error of the user's inside, on any process, is raised on every one; all of them enter together.

    What is done inside must not need the other processes.
    """
    own: SelfsupError | None = None
    try:
        yield
    except SelfsupError as error:
        own = error
    faults = gather_objects(None if own is None else (type(own), str(own)))
    if own is not None:
        raise own
    for number, fault in enumerate(faults):
        if fault is not None:
            kind, message = fault
            raise kind(f"process {number}: {message}")
