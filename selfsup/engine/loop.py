"""The training loop: one step is one optimiser update, whatever number of micro-batches it is made of."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch import Tensor
from torch.utils.data import DataLoader

from selfsup.engine.interrupt import Interrupted, InterruptWatch
from selfsup.errors import NonFiniteError, UnreadableError
from selfsup.methods.base import Progress
from selfsup.ops.dist import all_reduce_sum, world_size


class TrainLoop(BaseLoop):
    """Runs from the step the run has come to, to the last one; the loader starts there by itself.

    Args:
        runner: the runner whose model, optim wrapper and hooks are used.
        dataloader: yields micro-batches in order, the first one being that of ``start_step``.
        total_steps: optimiser updates of the whole run.
        steps_per_epoch: optimiser updates in one pass over the data.
        start_step: optimiser updates done by an earlier part of the run.
    """

    def __init__(
        self, runner: Any, dataloader: DataLoader, *, total_steps: int, steps_per_epoch: int, start_step: int = 0
    ) -> None:
        super().__init__(runner, dataloader)
        self.steps_per_epoch = steps_per_epoch
        self.max_iters = total_steps
        self.max_epochs = -(-total_steps // steps_per_epoch)
        self.iter = start_step

    @property
    def epoch(self) -> int:
        """The pass over the data that the current step belongs to, from 0."""
        return self.iter // self.steps_per_epoch

    @property
    def progress(self) -> Progress:
        """Where the run stands before the current step."""
        return Progress(self.iter, self.max_iters, self.epoch, self.steps_per_epoch)

    def run(self) -> None:
        """Train to the last step.

        Raises:
            Interrupted: after Ctrl-C, once the state is saved.
            NonFiniteError: at the first loss or gradient that is not finite; the weights are those before the step.
        """
        runner = self.runner
        runner.call_hook("before_train")
        batches = iter(self.dataloader)
        with InterruptWatch() as interrupt:
            while self.iter < self.max_iters:
                if self.iter % self.steps_per_epoch == 0:
                    runner.call_hook("before_train_epoch")
                self._run_step(batches)
                if (self.iter + 1) % self.steps_per_epoch == 0:
                    runner.call_hook("after_train_epoch")
                self.iter += 1
                if self.iter < self.max_iters and interrupt.asked():
                    runner.save(self.iter)
                    raise Interrupted(self.iter)
        runner.call_hook("after_train")

    def _run_step(self, batches: Iterator[dict[str, Any]]) -> None:
        runner = self.runner
        runner.model.train()
        progress = self.progress
        start = time.perf_counter()
        runner.method.before_step(progress)
        rates = [group["lr"] for group in runner.optim_wrapper.optimizer.param_groups]
        micro_batches: list[dict[str, Any]] = []
        sums: dict[str, Tensor] = {}
        waited = 0.0
        for _ in range(runner.accumulate):
            asked = time.perf_counter()
            batch = self._next(batches)
            waited += time.perf_counter() - asked
            micro_batches.append(batch)
            if len(micro_batches) == 1:
                runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=micro_batches)
            for name, value in self._forward_backward(batch, micro_batches).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / runner.accumulate
        runner.method.after_step(progress)
        outputs = self._mean_over_processes(sums)
        for scheduler in runner.param_schedulers or ():
            if hasattr(scheduler, "observe"):
                scheduler.observe(outputs["loss"])
        outputs["lr"] = max(rates)
        if runner.optim_wrapper.last_grad_norm is not None:
            outputs["grad_norm"] = float(runner.optim_wrapper.last_grad_norm)
        outputs["step_seconds"] = time.perf_counter() - start
        outputs["data_seconds"] = waited
        runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=micro_batches, outputs=outputs)

    def _next(self, batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """The next micro-batch; images that end the run because none around them can be read are named first."""
        try:
            return next(batches)
        except UnreadableError as error:
            self.runner.call_hook("on_unreadable", bad=error.bad)
            raise

    def _forward_backward(self, batch: dict[str, Any], micro_batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        """One micro-batch; the optim wrapper updates the weights after the last one of the step."""
        runner = self.runner
        with runner.optim_wrapper.optim_context(runner.model):
            where = {"device": runner.device, "memory_format": runner.memory_format, "non_blocking": True}
            views = runner.method.preprocess([view.to(**where) for view in batch["views"]])
            labels = batch["label"].to(runner.device, non_blocking=True) if "label" in batch else None
            parts = runner.model(views, labels=labels, mode="loss")
            loss = torch.stack([value.float() for name, value in parts.items() if name.startswith("loss")]).sum()
        for name, value in (*parts.items(), ("loss", loss)):
            if name.startswith("loss") and not torch.isfinite(value):
                raise NonFiniteError(self._describe(f"{name} is {float(value.detach())}", micro_batches))
        try:
            runner.optim_wrapper.update_params(loss)
        except NonFiniteError as error:
            raise NonFiniteError(self._describe(str(error), micro_batches)) from None
        return {**{name: value.detach().float() for name, value in parts.items()}, "loss": loss.detach()}

    def _describe(self, fault: str, micro_batches: list[dict[str, Any]]) -> str:
        images = [int(index) for batch in micro_batches for index in batch["index"]]
        names = ", ".join(self.runner.train_images.name(index) for index in images[:4])
        return (
            f"step {self.iter}: {fault}; images {images} ({names}{', ...' if len(images) > 4 else ''}); the weights "
            "are untouched by this step and the last checkpoint is good: lower the learning rate, clip gradients "
            "(optim_wrapper.clip_grad), or use optim_wrapper.precision='fp32'"
        )

    def _mean_over_processes(self, sums: dict[str, Tensor]) -> dict[str, float]:
        stacked = torch.stack([value.double() for value in sums.values()])
        means = all_reduce_sum(stacked) / world_size()
        return dict(zip(sums, means.tolist(), strict=True))
