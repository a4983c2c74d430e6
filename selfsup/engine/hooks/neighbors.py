"""A picture of what the network finds alike, which needs no labels."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from selfsup.data.selection import Subset
from selfsup.engine.hooks.pictures import can_draw
from selfsup.errors import require
from selfsup.evaluation.neighbors import rows_of
from selfsup.evaluation.representation import Representation
from selfsup.ops.dist import is_main
from selfsup.ops.random_state import isolated_random_state
from selfsup.registry import HOOKS


@HOOKS.register_module()
class NeighborsHook(Hook):
    """Write ``neighbors.png``: some images, each with those whose features are nearest to its own.

    The queries are of the images that the evaluation of the first task watches, never of its test images; they are
    looked for among what that evaluation learns from or, without labels, among the other images that are watched.
    Training is left as it was.

    Args:
        first_step: optimizer updates after which it is drawn for the first time; it is drawn again at the end.
        num_queries: rows, > 0.
        num_neighbors: images in a row, > 0.
        max_images: images that are searched at the most, > 1.
        seed: of the choice of images.

    Raises:
        ConfigError: if a number is out of its range.
    """

    priority = "LOWEST"  # after the evaluation

    def __init__(
        self,
        *,
        first_step: int = 200,
        num_queries: int = 8,
        num_neighbors: int = 8,
        max_images: int = 1000,
        seed: int = 0,
    ) -> None:
        for name, value in (("first_step", first_step), ("num_queries", num_queries), ("num_neighbors", num_neighbors)):
            require(value >= 1, name, "must be > 0", got=value)
        require(max_images >= 2, "max_images", "must be > 1", got=max_images)
        self.first_step = first_step
        self.num_queries = num_queries
        self.num_neighbors = num_neighbors
        self.max_images = max_images
        self.seed = seed
        self._draws = True

    def before_train(self, runner: Any) -> None:
        """Look whether it can be drawn at all."""
        self._draws = can_draw(runner, "neighbors.png")

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Draw it for the first time if it is time."""
        if runner.iter + 1 == self.first_step < runner.max_iters:
            self._draw(runner, f"after {self.first_step:,} of {runner.max_iters:,} steps")

    def after_train(self, runner: Any) -> None:
        """Draw what came out."""
        self._draw(runner, f"after all {runner.max_iters:,} steps")

    def _draw(self, runner: Any, when: str) -> None:
        if not self._draws:
            return
        parts = next(iter(runner.tasks.values())).watch().parts
        with isolated_random_state(runner.device):
            representation = Representation(
                runner.method, runner.input_contract, layer=runner.layer, log=lambda _: None
            )  # training names bad images
            queries = Subset(parts.test, count=min(self.num_queries, len(parts.test)), seed=self.seed)
            bank = parts.test if parts.train is None else parts.train
            if len(bank) > self.max_images:
                bank = Subset(bank, count=self.max_images, seed=self.seed)
            found = rows_of(representation, queries, bank, count=self.num_neighbors)  # every process takes its part
        if is_main():
            from selfsup.plots.neighbors import draw_neighbors

            try:
                path = draw_neighbors(
                    found, Path(runner.work_dir, "neighbors.png"), summary=f"{when}, {len(bank):,} images searched"
                )
                runner.logger.info(f"nearest images, {when}: {path}")
            except (OSError, ValueError) as error:
                runner.logger.warning(f"neighbors.png was not drawn: {error}")
