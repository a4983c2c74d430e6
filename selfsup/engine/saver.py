"""How a run's state reaches the disk: as one file that the main process writes, or as parts, each by its process."""

import copy
import shutil
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from selfsup.engine.save import backbone_prefix, collect, described_run, own_rank_state, run_card
from selfsup.errors import CheckpointError
from selfsup.ops.dist import is_main, rank, together, world_size
from selfsup.ops.files import reason, settle_folder
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, forget_old, save

WAIT_WORTH_SAYING = 1.0  # seconds


class Saver:
    """Writes one file, and returns when it is on the disk."""

    def save(self, runner: Any, step: int) -> None:
        """Save the state after ``step`` updates; called by every process.

        Raises:
            CheckpointError: if it cannot be written, on all processes together.
        """
        checkpoint = collect(runner, step)
        with together():
            if checkpoint is not None:
                checkpoint.write(checkpoint_path(runner.work_dir, step))

    def finish(self) -> None:
        """Return when all that was saved is on the disk; called by every process.

        Raises:
            CheckpointError: if it cannot be written, on all processes together.
        """

    def wait(self) -> None:
        """The same when the run ends with another error: nothing is raised, and processes need not come together."""


class ShardedSaver(Saver):
    """Every process writes the part of the state that it holds, see :mod:`selfsup.weights.sharded`.

    All of them make one at the same time. The folder has its name only once every process has finished, and the ones
    before are removed only then.

    Args:
        asynchronous: copy the state, go on training, and write in a thread, whose exchanges have a group of their own.
        max_keep: how many complete checkpoints stay.
        timeout: how long one process may wait for the slowest.
    """

    def __init__(self, *, asynchronous: bool, max_keep: int, timeout: timedelta) -> None:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # with one process there is none
        self.asynchronous, self.max_keep = asynchronous, max_keep
        self._group: Any = dist.new_group(backend="gloo", timeout=timeout) if world_size() > 1 else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[CheckpointError | None] | None = None
        self._stager: Any = None
        if asynchronous:
            gpu = torch.cuda.is_available()
            options = {"use_pinned_memory": gpu, "use_non_blocking_copy": gpu}
            self._stager = DefaultStager(StagingOptions(use_shared_memory=False, use_async_staging=False, **options))

    def save(self, runner: Any, step: int) -> None:  # noqa: D102
        began = time.monotonic()
        self.finish()
        if (waited := time.monotonic() - began) > WAIT_WORTH_SAYING:
            runner.logger.warning(f"waited {waited:.1f} s for the checkpoint before to be written: save less often")
        from selfsup.weights.sharded import flattened

        own = own_rank_state(runner.method, runner.device)
        tensors, states = flattened(runner.method.state_dict(), runner.optim_wrapper.state_dict())
        if not is_main():  # where processes differ, it is process 0's that is everybody's
            for name in own["buffers"]:
                tensors.pop(f"model.{name}", None)
        rest: dict[str, Any] = {}
        card: Mapping[str, Any] | None = None
        if is_main():
            rest = Checkpoint(**{**described_run(runner, step), **states, "ranks": world_size()}).contents()
            rest = copy.deepcopy(rest)  # of schedules, of lines that the disk has not taken: they go on
            card = run_card(
                runner.recipe,
                runner.method,
                step=step,
                started_from=runner.started_from,
                taught_by=runner.trained.taken,
            )
        final = checkpoint_path(runner.work_dir, step).with_suffix("")
        partial = final.with_name(final.name + ".partial")
        with together():
            if is_main():
                _make_anew(partial)
        with together():
            if not partial.is_dir():
                raise CheckpointError.at(
                    str(partial),
                    "was made by process 0 and is not seen here",
                    expected="a work dir that all processes share, or default_hooks.checkpoint.sharded=False",
                )
        if self._stager is not None:
            tensors = self._stager.stage(tensors)
            own = {**own, "buffers": {name: buffer.clone() for name, buffer in own["buffers"].items()}}
        job = (final, partial, tensors, own, rest, card, backbone_prefix(runner.method), Path(runner.work_dir))
        self._pending = self._writer.submit(self._write, *job)
        if not self.asynchronous:
            self.finish()

    def finish(self) -> None:  # noqa: D102
        pending, self._pending = self._pending, None
        if pending is not None and (error := pending.result()) is not None:
            raise error

    def wait(self) -> None:  # noqa: D102
        if self._pending is not None:
            self._pending.exception()

    def _write(
        self,
        final: Path,
        partial: Path,
        tensors: dict[str, Tensor],
        own: dict[str, Any],
        rest: dict[str, Any],
        card: Mapping[str, Any] | None,
        prefix: str,
        work_dir: Path,
    ) -> CheckpointError | None:
        """What the thread does; in every process it returns the same."""
        from selfsup.weights.sharded import REST, described, own_files, rank_file, write_manifest

        fault, files = None, {}
        try:
            save(own, partial / rank_file(rank()))
            if is_main():
                save(rest, partial / REST)
        except (OSError, RuntimeError) as error:
            fault = _told(error, partial)
        if not any(faults := self._gather(fault)):
            fault = self._write_tensors(partial, tensors)
            if fault is None:
                files = described(own_files(partial, rank()))
            gathered = self._gather((fault, files))
            faults = [each for each, _ in gathered]
            if not any(faults):
                if is_main():
                    try:
                        written = {name: entry for _, part in gathered for name, entry in part.items()}
                        written |= described([partial / REST, partial / ".metadata", *_backbone(partial, prefix, card)])
                        write_manifest(partial, written)
                        settle_folder(partial, final)
                        forget_old(work_dir, self.max_keep)
                    except (OSError, CheckpointError) as error:
                        fault = _told(error, partial)
                faults = self._gather(fault)
        if not any(faults):
            return None
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
        number, said = next((number, each) for number, each in enumerate(faults) if each)
        return CheckpointError.at(str(final), f"the checkpoint could not be written by process {number} ({said})")

    def _write_tensors(self, folder: Path, tensors: dict[str, Tensor]) -> str | None:
        import torch.distributed.checkpoint as dcp

        try:
            dcp.save(tensors, storage_writer=dcp.FileSystemWriter(folder), process_group=self._group)
        except (Exception, dcp.CheckpointException) as error:
            return f"{type(error).__name__}: {str(error).strip()[-300:]}; {reason(error, folder)}"
        return None

    def _gather(self, value: Any) -> list[Any]:
        if self._group is None:
            return [value]
        values: list[Any] = [None] * world_size()
        dist.all_gather_object(values, value, group=self._group)
        return values


def _backbone(folder: Path, prefix: str, card: Mapping[str, Any] | None) -> list[Path]:
    """Write the backbone and its card beside the parts; main process, nothing is exchanged."""
    from selfsup.engine.save import backbone_name
    from selfsup.weights.card import card_path
    from selfsup.weights.sharded import stored_weights
    from selfsup.weights.write import write_weights

    path = folder / backbone_name()
    write_weights(stored_weights(folder, prefix), path, card)
    return [path, card_path(path)]


def _make_anew(folder: Path) -> None:
    try:
        if folder.exists():  # of a run that was killed
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise CheckpointError.at(str(folder), f"cannot be made ({error.strerror})") from error


def _told(error: Exception, folder: Path) -> str:
    return str(error) if isinstance(error, CheckpointError) else reason(error, folder)
