"""A step that takes too long: what every process is doing, in one line, while the others still wait for it."""

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

import torch.distributed as dist

from selfsup.ops.dist import rank, world_size

LOOP, RUNNER = "selfsup.engine.loop", "selfsup.engine.runner"
PLACES = (
    (LOOP, "TrainLoop._fetch", "reading images"),
    (LOOP, "TrainLoop._stop_if_needed", "start of the step"),
    (LOOP, "TrainLoop._check_finite", "check of the loss"),
    (LOOP, "TrainLoop._mean_over_processes", "means of the metrics"),
    ("selfsup.engine.hooks.evaluate", "EvaluateHook._evaluate", "evaluating"),
    ("selfsup.engine.saver", "", "saving"),
    (RUNNER, "Runner.save", "saving"),
    ("torch.autograd", "", "backward pass"),
    ("selfsup.engine.optim", "", "update of the weights"),
    ("selfsup.methods", "", "forward pass of the method"),
)
"""Module or package, function or any, and what is done there; hooks are named by their class."""
CALLS_HOOKS = ((LOOP, "TrainLoop._call"), ("mmengine.runner.runner", "Runner.call_hook"))
LONG_WORK = ("evaluating", "saving")  # what may take long without anything being wrong


class Call(NamedTuple):
    """A function that is being executed."""

    module: str
    function: str  # with its class: 'TrainLoop._fetch'


def place_of(stack: Sequence[Call]) -> str:
    """What a thread is doing: ``'all_reduce_sum (check of the loss)'``, ``'reading images'``, ``'hook MyHook'``.

    Args:
        stack: innermost call first, not empty.
    """
    collective = ""
    for module, function in stack:
        if module != "selfsup.ops.dist" and not _within(module, "torch.distributed"):
            break
        name = function.rpartition(".")[2]
        collective = collective if name.startswith("_") or "<locals>" in function else name
    place = next(_known_places(stack), f"{stack[0].module}.{stack[0].function}")
    return f"{collective} ({place})" if collective else place


def _known_places(stack: Sequence[Call]) -> Iterator[str]:
    for inner, call in zip([None, *stack], stack, strict=False):
        if call in CALLS_HOOKS and inner is not None:
            yield f"hook {inner.function.partition('.')[0]}"
        for package, function, place in PLACES:
            if _within(call.module, package) and function in ("", call.function):
                yield place


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def summary(places: Mapping[int, str], processes: int) -> str:
    """Who does what, neighbors with the same place together, and who has said nothing.

    Args:
        places: by number of the process.
        processes: how many there are.
    """
    by_place: dict[str, list[int]] = {}
    for number, place in sorted(places.items()):
        by_place.setdefault(place, []).append(number)
    said = [f"process{'es' if len(who) > 1 else ''} {_ranges(who)}: {place}" for place, who in by_place.items()]
    silent = [number for number in range(processes) if number not in places]
    return "; ".join([*said, f"silent: {_ranges(silent) or 'none'}"])


def _ranges(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``'0-2, 5'``."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


class SlowStepWatch:
    """While entered, a thread of every process looks whether the current step takes too long; for one process nothing.

    From half the limit on it posts what the main thread is doing to the store of the process group, and again each time
    the step has taken twice as long. From the limit on, the first process that has posted logs what all have: a
    warning, or an information while anyone evaluates or saves.

    Args:
        log: of this process.
        limit: seconds, > 0; where the shortest step takes more than half of it, twice that step.
        name: of the run, so that runs of the same processes do not read each other's posts.
    """

    def __init__(self, log: logging.Logger, *, limit: float, name: str) -> None:
        self.log, self.limit, self.name = log, limit, name
        self._current = (0, time.monotonic())
        self._shortest = 0.0
        self._left = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[int, bytes] = {}

    def begin_step(self, step: int) -> None:
        """Step number ``step`` begins, and the one before it, if any, is over."""
        before, began = self._current
        now = time.monotonic()
        if before:
            self._shortest = min(self._shortest or now - began, now - began)
        self._current = (step, now)

    def __enter__(self) -> "SlowStepWatch":
        if world_size() > 1:
            self._store = dist.PrefixStore(f"slow step/{self.name}", _own_store())
            self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._left.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)  # it may wait for a store whose process is gone

    def _watch(self, main_thread: int) -> None:
        watched, due, posts = 0, 0.0, 0
        while not self._left.wait(self.limit / 8):
            step, began = self._current
            limit = max(self.limit, 2 * self._shortest)
            if step != watched:
                watched, due = step, limit / 2
            if not step or time.monotonic() - began < due:
                continue
            place = place_of(_calls(sys._current_frames()[main_thread]))
            is_report, due, posts = due >= limit, 2 * due, posts + 1
            try:
                self._store.set(str(rank()), f"{posts} {step} {place}")
                if not is_report or self._left.wait(self.limit / 8):  # until the others have posted, too
                    continue
                if self._current[0] == step:
                    self._report(step, time.monotonic() - began)
            except RuntimeError as error:
                line = f"step {step} is slow: process {rank()}: {place}; the others cannot be asked ({error})"
                self.log.warning(line)

    def _report(self, step: int, seconds: float) -> None:
        if any(self._place(number, step) for number in range(rank())):
            return
        found = {number: self._place(number, step) for number in range(rank(), world_size())}
        places = {number: place for number, place in found.items() if place}
        is_long_work = any(word in place for place in places.values() for word in LONG_WORK)
        self.log.log(
            logging.INFO if is_long_work else logging.WARNING,
            f"step {step} has taken {seconds:.0f} s: {summary(places, world_size())}",
        )

    def _place(self, number: int, step: int) -> str:
        """What a process has posted since the last report; empty if nothing."""
        key = str(number)
        if not self._store.check([key]) or (post := self._store.get(key)) == self._seen.get(number):
            return ""
        self._seen[number] = post
        _, its_step, place = post.decode().split(" ", 2)
        if abs(int(its_step) - step) > 1:  # of an earlier slow step
            return ""
        return place if int(its_step) == step else f"{place}, step {its_step}"


def _own_store() -> dist.Store:
    """That of the process group, by a connection that the main thread cannot block, where there are connections."""
    store = dist.distributed_c10d._get_default_store()
    base = store
    while isinstance(base, dist.PrefixStore):
        base = base.underlying_store
    return store.clone() if isinstance(base, dist.TCPStore) and hasattr(store, "clone") else store


def _calls(frame: FrameType | None) -> list[Call]:
    """The stack of a thread, innermost call first."""
    stack = []
    while frame is not None:
        stack.append(Call(str(frame.f_globals.get("__name__")), frame.f_code.co_qualname))
        frame = frame.f_back
    return stack
