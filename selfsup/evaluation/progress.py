"""A progress bar that only appears when there is something to wait for."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich import get_console
from rich.errors import LiveError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
        enabled: False for no bar at all; there is none either where the output is not a terminal, or where another
            bar is on it already and this version of rich shows one at a time.
    """
    console = get_console()
    if not (enabled and console.is_terminal):
        yield from items
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(title, total=total)
    begun = time.perf_counter()
    waiting = True
    try:
        for number, item in enumerate(items, start=1):
            yield item
            bar.update(task, completed=number)
            if waiting and time.perf_counter() - begun > seconds:
                waiting = False
                try:
                    bar.start()
                except LiveError:
                    continue
    finally:
        bar.stop()
