"""MMEngine's Runner, made to work on any device, on one process or a thousand, and to resume at once and exactly."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import Recipe, dist_timeout, dump_config, plain
from selfsup.data.describe import describe_images
from selfsup.data.splits import Split
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine.build import (
    build_batches,
    build_images,
    build_optim_wrapper,
    class_difference,
    lengths,
    settle_precision,
    usable_by,
)
from selfsup.engine.distributed import build_on_main, sharding_of, wrap
from selfsup.engine.evaluate import build_tasks, run_contract
from selfsup.engine.hooks.progress import ProgressHook
from selfsup.engine.logging.environment import write_environment
from selfsup.engine.logging.lines import open_log
from selfsup.engine.logging.metrics import MetricsLog
from selfsup.engine.loop import TrainLoop
from selfsup.engine.resume import new_run_id, newest_for_all, restore_run, with_beginning
from selfsup.engine.run_card import run_card
from selfsup.engine.save import Stateful, collect, export_backbone, identity_of
from selfsup.engine.schedules.build import build_schedules
from selfsup.engine.splits import check_images, data_state, describe_split, run_split
from selfsup.engine.start import TrainedWeights, start_from
from selfsup.engine.work_dir import archive, check_writable, found_before, sweep, unused_name
from selfsup.errors import require, under
from selfsup.methods.base import Method, Progress
from selfsup.ops.dist import (
    Launcher,
    broadcast_object,
    init_process_group,
    is_main,
    local_device,
    rank,
    world_size,
)
from selfsup.ops.files import write_record
from selfsup.ops.memory import tune_allocator
from selfsup.ops.parts import is_sharded
from selfsup.ops.together import together
from selfsup.registry import HOOKS, METHODS, RUNNERS
from selfsup.weights.card import origin
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains the method that a config describes.

    Args:
        recipe: what ``load_config`` gives, or a config as plain data.
        resume: from the newest checkpoint of the work dir, or start if there is none.
        device: ``'cpu'``, ``'cuda'``, or None for the GPU where there is one.
        launcher: what started the processes.

    Raises:
        ConfigError: if the work dir cannot be written to.
        CheckpointError: if the checkpoint to resume from cannot be read or does not fit.
    """

    def __init__(
        self,
        recipe: Recipe | Mapping[str, Any],
        *,
        resume: bool = False,
        device: str | None = None,
        launcher: Launcher = "none",
    ) -> None:
        self.recipe = recipe = Recipe.of(recipe)
        self._device_wanted = device
        self.run_id = ""
        self.saved_step: int | None = None
        self._unwritten: list[dict[str, Any]] = []
        self.started_from: dict[str, Any] | None = None
        self.split: Split | None = None
        require(recipe.work_dir is not None, "work_dir", "is missing")
        work_dir = Path(str(recipe.work_dir))
        self._found_before = found_before(work_dir)
        check_writable(work_dir)
        super().__init__(
            model=recipe.model,
            work_dir=str(work_dir),
            launcher=launcher,
            default_hooks=recipe.hooks,
            custom_hooks=recipe.custom_hooks,
            load_from=recipe.load_from,
            resume=resume,
            randomness={"seed": recipe.seed},
            experiment_name=f"selfsup_{work_dir.name}_{time.monotonic_ns()}",
            default_scope="selfsup",
        )

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any]) -> "Runner":
        """MMEngine's name for building from a config; reads this class's other arguments from it too."""
        given = {name: cfg[name] for name in ("resume", "device", "launcher") if name in cfg}
        return cls({name: value for name, value in cfg.items() if name not in given}, **given)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return local_device(self._device_wanted)

    @property
    def memory_format(self) -> torch.memory_format:
        """How images and convolutions are laid out."""
        return torch.channels_last if self.recipe.channels_last else torch.contiguous_format

    @property
    def method(self) -> Method:
        """The method itself, whatever wraps it."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    @property
    def progress(self) -> Progress:
        """Where the run stands before the current step."""
        return self.train_loop.progress

    @property
    def max_iters(self) -> int:
        """Updates of the whole run, which MMEngine's hooks ask for before there is a loop."""
        return self.total_steps

    @property
    def max_epochs(self) -> int:
        """Passes over the data in the whole run, the last of which may not be finished."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def train_images(self) -> Any:
        """The images being trained on: the data set, without what is held out from it."""
        return self.view_dataset.images

    # What MMEngine's constructor calls, in this order.

    def setup_env(self, env_cfg: dict) -> None:
        """Start the process group, nccl on GPUs and gloo without; on the CPU let memory be kept for the next step."""
        init_process_group(self.launcher, self._device_wanted, timeout=dist_timeout(self.recipe))
        if self.device.type == "cpu":
            tune_allocator(self.recipe.tune_allocator)
        self._rank, self._world_size = rank(), world_size()
        self._timestamp = broadcast_object(unused_name(Path(self.work_dir)))

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> logging.Logger:  # type: ignore[override]
        """Lines to the terminal from the main process, and from each process to a file of its own in the log dir."""
        file = log_file or Path(self._log_dir) / f"rank{rank()}.log"
        return open_log(self.experiment_name, level=log_level, file=file, to_terminal=is_main())

    def _log_env(self, env_cfg: dict) -> None:
        """Nothing yet: an earlier run's files are still in place, see :meth:`_take_work_dir`."""

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """MMEngine's hooks expect one; scalars and pictures are written by our own log and hooks."""
        return Visualizer.get_instance(self.experiment_name)

    def build_model(self, model: Any) -> nn.Module:
        """The method, built on the CPU; where it is to be split over processes, by the main process alone."""
        sharded = sharding_of(self.recipe)
        with under("model"):
            method: Any = build_on_main(lambda: METHODS.build(model)) if sharded else METHODS.build(model)
            method.check_batch(self.recipe.train_dataloader.batch_size, world_size())
        method.channels_last = self.memory_format is torch.channels_last
        return method

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """See :func:`~selfsup.engine.wrap.wrap`."""
        return wrap(model, self.device, self.recipe, memory_format=self.memory_format, log=self.logger.info)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Ours, replaced or switched off (None) by name; those that other parts of the config ask for are added."""
        for path, hook in (hooks or {}).items():
            with under(path):
                self.register_hook(HOOKS.build(hook))

    def register_custom_hooks(self, hooks: list[Any]) -> None:
        """Hooks of the user's own."""
        for number, hook in enumerate(hooks):
            with under(f"custom_hooks.{number}"):
                self.register_hook(HOOKS.build(hook))

    def get_hooks_info(self) -> str:
        """Their names in the order they are called."""
        return ", ".join(type(hook).__name__ for hook in self._hooks)

    def dump_config(self) -> None:
        """Nothing yet, see :meth:`_take_work_dir`."""

    # Training.

    def train(self) -> nn.Module:
        """Train to the end, or until stopped.

        Returns:
            The trained method.

        Raises:
            DataError: if the images are at fault, once the state is saved.
            RecordError: if the numbers of the run cannot be written, as on a full disk, once the state is saved.
            CheckpointError: if the state cannot be saved, or does not fit.
            NonFiniteError: at the first loss or gradient that is not finite.
            Interrupted: after Ctrl-C, once the state is saved.
        """
        start_step = self._start()
        self.method.before_training(self.trained)
        with together():
            self.metrics_log = MetricsLog(
                self.work_dir,
                resume_step=start_step,
                unwritten=self._unwritten,
                enabled=is_main(),
                warn=self.logger.warning,
            )
        self._train_loop = self._build_loop(start_step)
        try:
            self._train_loop.run()
        finally:
            for hook in self._hooks:
                if isinstance(hook, ProgressHook):
                    hook.stop()
            self.metrics_log.close()
        card = run_card(
            self.recipe,
            self.method,
            step=self.total_steps,
            started_from=self.started_from,
            taught_by=self.trained.taken,
        )
        self.logger.info(f"backbone exported to {export_backbone(self.method.representation, self.work_dir, card)}")
        self.call_hook("after_run")
        return self.method

    def _start(self) -> int:
        """Build what the run trains with, and give it its state back.

        Returns:
            Updates done so far.
        """
        saved = newest_for_all(self.work_dir, mapped=is_sharded(self.method)) if self._resume else None
        self.run_id = (saved and saved.run) or new_run_id()
        self._build_training(saved)
        self.call_hook("before_run")
        return self._load_or_resume(saved)

    def _build_training(self, saved: Checkpoint | None = None) -> None:
        """Data, optimizer and schedule, in the order in which each needs the one before."""
        recipe = self.recipe
        self.trained = TrainedWeights()
        images, views = build_images(recipe)
        for line in describe_images(images) if is_main() else ():
            self.logger.info(line)
        if difference := class_difference(self.method, images):
            self.logger.warning(difference)
        if saved is not None:
            with together():
                check_images(saved, images)
        self.split = run_split(images, recipe, checkpoint=saved, log=self.logger.info)
        self._data = data_state(images, self.split)
        with together():
            self.tasks = build_tasks(recipe.tasks, images, self.split)
            self.input_contract = run_contract(recipe.input_contract, self.method, views)
        self.layer = recipe.layer
        if self.split is not None:
            self.logger.info(describe_split(self.split))
            images = self.split.train
        elif not recipe.tasks:
            self.logger.info("no image is held out: evaluations look at images that are trained on")
        images = usable_by(self.method, images, self.logger)
        self.view_dataset = ViewDataset(images, views, seed=recipe.seed)
        self.accumulate, self.steps_per_epoch, self.total_steps = lengths(recipe, len(images))
        self.optim_wrapper = build_optim_wrapper(recipe, self.method)
        settle_precision(self.optim_wrapper, self.device, saved, self.logger)
        self.param_schedulers = build_schedules(
            recipe,
            self.optim_wrapper.optimizer,
            steps_per_epoch=self.steps_per_epoch,
            steps=self.total_steps,
        )

    def _build_loop(self, start_step: int) -> TrainLoop:
        batches = build_batches(
            self.recipe,
            self.view_dataset,
            start_step=start_step,
            total_steps=self.total_steps,
            accumulate=self.accumulate,
            collate=self.method.collate,
            device=self.device,
        )
        return TrainLoop(
            self,
            batches,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            start_step=start_step,
        )

    # Saving and resuming.

    def save(self, step: int) -> None:
        """Write everything the run needs to be resumed after ``step`` updates; called by every process.

        Raises:
            CheckpointError: if it cannot be written, on all processes together.
        """
        checkpoint = collect(
            self._stateful,
            step=step,
            trained=self.trained.taken,
            unwritten=self.metrics_log.unwritten,
            recipe=self.recipe.recipe,
            started_from=self.started_from,
            **self._identity(),
        )
        with together():
            if checkpoint is not None:
                checkpoint.write(checkpoint_path(self.work_dir, step))
        self.saved_step = step

    @property
    def _stateful(self) -> Stateful:
        return Stateful(self.method, self.optim_wrapper, self.param_schedulers, self.device)

    def _identity(self) -> dict[str, Any]:
        identity = identity_of(self._stateful, self.recipe, num_images=len(self.train_images))
        return {"run": self.run_id, "config": plain(self.recipe.to_dict()), "data": self._data, **identity}

    def _load_or_resume(self, saved: Checkpoint | None) -> int:
        """Give the run its state back, and its work dir.

        Returns:
            Updates done so far.
        """
        if saved is not None:
            step = self.saved_step = self._restore(saved)
        else:
            step = 0
            if self._resume:
                self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
            if self._load_from is not None:
                self.logger.info(start_from(self._load_from, self.method))
                with together():
                    self.started_from = origin(self._load_from) if is_main() else None
        self._take_work_dir()
        return step

    def _take_work_dir(self) -> None:
        """Archive an earlier run unless this one resumes it, and say what this one is."""
        if not self._resume:
            keep = {*self._found_before, Path(self._log_dir).name}
            kept = archive(self.work_dir, keep=keep, config=self.recipe.to_dict())
            if kept is not None:
                self.logger.info(
                    f"an earlier run of this work dir was put into {kept}; --resume would have gone on with it"
                )
        with together():
            if is_main():
                sweep(self.work_dir)
                write_environment(
                    self.work_dir,
                    device=self.device,
                    precision=getattr(self.optim_wrapper, "precision", None),
                    seed=self.seed,
                    run=self.run_id,
                    found=self._found_before,
                )
                write_record(Path(self.work_dir, "config.py"), dump_config(self.recipe))
                if self.split is not None:
                    self.split.write(self.work_dir)

    def _restore(self, saved: Checkpoint) -> int:
        """Take a checkpoint over on all processes, or on none."""
        restore_run(saved, self._stateful, self._identity(), total_steps=self.total_steps, log=self.logger)
        self.trained = TrainedWeights(saved.trained)
        self.started_from = dict(saved.started_from) if saved.started_from is not None else None
        self._unwritten = list(saved.unwritten)
        self.recipe = with_beginning(self.recipe, saved, self.logger)
        assert saved.step is not None
        return saved.step
