"""MMEngine's Runner, made to work on any device, on one process or a thousand, and to resume at once and exactly."""

import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import Recipe, dist_timeout, dump_config
from selfsup.data.describe import describe_images
from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.splits import Split
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine.beforehand import check_batches, said_beforehand
from selfsup.engine.build import build_images, build_optim_wrapper, class_difference, settle_precision, usable_by
from selfsup.engine.compiled import compile_blocks
from selfsup.engine.distributed import build_on_main, sharding_of, wrap
from selfsup.engine.hooks.progress import ProgressHook
from selfsup.engine.logging.environment import write_environment
from selfsup.engine.logging.lines import open_log
from selfsup.engine.logging.metrics import MetricsLog
from selfsup.engine.loop import TrainLoop
from selfsup.engine.resume import newest_for_all, restore_run, with_beginning
from selfsup.engine.save import export_backbone, run_card
from selfsup.engine.saver import Saver
from selfsup.engine.schedules.build import build_schedules
from selfsup.engine.splits import check_images, data_state, describe_split, run_split
from selfsup.engine.start import TrainedWeights, start_from
from selfsup.engine.work_dir import archive, check_writable, found_before, in_use, sweep, unused_name
from selfsup.errors import require, under
from selfsup.evaluation.build import OWN, build_tasks, run_contract
from selfsup.methods.base import Method, Progress
from selfsup.ops.cpus import limit_threads, number_of_workers, own_cpus
from selfsup.ops.dist import broadcast_object, is_main, rank, together, world_size
from selfsup.ops.files import write_record
from selfsup.ops.kernels import choose_kernels
from selfsup.ops.launch import Launcher, described, found_launcher, init_process_group, local_device
from selfsup.ops.memory import tune_allocator
from selfsup.ops.parts import is_sharded
from selfsup.registry import HOOKS, METHODS, RUNNERS
from selfsup.weights.card import origin
from selfsup.weights.checkpoint import Checkpoint


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains the method that a config describes.

    Args:
        recipe: what ``load_config`` gives, or a config as plain data.
        resume: from the newest checkpoint of the work dir, or start if there is none.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for the GPU where there is one.
        launcher: what started the processes; None to find out.

    Raises:
        ConfigError: if the work dir cannot be written to.
    """

    def __init__(
        self,
        recipe: Recipe | Mapping[str, Any],
        *,
        resume: bool = False,
        device: str | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self.recipe = recipe = Recipe.of(recipe)
        self._device_wanted = device
        self.run_id = ""
        self.saved_step: int | None = None
        self.saver = Saver()
        self._unwritten: list[dict[str, Any]] = []
        self.started_from: dict[str, Any] | None = None
        self.split: Split | None = None
        require(recipe.work_dir is not None, "work_dir", "is missing")
        work_dir = Path(str(recipe.work_dir))
        self.found_before = found_before(work_dir)
        check_writable(work_dir)
        super().__init__(
            model=recipe.model,
            work_dir=str(work_dir),
            launcher=launcher or found_launcher(),
            default_hooks=recipe.hooks,
            custom_hooks=recipe.custom_hooks,
            load_from=recipe.load_from,
            resume=resume,
            randomness={"seed": recipe.seed},
            experiment_name=f"selfsup_{work_dir.name}_{time.monotonic_ns()}",
            default_scope="selfsup",
        )

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return local_device(self._device_wanted)

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
        offload = self.recipe.sharding is not None and self.recipe.sharding.offload
        init_process_group(
            self.launcher, self._device_wanted, timeout=dist_timeout(self.recipe), exchange_on_cpu=offload
        )
        if self.device.type == "cpu":
            tune_allocator(self.recipe.tune_allocator)
            limit_threads(own_cpus())
        choose_kernels(
            self.device,
            tf32=self.recipe.tf32,
            benchmark=self.recipe.cudnn_benchmark,
            deterministic=self.recipe.deterministic,
        )
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
        check_batches(method, self.recipe, world_size())
        method.channels_last = self.recipe.channels_last
        return method

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """See :func:`~selfsup.engine.distributed.wrap`."""
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        wrapped = wrap(model, self.device, self.recipe, memory_format=layout, log=self.logger.info)
        if self.recipe.compile:
            count = compile_blocks(wrapped)
            self.logger.info(f"torch.compile: {count} blocks of the backbone, at their first calls")
        return wrapped

    def register_hooks(
        self, default_hooks: dict[str, Any] | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Those of every run, by their paths in the config, and the user's own."""
        own = {f"custom_hooks.{number}": hook for number, hook in enumerate(custom_hooks or ())}
        for path, hook in {**(default_hooks or {}), **own}.items():
            with under(path):
                self.register_hook(HOOKS.build(hook))

    def dump_config(self) -> None:
        """Nothing yet, see :meth:`_take_work_dir`."""

    # Training.

    def train(self) -> nn.Module:
        """Train to the end, or until stopped.

        Returns:
            The trained method.

        Raises:
            CheckpointError: if the state cannot be saved, or does not fit.
            RecordError: if the numbers of the run cannot be written, as on a full disk, once the state is saved.
            DataError, NonFiniteError, Interrupted: see :meth:`TrainLoop.run <selfsup.engine.loop.TrainLoop.run>`.
            ConfigError: if another run is at work in the work dir.
        """
        with in_use(Path(self.work_dir)):
            return self._train()

    def _train(self) -> nn.Module:
        start_step = self._start()
        self.logger.info(f"training on {described(self.device)}")
        self.method.before_training(self.trained)
        with together():
            self.metrics_log = MetricsLog(
                self.work_dir, resume_step=start_step, unwritten=self._unwritten, warn=self.logger.warning
            )
        self._train_loop = self._build_loop(start_step)
        try:
            self._train_loop.run()
        finally:
            self.saver.wait()
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
        """Build what the run trains with, and give it its state back, or its first weights; updates done so far."""
        saved = None
        if self._resume:
            saved = newest_for_all(self.work_dir, mapped=is_sharded(self.method), warn=self.logger.warning)
        self.run_id = (saved and saved.run) or broadcast_object(secrets.token_hex(8))
        self._build_training(saved)
        self.call_hook("before_run")
        if saved is not None:
            restore_run(self, saved)
            self.saved_step = saved.step
            self.trained = TrainedWeights(saved.trained)
            self.started_from = None if saved.started_from is None else dict(saved.started_from)
            self._unwritten = list(saved.unwritten)
            self.recipe = with_beginning(self.recipe, saved, self.logger)
        elif self._load_from is not None:
            self.logger.info(start_from(self._load_from, self.method))
            with together():
                self.started_from = origin(self._load_from) if is_main() else None
        if saved is None and self._resume:
            self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
        self._take_work_dir()
        return self.saved_step or 0

    def _build_training(self, saved: Checkpoint | None = None) -> None:
        """Data, optimizer and schedule, in the order in which each needs the one before."""
        recipe, log = self.recipe, self.logger
        self.trained = TrainedWeights()
        images, views = build_images(recipe)
        self.method.classes = getattr(images, "classes", None)
        for line in describe_images(images) if is_main() else ():
            log.info(line)
        if difference := class_difference(self.method, images):
            log.warning(difference)
        with together():
            if saved is not None:
                check_images(saved, images)
        self.split = run_split(images, recipe, checkpoint=saved, log=log.info)
        self.data_state = data_state(images, self.split)
        with together():
            self.tasks = build_tasks(recipe.tasks, images, self.split)
            self.input_contract = run_contract(recipe.input_contract, self.method, views)
        self.layer = recipe.layer
        if self.split is not None:
            images = self.split.train
            log.info(describe_split(self.split))
            if not len(self.split.val) and not len(self.tasks[OWN].watch().parts.test):
                self.tasks = build_tasks({}, images, None)
                log.info("too few images for any to be watched: evaluations look at images that are trained on")
        elif not recipe.tasks:
            log.info("no image is held out: evaluations look at images that are trained on")
        images = usable_by(self.method, images, log)
        self.view_dataset = ViewDataset(images, views, seed=recipe.seed)
        batch_size, length = recipe.train_dataloader.batch_size, recipe.train_cfg
        self.accumulate = recipe.accumulate
        self.steps_per_epoch = steps_per_epoch(len(images), batch_size, world_size(), self.accumulate)
        self.total_steps = length.max_steps or (length.max_epochs or 0) * self.steps_per_epoch
        lengths = {"steps": self.total_steps, "steps_per_epoch": self.steps_per_epoch}
        for line in said_beforehand(recipe, self.method, num_images=len(images), **lengths):
            log.warning(line)
        self.optim_wrapper = build_optim_wrapper(recipe, self.method)
        settle_precision(self.optim_wrapper, self.device, saved, log)
        self.param_schedulers = build_schedules(
            recipe, self.optim_wrapper.optimizer, steps_per_epoch=self.steps_per_epoch, steps=self.total_steps
        )

    def _build_loop(self, start_step: int) -> TrainLoop:
        """The loop over this process's micro-batches, from the first one of a step on."""
        loader = self.recipe.train_dataloader
        sampler = StepSampler(
            len(self.train_images),
            loader.batch_size,
            world_size=world_size(),
            rank=rank(),
            seed=self.recipe.seed,
            start_step=start_step,
            total_steps=self.total_steps,
            accumulate=self.accumulate,
            shard_starts=getattr(self.train_images, "shard_starts", None),
            shards_at_once=loader.shards_at_once,
            in_order=getattr(self.train_images, "in_order", False),
            most_shards_at_once=getattr(self.train_images, "most_shards_at_once", None),
            prefetch=getattr(self.train_images, "prefetch", None),
        )
        batches = build_loader(
            self.view_dataset,
            sampler,
            num_workers=number_of_workers(loader.num_workers, own_cpus(), self.device),
            prefetch_factor=loader.prefetch_factor,
            collate=self.method.collate,
            device=self.device,
        )
        length = {"total_steps": self.total_steps, "steps_per_epoch": self.steps_per_epoch}
        return TrainLoop(self, batches, start_step=start_step, **length)

    # Saving and resuming.

    def save(self, step: int) -> None:
        """Write everything the run needs to be resumed after ``step`` updates; called by every process.

        Raises:
            CheckpointError: if it, or the one before that is still being written, cannot be written, on all processes
                together.
        """
        self.saver.save(self, step)
        self.saved_step = step

    def _take_work_dir(self) -> None:
        """Archive an earlier run unless this one resumes it, and say what this one is."""
        if not self._resume:
            keep = {*self.found_before, Path(self._log_dir).name}
            if kept := archive(self.work_dir, keep=keep, config=self.recipe.to_dict()):
                self.logger.info(
                    f"an earlier run of this work dir was put into {kept}; --resume would have gone on with it"
                )
        with together():
            if is_main():
                sweep(self.work_dir)
                write_environment(self)
                write_record(Path(self.work_dir, "config.py"), dump_config(self.recipe))
                if self.split is not None:
                    self.split.write(self.work_dir)
