"""The weights of the best step, by what the validation images say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.errors import ConfigError, nearest
from selfsup.ops.dist import broadcast_object, is_main
from selfsup.ops.files import write_record
from selfsup.ops.parts import class_name, whole_state
from selfsup.registry import HOOKS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints, step_of

FOLDER = "best"


@HOOKS.register_module()
class BestStepHook(EvaluateHook):
    """Evaluate as :class:`EvaluateHook` does, and keep the weights of the step with the highest score.

    The score is one of ``task.watch()``, never of test images. Of equal scores the earliest counts. A run that is
    resumed knows the scores of the steps before; one that was killed between a step's checkpoint and its evaluation
    evaluates first. Weights are kept in ``best/``, as a checkpoint without the optimizer, until a checkpoint of the run
    is at least as late as a better one's.

    Args:
        score: name of the score, as the metrics log has it.
        evaluators: see :class:`EvaluateHook`; None for the classifier's own head.
        every_epochs, every_steps, at_start, max_images: likewise.

    Raises:
        ConfigError: at the first evaluation, if there is no such score.
    """

    priority = 96

    def __init__(
        self,
        evaluators: Mapping[str, Any] | None = None,
        *,
        score: str = "head/top1",
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        at_start: bool = False,
        max_images: int = 10_000,
    ) -> None:
        super().__init__(
            evaluators or {"head": {"type": "Head"}},
            every_epochs=every_epochs,
            every_steps=every_steps,
            at_start=at_start,
            max_images=max_images,
        )
        self.score = score
        self._scores: dict[int, float] = {}

    def before_train(self, runner: Any) -> None:
        """Take up the scores of an earlier part of the run."""
        super().before_train(runner)
        done = runner.iter
        known = read_scores(runner.work_dir) if done and is_main() else {}
        self._scores = {step: score for step, score in broadcast_object(known).items() if step <= done}
        if done in self._scores:
            self._last_step = done
        elif self._due(runner, done):
            self._evaluate(runner, step=done, when=f"step {done}")

    def _due(self, runner: Any, done: int) -> bool:
        epochs = (self.every_epochs or 0) * runner.train_loop.steps_per_epoch
        return done > 0 and any(every and done % every == 0 for every in (self.every_steps, epochs))

    def _evaluate(self, runner: Any, *, step: int, when: str) -> dict[str, float]:
        scores = super()._evaluate(runner, step=step, when=when)
        if not scores or step == 0:
            return scores
        if self.score not in scores:
            raise ConfigError.at("default_hooks.evaluate.score", "no such score", expected=nearest(self.score, scores))
        found = scores[self.score]
        better = found > max(self._scores.values(), default=float("-inf"))
        self._scores[step] = found
        weights = whole_state(dict(runner.method.state_dict())) if better else {}
        if is_main():
            if better:
                path = _file(runner.work_dir, step)
                path.parent.mkdir(exist_ok=True)
                kept = Checkpoint(
                    model=weights, step=step, method=class_name(runner.method), started_from=runner.started_from
                )
                kept.write(path)
                self._forget(runner.work_dir)
            write_record(path_of_scores(runner.work_dir), json.dumps(self._scores) + "\n")
        return scores

    def _forget(self, work_dir: str | Path) -> None:
        """Remove weights that neither this run nor one resumed from any checkpoint that is kept can ask for."""
        saved = [step_of(path) for path in list_checkpoints(work_dir)[:1]] or [0]
        needed = {best_of(self._scores), best_of({step: s for step, s in self._scores.items() if step <= saved[0]})}
        for path in Path(work_dir, FOLDER).glob("step_*.pth"):
            if step_of(path) not in needed:
                path.unlink()


def best_of(scores: dict[int, float]) -> int | None:
    """The earliest step of the highest score; None if there is none."""
    return min(scores, key=lambda step: (-scores[step], step), default=None)


def read_scores(work_dir: str | Path) -> dict[int, float]:
    """The score of each step that was evaluated; none if the run keeps none."""
    path = path_of_scores(work_dir)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {int(step): score for step, score in known.items()}


def path_of_scores(work_dir: str | Path) -> Path:
    """Where they are."""
    return Path(work_dir, FOLDER, "scores.json")


def best_checkpoint(work_dir: str | Path) -> Path | None:
    """The weights of the best step of a run; None if it keeps none."""
    step = best_of(read_scores(work_dir))
    return None if step is None else _file(work_dir, step)


def _file(work_dir: str | Path, step: int) -> Path:
    return Path(work_dir, FOLDER, f"step_{step:09d}.pth")
