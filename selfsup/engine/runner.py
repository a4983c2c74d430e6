"""MMEngine's Runner, made to work on any device, on one process or a thousand, and to resume at once and exactly."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from rich.logging import RichHandler
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import DEFAULT_WRAPPER, batch_parts, dump_config, hooks_of
from selfsup.data.all_but import AllBut
from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine import state as run_state
from selfsup.engine.card import run_card
from selfsup.engine.checkpoint import (
    FORMAT,
    checkpoint_path,
    export_backbone,
    load_weights,
    read_checkpoint,
    sweep,
    write_atomically,
)
from selfsup.engine.environment import check_writable, found_before, put_aside, unused_name, write_environment
from selfsup.engine.hooks.aside import beside_training
from selfsup.engine.hooks.evaluate import EvaluateHook, judge_of
from selfsup.engine.hooks.progress import ProgressHook
from selfsup.engine.loop import TrainLoop
from selfsup.engine.metrics_log import MetricsLog
from selfsup.engine.pretrained import TrainedWeights, start_from
from selfsup.engine.resume import (
    batch_change,
    check_fits,
    check_length_of_run,
    newest_for_all,
    options_of,
    put_back,
    seed_change,
)
from selfsup.engine.schedule import Schedule
from selfsup.engine.shard import build_on_main, class_name, is_sharded, sharding_of, whole_state
from selfsup.engine.together import check_length, together
from selfsup.engine.wrap import wrap
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
from selfsup.registry import DATASETS, HOOKS, METHODS, OPTIM_WRAPPERS, PARAM_SCHEDULERS, RUNNERS, TRANSFORMS


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains the method that a config describes.

    Args:
        config: a resolved config, see ``selfsup.config``; it is not changed.
        resume: go on from the newest checkpoint of the work dir, or start if there is none.
        device: ``'cpu'``, ``'cuda'``, or None for the GPU where there is one.
        launcher: what started the processes.

    Raises:
        ConfigError: if the work dir cannot be written to.
        CheckpointError: if the checkpoint to go on from cannot be read or does not fit.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        resume: bool = False,
        device: str | None = None,
        launcher: Launcher = "none",
    ) -> None:
        self._config = config
        self._device_wanted = device
        self.saved_step: int | None = None
        work_dir = Path(config["work_dir"])
        self._found_before = found_before(work_dir)
        check_writable(work_dir)
        super().__init__(
            model=config["model"],
            work_dir=str(work_dir),
            launcher=launcher,
            default_hooks=config.get("default_hooks"),
            custom_hooks=config.get("custom_hooks"),
            load_from=config.get("load_from"),
            resume=resume,
            randomness={"seed": config.get("seed", 0)},
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
        return torch.channels_last if self._config.get("channels_last", True) else torch.contiguous_format

    @property
    def method(self) -> Method:
        """The method itself, whatever wraps it."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    @property
    def progress(self) -> Progress:
        """Where the run stands before the current step."""
        return self.train_loop.progress

    @property
    def train_images(self) -> Any:
        """The images being trained on: the data set, without what evaluators judge of it."""
        return self.view_dataset.images

    # What MMEngine's constructor calls, in this order.

    def setup_env(self, env_cfg: dict) -> None:
        """Start the process group: nccl on GPUs, gloo without, never touching a GPU that is not there."""
        init_process_group(self.launcher, self._device_wanted)
        self._rank, self._world_size = rank(), world_size()
        self._timestamp = broadcast_object(unused_name(Path(self.work_dir)))

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> logging.Logger:  # type: ignore[override]
        """Lines to the terminal from the main process, and from each process to a file of its own in the log dir."""
        logger = logging.getLogger(self.experiment_name)
        logger.setLevel(log_level)
        logger.propagate = False
        to_file = logging.FileHandler(log_file or Path(self._log_dir) / f"rank{rank()}.log")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(to_file)
        if is_main():
            to_terminal = _to_terminal()
            to_terminal.setLevel(log_level)
            to_terminal.addFilter(lambda record: not record.getMessage().startswith("Hooks will be executed"))
            logger.addHandler(to_terminal)
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        """Nothing yet: an earlier run's files are still in place, see :meth:`_take_work_dir`."""

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """MMEngine's hooks expect one; scalars and pictures are written by our own log and hooks."""
        return Visualizer.get_instance(self.experiment_name)

    def build_model(self, model: Any) -> nn.Module:
        """The method, built on the CPU; where it is to be split over processes, by the main process alone."""
        return build_on_main(lambda: METHODS.build(model)) if sharding_of(self._config) else METHODS.build(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """See :func:`~selfsup.engine.wrap.wrap`."""
        return wrap(model, self.device, self._config, memory_format=self.memory_format, log=self.logger.info)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Ours, replaced or switched off (None) by name; those that other parts of the config ask for are added."""
        for hook in hooks_of(self._config).values():
            self.register_hook(HOOKS.build(hook))

    def register_custom_hooks(self, hooks: list[Any]) -> None:
        """Hooks of the user's own."""
        for hook in hooks:
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
        """
        self._build_training()
        self.call_hook("before_run")
        start_step = self._load_or_resume()
        self.method.before_training(self.trained)
        self.metrics_log = MetricsLog(self.work_dir, resume_step=start_step, enabled=is_main())
        self._train_loop = self._build_loop(start_step)
        try:
            self._train_loop.run()
        finally:
            for hook in self._hooks:
                if isinstance(hook, ProgressHook):
                    hook.stop()
            self.metrics_log.close()
        card = run_card(self._config, self.method, name=Path(self.work_dir).name, step=self.total_steps)
        self.logger.info(f"backbone exported to {export_backbone(self.method.backbone, self.work_dir, card)}")
        self.call_hook("after_run")
        return self.method

    def _build_training(self) -> None:
        """Data, optimiser and schedule, in the order in which each needs the one before."""
        config = self._config
        self.trained = TrainedWeights()
        loader = config["train_dataloader"]
        with together():
            images = DATASETS.build(loader["dataset"])
            views = TRANSFORMS.build(loader["views"])
        check_length(len(images))
        if difference := class_difference(self.method, images):
            self.logger.warning(difference)
        self.view_dataset = ViewDataset(self._without_judged(images, views), views, seed=config.get("seed", 0))
        wrapper = config["optim_wrapper"]
        self.accumulate = wrapper.get("accumulative_counts", 1)
        self.steps_per_epoch = steps_per_epoch(
            len(self.train_images), loader["batch_size"], world_size(), self.accumulate
        )
        plan = config["train_cfg"]
        self.total_steps = plan["max_steps"] if "max_steps" in plan else plan["max_epochs"] * self.steps_per_epoch
        self.optim_wrapper = OPTIM_WRAPPERS.find(wrapper.get("type", DEFAULT_WRAPPER)).for_method(self.method, wrapper)
        schedulers = config.get("param_scheduler") or []
        self.param_schedulers = [
            PARAM_SCHEDULERS.build(
                scheduler, optimizer=self.optim_wrapper.optimizer, **self._schedule_context(scheduler)
            )
            for scheduler in ([schedulers] if isinstance(schedulers, dict) else schedulers)
        ]

    def _without_judged(self, images: Any, views: Any) -> Any:
        """The images to train on: all but those that evaluators judge the method on."""
        judges = [hook for hook in self.hooks if isinstance(hook, EvaluateHook)] or [judge_of(self._config)]
        with together(), beside_training(self.device):
            parts = [judge.hold_out(images, preprocess=self.method.preprocess, views=views) for judge in judges]
        held_out = np.unique(np.concatenate(parts))
        if not len(held_out):
            return images
        rest = AllBut(images, held_out)
        self.logger.info(
            f"held out from training: {len(held_out):,} of {len(images):,} images, on which evaluators judge; "
            f"{len(rest):,} are trained on"
        )
        return rest

    def _schedule_context(self, scheduler: dict[str, Any]) -> dict[str, int]:
        """What our schedules are told of the run's length; MMEngine's own take none of it."""
        if PARAM_SCHEDULERS.find(scheduler["type"]).__module__.startswith("mmengine."):
            return {}
        return {"steps_per_epoch": self.steps_per_epoch, "total_steps": self.total_steps}

    def _build_loop(self, start_step: int) -> TrainLoop:
        loader = self._config["train_dataloader"]
        sampler = StepSampler(
            len(self.train_images),
            loader["batch_size"],
            world_size=world_size(),
            rank=rank(),
            seed=self._config.get("seed", 0),
            start_step=start_step,
            total_steps=self.total_steps,
            accumulate=self.accumulate,
        )
        batches = build_loader(
            self.view_dataset,
            sampler,
            num_workers=min(loader.get("num_workers", 0), os.cpu_count() or 1),  # more would only wait for each other
            device=self.device,
        )
        return TrainLoop(
            self,
            batches,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            start_step=start_step,
        )

    # Saving and going on.

    def save(self, step: int) -> None:
        """Write everything the run needs to go on after ``step`` updates; called by every process."""
        ranks = run_state.gather_rank_states(self.method, self.device)
        weights = whole_state(dict(self.method.state_dict()))
        optimizer = whole_state(self.optim_wrapper.state_dict())
        self.saved_step = step
        if not is_main():
            return
        state = {
            "format": FORMAT,
            "step": step,
            "method": class_name(self.method),
            "model": weights,
            "optim_wrapper": optimizer,
            "schedules": [scheduler.state_dict() for scheduler in self.param_schedulers],
            "ranks": ranks,
            "trained": self.trained.taken,
            **self._identity(),
        }
        write_atomically(state, checkpoint_path(self.work_dir, step))

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be this run's."""
        return {
            "images": len(self.train_images),
            "seed": self._config.get("seed", 0),
            "batch": list(batch_parts(self._config, world_size())),
            "optimizer": type(self.optim_wrapper.optimizer).__name__,
            "schedulers": [type(scheduler).__name__ for scheduler in self.param_schedulers],
        }

    def _load_or_resume(self) -> int:
        """Give the run its state back, and its work dir.

        Returns:
            Updates done so far.
        """
        found = newest_for_all(self.work_dir) if self._resume else None
        if found is not None:
            step = self.saved_step = self._restore(found)
        else:
            step = 0
            if self._resume:
                self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
            if self._load_from is not None:
                self.logger.info(start_from(self._load_from, self.method))
        self._take_work_dir()
        return step

    def _take_work_dir(self) -> None:
        """Put an earlier run aside unless this one goes on with it, and say what this one is."""
        if not self._resume:
            keep = {*self._found_before, Path(self._log_dir).name}
            kept = put_aside(self.work_dir, keep=keep, config=self._config)
            if kept is not None:
                self.logger.info(
                    f"an earlier run of this work dir was put into {kept}; --resume would have gone on with it"
                )
        if is_main():
            sweep(self.work_dir)
            write_environment(self.work_dir, device=self.device, seed=self.seed, found=self._found_before)
            Path(self.work_dir, "config.py").write_text(dump_config(self._config), encoding="utf-8")

    def _restore(self, path: Path) -> int:
        """Load a checkpoint on all processes, or on none."""
        identity = self._identity()
        with together():
            state = read_checkpoint(path, mapped=is_sharded(self.method))
            check_fits(state, path, identity)
            check_length_of_run(state["step"], self.total_steps, path)
        load_weights(self.method, state["model"], source=str(path))
        self.trained = TrainedWeights(state.get("trained", ()))
        wanted = options_of(self.optim_wrapper.optimizer)
        self.optim_wrapper.load_state_dict(state["optim_wrapper"])
        stateful = {schedule.param_name for schedule in self.param_schedulers if not isinstance(schedule, Schedule)}
        stateful |= {"betas"} if "momentum" in stateful else set()  # where Adam keeps what MMEngine calls momentum
        changed = put_back(self.optim_wrapper.optimizer, wanted, stateful=stateful)
        for schedule, saved in zip(self.param_schedulers, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        if not run_state.restore_rank_state(state["ranks"], self.method, self.device):
            self.logger.warning(
                f"resumed on {world_size()} processes, saved on {len(state['ranks'])}: random states start anew, "
                "and queues are those of process 0"
            )
        changed += seed_change(state.get("seed"), identity["seed"])
        changed += batch_change(state["batch"], identity["batch"])
        what = f"; changed since: {', '.join(changed)}" if changed else ""
        self.logger.info(f"resumed at step {state['step']} from {path}{what}")
        return state["step"]


def class_difference(method: Any, images: Any) -> str | None:
    """What to say where a classifier is made for another number of classes than the images have."""
    made_for, classes = getattr(method, "num_classes", None), getattr(images, "classes", None)
    if made_for is None or not classes or made_for == len(classes):
        return None
    return (
        f"model.num_classes is {made_for}, the images have {len(classes)} classes; for a classifier of theirs: "
        f"--cfg-options model.num_classes={len(classes)}"
    )


def _to_terminal() -> logging.Handler:
    """Lines that fit a terminal; anywhere else each message is one line, whole, to be searched and copied."""
    if sys.stdout.isatty():
        return RichHandler(show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    plain = logging.StreamHandler(sys.stdout)
    plain.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    return plain
