"""Files that could not be decoded: counted, named, and too many of them stop the run."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from selfsup.errors import DataError, require
from selfsup.ops.dist import broadcast_object, gather_objects, is_main, world_size
from selfsup.ops.files import WholeAppends, unrecorded
from selfsup.registry import HOOKS

# If half of the allowed 1 % is bad, 100 of the first 10,000 images are 7 standard deviations from a false stop.
_FEWEST_SEEN = 10_000

_ONE_LINE = {number: f"\\x{number:02x}" for number in range(32)}


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Write every file that could not be decoded to ``bad_images.txt``, once: name, reason and index, a tab between.

    The fraction is that of the images seen so far, counted as 10,000 (or the data set, if it is smaller) where they are
    fewer. Memory for the files that are known is a bit an image, from the first bad one on.

    Args:
        max_share: fraction of the images seen that may be unreadable, in [0, 1]; a single bad file never stops a run.
        every_steps: steps between exchanges among processes, > 0; one process looks at every step.

    Raises:
        ConfigError: if an argument is out of range.
    """

    priority = "NORMAL"

    def __init__(self, max_share: float = 0.01, *, every_steps: int = 20) -> None:
        require(0 <= max_share <= 1, "max_share", "must be in [0, 1]", got=max_share)
        require(every_steps >= 1, "every_steps", "must be > 0", got=every_steps)
        self.max_share = max_share
        self.every_steps = every_steps
        self._new: dict[int, tuple[str, str]] = {}
        self._known: np.ndarray | None = None
        self._count = 0
        self._images_per_step = 0

    def before_train(self, runner: Any) -> None:
        """Read what an earlier part of the run has found."""
        path = self._path(runner)
        earlier: list[int] = []
        if is_main() and path.is_file():
            with path.open(encoding="utf-8") as lines:
                last_words = (line.rstrip("\n").rpartition("\t")[2] for line in lines)
                earlier = [int(word) for word in last_words if word.isdecimal()]
        for index in broadcast_object(earlier):
            self._note(index, len(runner.train_images))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Collect the batch's bad files, and stop if there are too many."""
        batches = data_batch or ()
        self._images_per_step = sum(len(batch["index"]) for batch in batches) * world_size()
        for batch in batches:
            self._new |= {index: (name, reason) for index, name, reason in self._unknown(batch.get("bad", ()))}
        due = world_size() == 1 or (runner.iter + 1) % self.every_steps == 0
        if due and self._exchange(runner):
            self._check_share(runner, seen=min((runner.iter + 1) * self._images_per_step, len(runner.train_images)))

    def on_unreadable(self, runner: Any, bad: Sequence[tuple[int, str, str]]) -> None:
        """Name the images that end the run because those around them are unreadable too."""
        self._append(runner, self._unknown(bad))

    def after_train(self, runner: Any) -> None:
        """Write what is left, and say how many there were."""
        self._exchange(runner)
        if self._count:
            runner.logger.warning(
                f"{self._count} image{'' if self._count == 1 else 's'} could not be decoded: {self._path(runner)}"
            )

    def _path(self, runner: Any) -> Path:
        return Path(runner.work_dir) / "bad_images.txt"

    def _append(self, runner: Any, bad: Iterable[tuple[int, str, str]]) -> None:
        text = "".join(
            f"{name.translate(_ONE_LINE)}\t{' '.join(reason.split())}\t{index}\n" for index, name, reason in bad
        )
        path = self._path(runner)
        try:
            with contextlib.closing(WholeAppends(path)) as file:
                file.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            raise unrecorded(path, error) from error

    def _unknown(self, bad: Iterable[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
        return [image for image in bad if self._known is None or not self._known[image[0] >> 3] >> (image[0] & 7) & 1]

    def _note(self, index: int, total: int) -> bool:
        """Count an image unless it is known; whether it was not."""
        if self._known is None:
            self._known = np.zeros(total // 8 + 1, np.uint8)  # the system gives the memory where bits are set
        if index >= total or self._known[index >> 3] >> (index & 7) & 1:
            return False
        self._known[index >> 3] |= 1 << (index & 7)
        self._count += 1
        return True

    def _exchange(self, runner: Any) -> bool:
        """Every process learns what any has found, the main one writes it; whether there was anything new."""
        found: dict[int, tuple[str, str]] = {}
        for part in gather_objects(self._new):
            found.update(part)
        self._new = {}
        total = len(runner.train_images)
        fresh = [(index, *named) for index, named in found.items() if self._note(index, total)]
        if fresh and is_main():
            self._append(runner, fresh)
        return bool(fresh)

    def _check_share(self, runner: Any, *, seen: int) -> None:
        if self._count > max(1, self.max_share * min(max(seen, _FEWEST_SEEN), len(runner.train_images))):
            raise DataError(
                f"{self._count:,} of the {seen:,} images seen so far could not be decoded, more than the allowed share "
                f"of {self.max_share:.2%}; they are named in {self._path(runner)}; repair or remove them, or raise "
                "train_dataloader.max_bad_share"
            )
