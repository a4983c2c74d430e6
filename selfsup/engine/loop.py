"""The training loop: one step is one optimizer update, whatever number of micro-batches it is made of."""

import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, get_priority
from torch import Tensor
from torch.utils.data import DataLoader

from selfsup.data.sources.source import file_or_name
from selfsup.engine.interrupt import TIME_IS_UP, Interrupted, InterruptWatch
from selfsup.engine.schedules.build import scheduled_options
from selfsup.engine.slow_step import SlowStepWatch
from selfsup.engine.undo import BeforeStep
from selfsup.errors import CheckpointError, DataError, NonFiniteError, RecordError, UnreadableError
from selfsup.methods.base import Progress
from selfsup.methods.first_step import check_losses, checked_parts
from selfsup.ops.dist import all_reduce_max, all_reduce_sum, together, world_size

SHOWN_IMAGES = 8  # names of images in the message about a step that failed


class TrainLoop(BaseLoop):
    """Runs from the step the run has come to, to the last one; the loader starts there by itself.

    A step's hooks are called in two groups, in each of which ``after_train_epoch`` follows ``after_train_iter``: those
    that may change the run's state, then those of priority ``VERY_LOW`` and below, which look at a finished step. The
    checkpoint is the first of the second group: it holds schedules that step by epoch as the next step finds them, too.

    Args:
        runner: the runner whose model, optim wrapper and hooks are used.
        dataloader: yields micro-batches in order, the first one being that of ``start_step``.
        total_steps: optimizer updates of the whole run.
        steps_per_epoch: optimizer updates in one pass over the data.
        start_step: optimizer updates done by an earlier part of the run.
    """

    def __init__(
        self, runner: Any, dataloader: DataLoader, *, total_steps: int, steps_per_epoch: int, start_step: int = 0
    ) -> None:
        super().__init__(runner, dataloader)
        self.steps_per_epoch = steps_per_epoch
        self.max_iters = total_steps
        self.max_epochs = -(-total_steps // steps_per_epoch)
        self.start_step = start_step
        self.iter = start_step
        runner.optim_wrapper.steps_per_epoch = steps_per_epoch
        self._fault: DataError | RecordError | None = None
        self._not_finite = ""  # why the current update is left out, if it is

    @property
    def epoch(self) -> int:
        """The pass over the data that the current step belongs to, from 0."""
        return self.iter // self.steps_per_epoch

    @property
    def progress(self) -> Progress:
        """Where the run stands before the current step."""
        return Progress(self.iter, self.max_iters, self.epoch, self.steps_per_epoch, self.runner.accumulate)

    def run(self) -> None:
        """Train to the last step.

        Raises:
            Interrupted: after Ctrl-C, once the state is saved.
            ConfigError: if a part of the method gives something else than it says, in the first step.
            DataError: if images cannot be read, on all processes together, once the state is saved.
            CheckpointError: if the state cannot be saved, on all processes together.
            RecordError: if metrics or names of unreadable images cannot be written, likewise.
            NonFiniteError: at the first loss or gradient that is not finite once ``max_skipped_updates`` of the optim
                wrapper are used up, on all processes together; the weights are those before the step.
        """
        runner = self.runner
        # fp16 skips updates whose gradients overflow, while the schedule goes on
        warnings.filterwarnings("ignore", "Detected call of `scheduler.step")
        self._call("before_train", runner.hooks)
        batches = iter(self.dataloader)
        slow_step = SlowStepWatch(runner.logger, limit=runner.recipe.slow_step, name=runner.run_id)
        with InterruptWatch() as interrupt, slow_step:
            while self.iter < self.max_iters:
                start = time.perf_counter()
                interrupt.begin_step()
                slow_step.begin_step(self.iter + 1)
                micro_batches = self._fetch(batches)
                waited = time.perf_counter() - start
                self._stop_if_needed(interrupt.asked, interrupt.number)
                if self.iter % self.steps_per_epoch == 0:
                    self._call("before_train_epoch", runner.hooks)
                outputs = self._run_step(micro_batches)
                outputs["step_seconds"] = time.perf_counter() - start
                outputs["data_seconds"] = waited
                self._call_hooks(micro_batches, outputs)
                self.iter += 1
        self.runner.saver.finish()
        self._stop_if_needed(False)
        self._call("after_train", runner.hooks)
        self._stop_if_needed(False)

    def _fetch(self, batches: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        """The micro-batches of a step; none if unreadable images end the run, which are handed to the hooks."""
        if self._fault is not None:
            return []
        try:
            return [next(batches) for _ in range(self.runner.accumulate)]
        except DataError as error:
            self._fault = error
            if isinstance(error, UnreadableError):
                self._call("on_unreadable", self.runner.hooks, bad=error.bad)
            return []

    def _stop_if_needed(self, asked: bool, number: int = signal.SIGINT) -> None:
        """Between two steps: save and stop if any process was asked to, cannot read images or cannot write records."""
        fault = self._fault or self.runner.metrics_log.fault
        if asked and isinstance(fault, DataError) and not isinstance(fault, UnreadableError):
            fault = None  # whoever ends a whole group of processes ends those that read images too
        found = [fault is not None, isinstance(fault, RecordError), asked, asked and number == TIME_IS_UP]
        if world_size() > 1:
            votes = torch.tensor(found, dtype=torch.float32, device=self.runner.device)
            found = [bool(vote) for vote in all_reduce_sum(votes).tolist()]
        faulty, unrecorded, asked_to_stop, time_is_up = found
        if faulty:
            how_to_resume = self._save_for_later(again=unrecorded)
            with together():
                if fault is not None:
                    kind = RecordError if isinstance(fault, RecordError) else DataError
                    raise kind(f"{fault}; {how_to_resume}") from fault
        if asked_to_stop:
            number = TIME_IS_UP if time_is_up else number  # of whichever process: all leave with the code for it
            self._save()
            self.runner.logger.info(f"stopped by {signal.Signals(number).name} after step {self.iter}; all is saved")
            raise Interrupted(self.iter, number)

    def _save_for_later(self, *, again: bool) -> str:
        """Save, and say how to resume; ``again`` saves even if this step's checkpoint exists."""
        if self.iter == 0:
            return "no step was done yet"
        try:
            if self.iter > self.start_step or again:
                self._save(again=again)
        except CheckpointError as error:
            return str(error)
        done = "the one step so far is" if self.iter == 1 else f"all {self.iter} steps so far are"
        return f"{done} saved; resume with the same command and --resume" + (
            "" if again else ", as long as the data set has as many images as before"
        )

    def _save(self, *, again: bool = False) -> None:
        if again or self.runner.saved_step != self.iter:
            self.runner.save(self.iter)
        self.runner.saver.finish()

    def _run_step(self, micro_batches: list[dict[str, Any]]) -> dict[str, float]:
        """One update, or none: if a loss or a gradient is not finite, the method is restored to what it was before.

        Returns:
            What the method reports, as means over micro-batches and processes, the learning rate and whatever else
            schedules move, the norm of the gradients, and how many updates were left out where that is allowed.
        """
        runner, wrapper = self.runner, self.runner.optim_wrapper
        runner.model.train()
        progress = self.progress
        self._not_finite = ""
        before = BeforeStep(runner.method) if wrapper.can_skip else None
        runner.method.before_step(progress)
        options = scheduled_options(runner.param_schedulers or (), wrapper.optimizer)
        sums: dict[str, Tensor] = {}
        runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=micro_batches)
        for number in range(runner.accumulate):
            for name, value in self._forward_backward(micro_batches[: number + 1]).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / runner.accumulate
        if self._not_finite and before is not None:
            before.restore()
            wrapper.skip()
            used = f"{wrapper.skipped_updates} of {wrapper.max_skipped_updates} (optim_wrapper.max_skipped_updates)"
            runner.logger.warning(f"{self._not_finite}; this update is left out, {used}")
        else:
            runner.method.after_step(progress)
        outputs = self._mean_over_processes(sums, grad_norm=None if self._not_finite else wrapper.last_grad_norm)
        grad_norm = outputs.pop("grad_norm", None)
        for scheduler in runner.param_schedulers or ():
            if hasattr(scheduler, "observe") and not self._not_finite:
                scheduler.observe(outputs["loss"])
        if wrapper.max_skipped_updates:
            options["skipped_updates"] = wrapper.skipped_updates
        outputs |= options
        return outputs if grad_norm is None else outputs | {"grad_norm": grad_norm}

    def _call_hooks(self, micro_batches: list[dict[str, Any]], outputs: dict[str, float]) -> None:
        """What follows an update."""
        step = {"batch_idx": self.iter, "data_batch": micro_batches, "outputs": outputs}
        ends_epoch = (self.iter + 1) % self.steps_per_epoch == 0
        for hooks in _around_checkpoint(self.runner.hooks):
            self._call("after_train_iter", hooks, **step)
            if ends_epoch:
                self._call("after_train_epoch", hooks)

    def _call(self, event: str, hooks: Sequence[Hook], **arguments: Any) -> None:
        """Call all hooks that have an event; one that raises DataError or RecordError stops the run after the step.

        The others are called in any case, because they may have to communicate with those of other processes.
        """
        for hook in hooks:
            try:
                if hasattr(hook, event):
                    getattr(hook, event)(self.runner, **arguments)
            except (DataError, RecordError) as error:
                self._fault = self._fault or error

    def _forward_backward(self, micro_batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The last of these micro-batches; the optim wrapper updates the weights after the last one of the step."""
        runner, batch = self.runner, micro_batches[-1]
        with runner.optim_wrapper.optim_context(runner.model):
            first = self.iter == self.start_step
            with checked_parts(runner.method) if first else nullcontext():
                parts = runner.model(batch, mode="loss")
            if first:
                check_losses(runner.method, parts)
            losses = {name: value.float() for name, value in parts.items() if name.startswith("loss")}
            loss = torch.stack(list(losses.values())).sum()
        self._check_finite([*losses.items(), ("loss", loss)], batch)
        try:
            if self._not_finite:  # the backward pass still ends every exchange of gradients that has begun
                runner.optim_wrapper.backward(loss)
            else:
                runner.optim_wrapper.update_params(loss)
        except NonFiniteError as error:
            self._leave_out(self._describe(str(error), micro_batches))
        found = {**{name: value.detach().float() for name, value in parts.items()}, "loss": loss.detach()}
        return {name: value.to(loss.device) for name, value in found.items()}  # a metric may be computed on the CPU

    def _check_finite(self, losses: Sequence[tuple[str, Tensor]], batch: dict[str, Any]) -> None:
        """Let all processes leave out the update, or stop, if one of them has a bad loss.

        One wait for the device, whatever the number of losses and processes.
        """
        bad = ~torch.isfinite(torch.stack([value.detach() for _, value in losses]))
        if not all_reduce_max(bad.any().float()):
            return
        try:
            with together():
                for (name, value), is_bad in zip(losses, bad.tolist(), strict=True):
                    if is_bad:
                        raise NonFiniteError(self._describe(f"{name} is {float(value.detach())}", [batch]))
        except NonFiniteError as error:
            self._leave_out(str(error))

    def _leave_out(self, fault: str) -> None:
        """Note that the current update is to be left out; all processes call this together."""
        wrapper = self.runner.optim_wrapper
        if wrapper.can_skip:
            self._not_finite = self._not_finite or fault
            return
        limit = f"optim_wrapper.max_skipped_updates, {wrapper.max_skipped_updates}, is used up; "
        raise NonFiniteError(
            f"{fault}; {limit if wrapper.max_skipped_updates else ''}the weights are those before this step and the "
            "last checkpoint is good: lower the learning rate, clip gradients (optim_wrapper.clip_grad), or use "
            "optim_wrapper.precision='fp32', and resume with --resume"
        ) from None

    def _describe(self, fault: str, micro_batches: list[dict[str, Any]]) -> str:
        images = [int(index) for batch in micro_batches for index in batch["index"]]
        names = ", ".join(file_or_name(self.runner.train_images, index) for index in images[:SHOWN_IMAGES])
        more = f" and {len(images) - SHOWN_IMAGES} more" if len(images) > SHOWN_IMAGES else ""
        return f"step {self.iter + 1}: {fault}; images {names}{more}"

    def _mean_over_processes(self, sums: dict[str, Tensor], *, grad_norm: Tensor | None) -> dict[str, float]:
        """One reduction and one wait for the device; the norm of the gradients is the same everywhere."""
        means = all_reduce_sum(torch.stack([value.double() for value in sums.values()])) / world_size()
        if grad_norm is None:
            return dict(zip(sums, means.tolist(), strict=True))
        means = torch.cat([means, grad_norm.detach().double().reshape(1).to(means.device)])
        return dict(zip([*sums, "grad_norm"], means.tolist(), strict=True))


def _around_checkpoint(hooks: Sequence[Hook]) -> tuple[list[Hook], list[Hook]]:
    """Hooks that may change the run's state, and those that look at a finished step, each in their order."""
    line = get_priority("VERY_LOW")
    looking = [hook for hook in hooks if get_priority(hook.priority) >= line]
    return [hook for hook in hooks if hook not in looking], looking
