"""A progress bar that only appears when there is something to wait for."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rich import get_console
from rich.errors import LiveError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")


def progress_after(
    items: Iterable[Item], *, total: int, title: str, seconds: float = 5.0, enabled: bool = True
) -> Iterator[Item]:
    """Pass items on, with a bar and the time left once ``seconds`` have gone by.

    Args:
        items: what to pass on.
        total: how many there will be.
        title: what is being done.
        seconds: patience before the bar appears.
        enabled: False for no bar at all.
    """
    with progress_bar(title, total=total, seconds=seconds, enabled=enabled) as tick:
        for item in items:
            yield item
            tick()


@contextmanager
def progress_bar(
    title: str, *, total: int | None = None, seconds: float = 5.0, enabled: bool = True
) -> Iterator[Callable[[], None]]:
    """Gives a function to call whenever a part is done; a bar appears once ``seconds`` have gone by.

    Args:
        title: what is being done.
        total: how many parts there are, if that is known: it takes the time left to show.
        seconds: patience before the bar appears.
        enabled: False for no bar at all; there is none either where the output is not a terminal, or where another
            bar is on it already and this version of rich shows one at a time.
    """
    console = get_console()
    if not (enabled and console.is_terminal):
        yield lambda: None
        return
    clock = TimeElapsedColumn() if total is None else TimeRemainingColumn()
    bar = Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), clock, console=console, transient=True)
    task = bar.add_task(title, total=total)
    begun = time.perf_counter()
    waiting = True

    def tick() -> None:
        nonlocal waiting
        bar.advance(task)
        if waiting and time.perf_counter() - begun > seconds:
            waiting = False
            with suppress(LiveError):
                bar.start()

    try:
        yield tick
    finally:
        bar.stop()
