"""Watching for representations that are the same for every image."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from selfsup.data.selection import Subset
from selfsup.errors import require
from selfsup.evaluation.protocols.spread import spread_of
from selfsup.evaluation.representation import Representation
from selfsup.ops.random_state import isolated_random_state
from selfsup.registry import HOOKS

WATCHED = ("loss", "dead_prototypes")
# A collapse shows in one of these, the last two on average between two looks.
MIN_STD = 0.01  # standard deviation of the features, as a fraction of an even sphere's 1 / sqrt(D)
MIN_USED = 2.0  # prototypes that are the nearest of any image of a batch; a collapsed model uses one
MIN_GAIN = 0.01  # nats by which the loss is below the method's uniform_loss


@HOOKS.register_module()
class CollapseWatchHook(Hook):
    """Measure how spread out the features of a few training images are, and warn in one line when they collapse.

    Writes ``features/rankme``, ``features/feature_std`` and their fractions of the greatest possible value to the
    metrics log. Needs no labels and does not change the training. The loss is watched where the method says its
    :attr:`~selfsup.methods.Method.uniform_loss`, the use of prototypes where it logs ``dead_prototypes``. Each warning
    is given once, again after it had ceased to hold, and at the end if it holds then.

    Args:
        every_steps: optimizer updates between two looks, > 0.
        num_images: training images looked at, the same ones throughout, > 1.

    Raises:
        ConfigError: if ``every_steps`` or ``num_images`` is too small.
    """

    priority = "LOW"

    def __init__(self, *, every_steps: int = 250, num_images: int = 256) -> None:
        require(every_steps >= 1, "every_steps", "must be > 0", got=every_steps)
        require(num_images >= 2, "num_images", "must be > 1", got=num_images)
        self.every_steps = every_steps
        self.num_images = num_images
        self._images: Any = None
        self._sums: dict[str, float] = {}
        self._seen = 0
        self._found: dict[str, str] = {}

    def before_train(self, runner: Any) -> None:
        """Choose the images."""
        count = min(self.num_images, len(runner.train_images))
        self._images = Subset(runner.train_images, count=count)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Look if it is time."""
        self._seen += 1
        for name in WATCHED:
            if name in (outputs or {}):
                self._sums[name] = self._sums.get(name, 0.0) + outputs[name]
        if (runner.iter + 1) % self.every_steps:
            return
        with isolated_random_state(runner.device):
            representation = Representation(runner.method, runner.input_contract, log=lambda _: None)
            scores = spread_of(representation.extract(self._images).features)
        runner.metrics_log.write(runner.iter + 1, {f"features/{name}": value for name, value in scores.items()})
        means = {name: total / self._seen for name, total in self._sums.items()}
        self._sums, self._seen = {}, 0
        found = self.symptoms(scores, means, uniform_loss=runner.method.uniform_loss)
        for name in sorted(found.keys() - self._found.keys()):
            runner.logger.warning(f"step {runner.iter + 1}: {found[name]}")
        self._found = found

    def after_train(self, runner: Any) -> None:
        """Repeat what held at the last look, so that it stands at the end of the log."""
        for sentence in self._found.values():
            runner.logger.warning(f"at the end: {sentence}")

    def symptoms(
        self, scores: Mapping[str, float], means: Mapping[str, float], *, uniform_loss: float | None
    ) -> dict[str, str]:
        """What indicates a collapse, from the features' spread and the means of what the method has reported."""
        found = {}
        if scores["feature_std_share"] < MIN_STD:
            found["std"] = (
                f"the features are collapsing: their standard deviation is {scores['feature_std_share']:.2%} of an "
                f"even sphere's (RankMe {scores['rankme']:.1f}); lower the learning rate, or compare with the recipe"
            )
        if uniform_loss is None:
            return found
        number = math.exp(uniform_loss)
        if (used := (1 - means.get("dead_prototypes", 0)) * number) < MIN_USED:
            found["dead"] = (
                f"only {used:.1f} of {number:.0f} prototypes are in use in a batch: all images look alike; lower the "
                "learning rate, or compare temperature and epsilon with the recipe"
            )
        if means["loss"] > uniform_loss - MIN_GAIN:
            found["uniform"] = (
                f"the loss is {means['loss']:.4f}, and {uniform_loss:.4f} is that of guessing: nothing is learned yet; "
                "if this lasts, lengthen the warm-up, lower the learning rate, or look at views.png"
            )
        return found
