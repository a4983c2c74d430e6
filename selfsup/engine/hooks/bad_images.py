"""Files that could not be decoded: counted, named, and too many of them stop the run."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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
    fewer.

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
        self._known: set[int] = set()
        self._images_per_step = 0

    def before_train(self, runner: Any) -> None:
        """Read what an earlier part of the run has found."""
        path = self._path(runner)
        earlier: set[int] = set()
        if is_main() and path.is_file():
            with path.open(encoding="utf-8") as lines:
                last_words = (line.rstrip("\n").rpartition("\t")[2] for line in lines)
                earlier = {int(word) for word in last_words if word.isdecimal()}
        self._known = broadcast_object(earlier)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Collect the batch's bad files, and stop if there are too many."""
        batches = data_batch or ()
        self._images_per_step = sum(len(batch["index"]) for batch in batches) * world_size()
        for batch in batches:
            self._new |= {
                index: (name, reason) for index, name, reason in batch.get("bad", ()) if index not in self._known
            }
        due = world_size() == 1 or (runner.iter + 1) % self.every_steps == 0
        if due and self._exchange(runner):
            self._check_share(runner, seen=min((runner.iter + 1) * self._images_per_step, len(runner.train_images)))

    def on_unreadable(self, runner: Any, bad: Sequence[tuple[int, str, str]]) -> None:
        """Name the images that end the run because those around them are unreadable too."""
        self._append(runner, [image for image in bad if image[0] not in self._known])

    def after_train(self, runner: Any) -> None:
        """Write what is left, and say how many there were."""
        self._exchange(runner)
        if self._known:
            runner.logger.warning(f"images that could not be decoded: {len(self._known)}, see {self._path(runner)}")

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

    def _exchange(self, runner: Any) -> bool:
        """Every process learns what any has found, the main one writes it; whether there was anything new."""
        found: dict[int, tuple[str, str]] = {}
        for part in gather_objects(self._new):
            found |= part
        self._new = {}
        self._known |= found.keys()
        if found and is_main():
            self._append(runner, ((index, *named) for index, named in found.items()))
        return bool(found)

    def _check_share(self, runner: Any, *, seen: int) -> None:
        if len(self._known) > max(1, self.max_share * min(max(seen, _FEWEST_SEEN), len(runner.train_images))):
            raise DataError.at(
                "train_dataloader.max_bad_share",
                f"{len(self._known):,} of the {seen:,} images seen so far could not be decoded, more than the "
                f"allowed share of {self.max_share:.2%}; they are named in {self._path(runner)}",
                expected="repair or remove them, or allow more",
            )
