"""Seeing it learn: evaluators run on the frozen features during training."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook

from selfsup.config import hooks_of
from selfsup.data.selection import Subset, draw
from selfsup.data.splits import Split
from selfsup.data.views.sides import view_side
from selfsup.engine.hooks.isolation import FrozenFeatures
from selfsup.evaluation.suite import held_out_parts
from selfsup.ops.random_state import isolated_random_state
from selfsup.ops.together import together
from selfsup.registry import EVALUATORS, HOOKS


def judge_of(config: Mapping[str, Any]) -> "EvaluateHook":
    """What evaluates a run of a config; where that is switched off or something else does, the default one."""
    section = hooks_of(config).get("evaluate")
    judge = None if section is None else HOOKS.build(section)
    return judge if isinstance(judge, EvaluateHook) else EvaluateHook(config.get("evaluators") or {})


@HOOKS.register_module()
class EvaluateHook(Hook):
    """Score the method's frozen features every so often and at the end, and write ``name/score`` to the metrics log.

    An evaluator's dict that names no images of its own gets two fixed parts of the run's images, one to learn from and
    one to be judged on. What is judged by its labels is held out from the training too; where no evaluator looks at
    labels, the training has all images. An evaluator that needs labels is left out, with a line in the log, where there
    are none. What is held out stays so when the run is resumed, with whatever options: the evaluators then judge those
    images, or as many of them as ``max_images`` says, and may be switched off without a change to the training.

    Images are normalized as in training and shown at the side of the largest training view, unless the evaluator says
    otherwise. Apart from the images held out, the training goes on exactly as without this hook: random states,
    training flags and statistics are untouched.

    Args:
        evaluators: dicts from EVALUATORS, by name; none switches the hook off.
        every_epochs: epochs between evaluations; 0 or None for none on the way.
        every_steps: optimizer updates between evaluations, in addition; None for none.
        at_start: also score the features before the first update, as the baseline to beat.
        max_images: how many of the run's own images are used where an evaluator brings none: three quarters to learn
            from, a quarter to be judged on.
        seed: of the choice of those images; not the run's, so that runs with other seeds are judged on the same.
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
        seed: int = 0,
    ) -> None:
        self.evaluators = dict(evaluators)
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.at_start = at_start
        self.max_images = max_images
        self.seed = seed
        self._suite: Any = None
        self._last_step: int | None = None

    @property
    def judged(self) -> Any:
        """The source of the images that the first evaluator on features judges on; None where there is none."""
        evaluators = self._suite.evaluators.values() if self._suite is not None else ()
        return next((e.sources[-1] for e in evaluators if getattr(e, "sources", ())), None)

    def suite(self, images: Any, split: Split | None, part: str, *, preprocess: Any, views: Any) -> Any:
        """The evaluators, built.

        Args:
            images: all of the run's own images, for evaluators that bring none; None if all do.
            split: of those images, or None where all are trained on.
            part: ``'val'`` or ``'test'``, the part of the split that is predicted.
            preprocess: the method's.
            views: the training's view pipeline.
        """
        own: tuple[Any, ...] = ()
        if split is not None:
            train, _ = held_out_parts(split.train, max_images=self.max_images, test_share=0.25, seed=self.seed)
            test = getattr(split, part)
            own = train, Subset(test, draw(len(test), max(1, self.max_images // 4), seed=self.seed))
        return EVALUATORS.build(
            {
                "type": "Suite",
                "evaluators": self.evaluators,
                "images": images,
                "preprocess": preprocess,
                "size": view_side(views),
                "max_images": self.max_images,
                "seed": self.seed,
                "own": own,
            }
        )

    def prepare(self, images: Any, split: Split | None, *, preprocess: Any, views: Any, device: torch.device) -> None:
        """Build the evaluators before there is a loader; a training watches the part val, as :meth:`suite` takes it."""
        if self.evaluators:
            part = "val" if split is not None and len(split.val) else "test"  # runs of commit 41b416a have no val
            with together(), isolated_random_state(device):
                self._suite = self.suite(images, split, part, preprocess=preprocess, views=views)

    def before_train(self, runner: Any) -> None:
        """Say what is left out, and score the start if that is asked for."""
        if self._suite is None:
            return
        if self._suite.skipped:
            names = ", ".join(self._suite.skipped)
            runner.logger.info(f"not evaluated, because no labelled images are held out: {names}")
        if self.at_start and runner.iter == 0:
            self._evaluate(runner, step=0, when="before training")
            self._last_step = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Evaluate if it is time."""
        done = runner.iter + 1
        due = bool(self.every_steps) and done % self.every_steps == 0
        if self.every_epochs:
            due = due or done % (self.every_epochs * runner.train_loop.steps_per_epoch) == 0
        if due:
            self._evaluate(runner, step=done, when=f"step {done}")

    def after_train(self, runner: Any) -> None:
        """Evaluate what came out, unless that has just been done."""
        if self._last_step != runner.max_iters:
            self._evaluate(runner, step=runner.max_iters, when=f"step {runner.max_iters}")

    def _evaluate(self, runner: Any, *, step: int, when: str) -> None:
        if self._suite is None or not self._suite.evaluators:
            return
        self._last_step = step
        with isolated_random_state(runner.device):
            scores = self._suite.evaluate(FrozenFeatures(runner.method), log=runner.logger.warning)
        runner.metrics_log.write(step, scores)
        line = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        runner.logger.info(f"evaluation, {when}:  {line}")
