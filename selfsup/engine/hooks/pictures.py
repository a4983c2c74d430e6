"""A run's pictures: what goes in, how it went, what came out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from torch import Tensor

from selfsup.data.draws import draw
from selfsup.data.selection import Subset, labelled
from selfsup.data.sources.source import printable, single_labels
from selfsup.engine.logging.metrics import read_metrics
from selfsup.errors import DataError
from selfsup.evaluation.representation import Representation
from selfsup.ops.dist import is_main
from selfsup.ops.random_state import isolated_random_state
from selfsup.registry import HOOKS


@HOOKS.register_module()
class PictureHook(Hook):
    """Write ``views.png`` before the first step, ``curves.png`` now and then, and the maps at the end, to the work dir.

    ``embedding.png`` and, for methods with prototypes, ``prototypes.png`` show images that the evaluation of the first
    task watches. A picture that cannot be drawn or written is reported in one line, and the run continues; without
    matplotlib there are none. Training is left as it was; only the main process draws.

    Args:
        num_rows: images on the sheet of views, > 0.
        num_images: images on the maps, > 1.
        curves_every_steps: optimizer updates between two drawings of the curves; they are also drawn at the end.
        min_steps: a run of fewer updates has learned nothing that a map could show, and gets none.
    """

    priority = "LOWEST"  # after the evaluation whose numbers it draws

    def __init__(
        self,
        *,
        num_rows: int = 6,
        num_images: int = 600,
        curves_every_steps: int = 5000,
        min_steps: int = 100,
    ) -> None:
        self.num_rows = num_rows
        self.num_images = num_images
        self.curves_every_steps = curves_every_steps
        self.min_steps = min_steps
        self._draws = True

    def before_train(self, runner: Any) -> None:
        """Draw the views of the first images."""
        self._draws = can_draw(runner, "pictures")
        if self._draws and is_main():
            from selfsup.plots.sheets import draw_view_sheet

            with isolated_random_state(runner.device):
                self._draw(runner, "views.png", lambda path: draw_view_sheet(self._views(runner), path))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Draw the curves if it is time."""
        if (runner.iter + 1) % self.curves_every_steps == 0:
            self._curves(runner)

    def after_train(self, runner: Any) -> None:
        """Draw the curves and the maps."""
        self._curves(runner)
        if not self._draws or runner.max_iters < self.min_steps:
            return
        with isolated_random_state(runner.device):
            source = _watched(runner)
            source = Subset(source, count=min(self.num_images, len(source)))
            representation = Representation(runner.method, runner.input_contract, log=lambda _: None)
            found = representation.extract(source)  # every process takes its part
            scores = _prototype_scores(runner.method, found.features.to(runner.device))  # likewise
            if not is_main():
                return
            from selfsup.plots.embedding import draw_embedding_map
            from selfsup.plots.sheets import draw_prototypes

            images = [runner.input_contract.view(source.image(index)) for index in found.index.tolist()]
            shown: dict[str, Any] = {
                "labels": found.labels,
                "classes": None if found.classes is None else list(found.classes),
            }
            self._draw(
                runner,
                "embedding.png",
                lambda path: draw_embedding_map(found.features, path, thumbnails=images, **shown),
            )
            if scores is not None:
                self._draw(runner, "prototypes.png", lambda path: draw_prototypes(scores, images, path, **shown))

    def _draw(self, runner: Any, name: str, draw: Callable[[Path], object]) -> None:
        try:
            draw(Path(runner.work_dir, name))
        except (OSError, ValueError) as error:
            runner.logger.warning(f"{name} was not drawn: {error}")

    def _views(self, runner: Any) -> list[tuple[Any, Any]]:
        rows = []
        for index in draw(len(runner.train_images), self.num_rows, seed=0).tolist():
            sample = runner.view_dataset[0, index]
            if isinstance(sample, DataError):
                raise sample
            rows.append((runner.train_images.image(sample["index"]), sample["views"]))
        return rows

    def _curves(self, runner: Any) -> None:
        if not (self._draws and is_main()):
            return
        from selfsup.plots.curves import draw_curves

        prototypes = getattr(runner.method, "prototypes", None)
        labels = single_labels(labelled(_watched(runner)))
        lines = read_metrics(Path(runner.work_dir, "metrics.jsonl"))
        options: dict[str, Any] = {
            "num_prototypes": None if prototypes is None else prototypes.out_dim,
            "guessing": None if labels is None else float(np.bincount(labels).max() / len(labels)),
            "title": f"{type(runner.method).__name__}: {printable(Path(runner.work_dir).resolve().name)}",
        }
        self._draw(runner, "curves.png", lambda path: draw_curves(lines, path, **options))


def can_draw(runner: Any, what: str) -> bool:
    """Whether matplotlib is installed; if not, that is said."""
    from selfsup.plots import CAN_DRAW, NOT_DRAWN

    if not CAN_DRAW:
        runner.logger.warning(f"{what}: {NOT_DRAWN}")
    return CAN_DRAW


def _watched(runner: Any) -> Any:
    """The images of the maps: what the evaluation of the first task watches."""
    return next(iter(runner.tasks.values())).watch().parts.test


def _prototype_scores(method: Any, features: Tensor) -> Tensor | None:
    """None for methods without prototypes."""
    if not hasattr(method, "prototype_scores"):
        return None
    was_training = method.training
    method.eval()
    scores = method.prototype_scores(features).float().cpu()
    method.train(was_training)
    return scores
