"""MMEngine's Runner, made to work on any device, on one process or a thousand, and to resume at once and exactly."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from rich.logging import RichHandler
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import DEFAULT_WRAPPER, dump_config, hooks_of, sync_bn_group
from selfsup.data.loader import build_loader
from selfsup.data.sampler import StepSampler, steps_per_epoch
from selfsup.data.view_dataset import ViewDataset
from selfsup.engine import state as run_state
from selfsup.engine.card import run_card
from selfsup.engine.checkpoint import (
    FORMAT,
    checkpoint_path,
    export_backbone,
    list_checkpoints,
    load_weights,
    read_checkpoint,
    write_atomically,
)
from selfsup.engine.environment import check_writable, put_aside, write_environment
from selfsup.engine.hooks.progress import ProgressHook
from selfsup.engine.loop import TrainLoop
from selfsup.engine.metrics_log import MetricsLog
from selfsup.engine.pretrained import load_trained, start_from
from selfsup.engine.shard import build_on_main, class_name, describe_shards, is_sharded, shard, sharding_of, whole_state
from selfsup.errors import CheckpointError
from selfsup.layers import convert_sync_bn
from selfsup.methods.base import Method, Progress
from selfsup.ops.dist import Launcher, init_process_group, is_main, local_device, rank, world_size
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
        work_dir = Path(config["work_dir"])
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
            cfg=Config({key: value for key, value in config.items() if key in ("sync_bn", "find_unused_parameters")}),
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
        """The image data set being trained on."""
        return self.view_dataset.images

    # What MMEngine's constructor calls, in this order.

    def setup_env(self, env_cfg: dict) -> None:
        """Start the process group: nccl on GPUs, gloo without, never touching a GPU that is not there."""
        init_process_group(self.launcher, self._device_wanted)
        self._rank, self._world_size = rank(), world_size()
        self._timestamp = time.strftime("%Y%m%d_%H%M%S")

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> logging.Logger:  # type: ignore[override]
        """Lines to the terminal from the main process, and from each process to a file of its own in the log dir."""
        logger = logging.getLogger(self.experiment_name)
        logger.setLevel(log_level)
        logger.propagate = False
        to_file = logging.FileHandler(log_file or Path(self._log_dir) / f"rank{rank()}.log")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(to_file)
        if is_main():
            to_terminal = RichHandler(show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
            to_terminal.setLevel(log_level)
            to_terminal.addFilter(lambda record: not record.getMessage().startswith("Hooks will be executed"))
            logger.addHandler(to_terminal)
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        if is_main():
            write_environment(self.work_dir, device=self.device, seed=self.seed)

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """MMEngine's hooks expect one; scalars and pictures are written by our own log and hooks."""
        return Visualizer.get_instance(self.experiment_name)

    def build_model(self, model: Any) -> nn.Module:
        """The method, built on the CPU; where it is to be split over processes, by the main process alone."""
        return build_on_main(lambda: METHODS.build(model)) if sharding_of(self._config) else METHODS.build(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move to the device, lay out channels last, synchronise batch norm; for several processes wrap or split."""
        if (group := sync_bn_group(self._config, world_size())) is not None:
            model = convert_sync_bn(model, group)
        if sharding := sharding_of(self._config):
            model = shard(model, self.device, min_parameters=sharding.min_parameters)
            self.logger.info(f"sharding: {describe_shards(model, sharding.min_parameters)}")
            return model
        model = model.to(self.device).to(memory_format=self.memory_format)
        if world_size() == 1:
            if self._config.get("sharding") is not None:
                self.logger.info("sharding: there is one process, so nothing is split")
            return model
        return DistributedDataParallel(
            model,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=self.cfg.get("find_unused_parameters", False),
        )

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
        """Write the resolved config to the work dir."""
        if is_main():
            Path(self.work_dir, "config.py").write_text(dump_config(self._config))

    # Training.

    def train(self) -> nn.Module:
        """Train to the end, or until stopped.

        Returns:
            The trained method.
        """
        self._build_training()
        self.call_hook("before_run")
        start_step = self._load_or_resume()
        self.method.before_training(load_trained)
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
        loader = config["train_dataloader"]
        self.view_dataset = ViewDataset(
            DATASETS.build(loader["dataset"]), TRANSFORMS.build(loader["views"]), seed=config.get("seed", 0)
        )
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
            "images": len(self.train_images),
        }
        write_atomically(state, checkpoint_path(self.work_dir, step))

    def _load_or_resume(self) -> int:
        """Give the run its state back.

        Returns:
            Updates done so far.
        """
        found = list_checkpoints(self.work_dir)
        if self._resume and found:
            return self._restore(found[-1])
        if self._resume:
            self.logger.info(f"nothing to resume in {self.work_dir}: starting from the beginning")
        elif (kept := put_aside(self.work_dir)) is not None:
            self.logger.info(
                f"an earlier run of this work dir was put into {kept}; --resume would have gone on with it"
            )
        if self._load_from is not None:
            self.logger.info(start_from(self._load_from, self.method))
        return 0

    def _restore(self, path: Path) -> int:
        state = read_checkpoint(path, mapped=is_sharded(self.method))
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{path}: format {state.get('format')!r}, this version reads format {FORMAT}")
        load_weights(self.method, state["model"], source=str(path))
        if state["images"] != len(self.train_images):
            raise CheckpointError(
                f"{path}: the run saw {state['images']} images, the data set has {len(self.train_images)} now; "
                "use --init-from to start a new run from these weights"
            )
        self.optim_wrapper.load_state_dict(state["optim_wrapper"])
        for scheduler, saved in zip(self.param_schedulers, state["schedules"], strict=True):
            scheduler.load_state_dict(saved)
        if not run_state.restore_rank_state(state["ranks"], self.method, self.device):
            self.logger.warning(
                f"resumed on {world_size()} processes, saved on {len(state['ranks'])}: random states start anew, "
                "and queues are those of process 0"
            )
        self.logger.info(f"resumed at step {state['step']} from {path}")
        return state["step"]
