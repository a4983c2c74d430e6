"""Files that could not be decoded: counted, named, and too many of them stop the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from selfsup.errors import DataError
from selfsup.ops.dist import gather_objects, is_main, world_size
from selfsup.registry import HOOKS


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Write every file that could not be decoded to ``bad_images.txt``, once, with the reason.

    Args:
        max_share: share of the data set that may be unreadable, in [0, 1]; a single bad file never stops a run.
        every_steps: steps between exchanges among processes; one process looks at every step.
    """

    priority = "NORMAL"

    def __init__(self, max_share: float = 0.01, *, every_steps: int = 20) -> None:
        self.max_share = max_share
        self.every_steps = every_steps
        self._new: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def before_train(self, runner: Any) -> None:
        """Take up what an earlier part of the run has found."""
        path = self._path(runner)
        if path.is_file():
            self._known = dict(line.split("\t", 1) for line in path.read_text().splitlines() if "\t" in line)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Collect the batch's bad files, and judge the share."""
        for batch in data_batch or ():
            for _, name, reason in batch.get("bad", ()):
                if name not in self._known:
                    self._new[name] = reason
        if world_size() == 1 or (runner.iter + 1) % self.every_steps == 0:
            self._exchange(runner)

    def on_unreadable(self, runner: Any, bad: Sequence[tuple[int, str, str]]) -> None:
        """Name the images whose neighbours are unreadable too; the run stops after this, perhaps on one process."""
        with self._path(runner).open("a") as file:
            file.writelines(_line(name, reason) for _, name, reason in bad if name not in self._known)

    def after_train(self, runner: Any) -> None:
        """Write what is left, and say how many there were."""
        self._exchange(runner)
        if self._known:
            images = "image" if len(self._known) == 1 else "images"
            runner.logger.warning(f"{len(self._known)} {images} could not be decoded: {self._path(runner)}")

    def _path(self, runner: Any) -> Path:
        return Path(runner.work_dir) / "bad_images.txt"

    def _exchange(self, runner: Any) -> None:
        found: dict[str, str] = {}
        for part in gather_objects(self._new):
            found.update(part)
        self._new = {}
        found = {name: reason for name, reason in found.items() if name not in self._known}
        if not found:
            return
        self._known.update(found)
        if is_main():
            with self._path(runner).open("a") as file:
                file.writelines(_line(name, reason) for name, reason in found.items())
        total = len(runner.train_images)
        if len(self._known) > max(1, self.max_share * total):
            raise DataError(
                f"{len(self._known)} of {total} images could not be decoded, more than the allowed share of "
                f"{self.max_share:.2%}; they are named in {self._path(runner)}; repair or remove them, or raise "
                f"train_dataloader.max_bad_share"
            )


def _line(name: str, reason: str) -> str:
    return f"{name}\t{' '.join(reason.split())}\n"
