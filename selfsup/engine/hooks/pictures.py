"""A run's pictures: what goes in, how it went, what came out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from torch import Tensor

from selfsup.data.selection import Subset, draw, labelled
from selfsup.data.sources.source import printable, single_labels
from selfsup.engine.logging.metrics import read_metrics
from selfsup.errors import DataError
from selfsup.evaluation.representation import Representation
from selfsup.ops.dist import is_main
from selfsup.ops.random_state import isolated_random_state
from selfsup.plots.curves import draw_curves
from selfsup.plots.embedding import draw_embedding_map
from selfsup.plots.sheets import draw_prototypes, draw_view_sheet
from selfsup.registry import HOOKS


@HOOKS.register_module()
class PictureHook(Hook):
    """Write ``views.png`` before the first step, ``curves.png`` now and then, and the maps at the end, to the work dir.

    ``embedding.png`` and, for methods with prototypes, ``prototypes.png`` show the images
    that the evaluation of the first task watches. A picture that cannot be drawn or written is reported in one line,
    once until it can be, and the run continues. Training is left as it was; only the main process draws.

    Args:
        num_rows: images on the sheet of views, > 0.
        num_images: images on the maps, > 1.
        curves_every_steps: optimizer updates between two drawings of the curves; they are also drawn at the end.
        min_steps: a run of fewer updates has learned nothing that a map could show, and gets none.
        seed: of the choice of images and of the layout.
    """

    priority = "LOWEST"  # after the evaluation whose numbers it draws

    def __init__(
        self,
        *,
        num_rows: int = 6,
        num_images: int = 600,
        curves_every_steps: int = 5000,
        min_steps: int = 100,
        seed: int = 0,
    ) -> None:
        self.num_rows = num_rows
        self.num_images = num_images
        self.curves_every_steps = curves_every_steps
        self.min_steps = min_steps
        self.seed = seed
        self._missing: set[str] = set()

    def before_train(self, runner: Any) -> None:
        """Draw the views of the first images."""
        if is_main():
            with isolated_random_state(runner.device):
                self._draw(runner, "views.png", self._views)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Draw the curves if it is time."""
        if is_main() and (runner.iter + 1) % self.curves_every_steps == 0:
            self._draw(runner, "curves.png", self._curves)

    def after_train(self, runner: Any) -> None:
        """Draw the curves and the maps."""
        if is_main():
            self._draw(runner, "curves.png", self._curves)
        if runner.max_iters < self.min_steps:
            return
        with isolated_random_state(runner.device):
            source = _shown(runner)
            source = Subset(source, count=min(self.num_images, len(source)), seed=self.seed)
            shown = Representation(
                runner.method, runner.input_contract, log=lambda _: None
            )  # training names bad images
            found = shown.extract(source)  # every process takes its part
            scores = _prototype_scores(runner.method, found.features.to(runner.device))  # likewise
            if not is_main():
                return
            images = [runner.input_contract.view(source.image(index)) for index in found.index.tolist()]
            classes = None if found.classes is None else list(found.classes)

            def embedding(_: Any, path: Path) -> None:
                draw_embedding_map(
                    found.features, path, labels=found.labels, classes=classes, thumbnails=images, seed=self.seed
                )

            def prototypes(_: Any, path: Path) -> None:
                assert scores is not None
                draw_prototypes(scores, images, path, labels=found.labels, classes=classes)

            self._draw(runner, "embedding.png", embedding)
            if scores is not None:
                self._draw(runner, "prototypes.png", prototypes)

    def _draw(self, runner: Any, name: str, draw: Callable[[Any, Path], None]) -> None:
        try:
            draw(runner, Path(runner.work_dir, name))
        except (OSError, ValueError) as error:
            if name not in self._missing:
                runner.logger.warning(f"{name} was not drawn: {error}")
            self._missing.add(name)
        else:
            self._missing.discard(name)

    def _views(self, runner: Any, path: Path) -> None:
        rows = []
        for index in draw(len(runner.train_images), self.num_rows, seed=self.seed).tolist():
            sample = runner.view_dataset[0, index]
            if isinstance(sample, DataError):
                raise sample
            rows.append((runner.train_images.image(sample["index"]), sample["views"]))
        draw_view_sheet(rows, path)

    def _curves(self, runner: Any, path: Path) -> None:
        prototypes = getattr(runner.method, "prototypes", None)
        labels = single_labels(labelled(_shown(runner)))
        draw_curves(
            read_metrics(Path(runner.work_dir, "metrics.jsonl")),
            path,
            num_prototypes=prototypes.out_dim if prototypes is not None else None,
            guessing=None if labels is None else float(np.bincount(labels).max() / len(labels)),
            title=f"{type(runner.method).__name__}: {printable(Path(runner.work_dir).resolve().name)}",
        )


def _shown(runner: Any) -> Any:
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
