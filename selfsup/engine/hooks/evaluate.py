"""Seeing it learn: evaluators run on the frozen features during training."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from selfsup.errors import DataError
from selfsup.evaluation.build import build_evaluators, method_representation
from selfsup.evaluation.evaluator import evaluate_tasks, metrics_of
from selfsup.ops.kernels import without_tf32
from selfsup.ops.random_state import isolated_random_state
from selfsup.registry import HOOKS


@HOOKS.register_module()
class EvaluateHook(Hook):
    """Score the method's frozen features every so often and at the end, and write the scores to the metrics log.

    What is evaluated is ``task.watch()`` of each of the run's tasks: its validation images, never its test images.
    Training continues exactly as without this hook: random states, training flags and statistics are untouched.
    Features of which no score would mean anything are logged, and the training continues.

    Args:
        evaluators: dicts from EVALUATORS, by name; none switches the hook off.
        every_epochs: epochs between evaluations; 0 or None for none on the way.
        every_steps: optimizer updates between evaluations, in addition; None for none.
        at_start: also score the features before the first update, as the baseline to beat.
        max_images: most images of a task that are watched: three quarters of them to learn from.
    """

    priority = 95  # after the checkpoint: what goes wrong in an evaluation loses no training; before pictures

    def __init__(
        self,
        evaluators: Mapping[str, Any],
        *,
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        at_start: bool = False,
        max_images: int = 4000,
    ) -> None:
        self.evaluators, self.only = build_evaluators(evaluators)
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.at_start = at_start
        self.max_images = max_images
        self._tasks: dict[str, Any] = {}
        self._logged: set[str] = set()
        self._last_step: int | None = None

    def before_train(self, runner: Any) -> None:
        """Take the tasks up, and score the start if that is asked for."""
        self._tasks = {name: task.watch(self.max_images) for name, task in runner.tasks.items()}
        if self.at_start and runner.iter == 0:
            self._evaluate(runner, step=0, when="before training")
            self._last_step = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Evaluate if it is time."""
        done = runner.iter + 1
        epochs = (self.every_epochs or 0) * runner.train_loop.steps_per_epoch
        if any(every and done % every == 0 for every in (self.every_steps, epochs)):
            self._evaluate(runner, step=done, when=f"step {done}")

    def after_train(self, runner: Any) -> None:
        """Evaluate what came out, unless that has just been done."""
        if self._last_step != runner.max_iters:
            self._evaluate(runner, step=runner.max_iters, when=f"step {runner.max_iters}")

    def _evaluate(self, runner: Any, *, step: int, when: str) -> dict[str, float]:
        """The scores by name; none where none would mean anything."""
        if not self.evaluators:
            return {}
        self._last_step = step

        def once(line: str) -> None:
            if line not in self._logged:
                runner.logger.info(line)
            self._logged.add(line)

        try:
            with isolated_random_state(runner.device), without_tf32():
                representation = method_representation(
                    runner.method,
                    runner.input_contract,
                    classes=getattr(runner.train_images, "classes", None),
                    layer=runner.layer,
                    log=once,
                )
                findings = evaluate_tasks(representation, self._tasks, self.evaluators, only=self.only, skipped=once)
        except DataError as error:
            runner.logger.warning(f"evaluation, {when}: no scores; {error}")
            return {}
        scores = metrics_of(findings, tasks=len(self._tasks))
        if scores:
            runner.metrics_log.write(step, scores)
            line = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            runner.logger.info(f"evaluation, {when}:  {line}")
        return scores
