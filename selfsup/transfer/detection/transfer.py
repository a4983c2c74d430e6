"""Training a detector on a pretrained backbone, and evaluating it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfsup.config import Recipe, load_config
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.errors import CheckpointError
from selfsup.evaluation.rows import Row
from selfsup.ops.launch import Launcher
from selfsup.planning.fits import batch_has_to_fit
from selfsup.transfer.detection.detector import Detector
from selfsup.weights.card import card_path, read_card
from selfsup.weights.checkpoint import list_checkpoints
from selfsup.weights.load import exported_file


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Train a detector as a config says, with any backbone, and evaluate it on the config's tasks.

    Args:
        weights: a file with its card, or the work dir of a finished run; None trains the config's backbone from
            scratch.
        config: a config whose model is a :class:`Detector`; its own backbone gives way to that of the weights.
        options: changes to it by dotted path, such as ``{'model.norm': 'frozen', 'train_cfg.max_steps': 500}``.
    """

    weights: str | Path | None
    config: str | Path = "transfer/detection_scenes"
    options: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, work_dir: str | Path) -> Recipe:
        """What is trained.

        Args:
            work_dir: where results go.

        Raises:
            CheckpointError: if no card says which network the weights are of.
            ConfigError: if the config cannot be loaded.
        """
        recipe = load_config(self.config, {**self.options, "work_dir": str(work_dir)})
        if self.weights is None:
            return recipe
        file = exported_file(Path(self.weights).expanduser())
        if (card := read_card(file)) is None:
            raise CheckpointError.at(str(card_path(file)), f"no card says which network has the weights of {file.name}")
        shown = {name: card["preprocess"].get(name) for name in ("mean", "std")}
        model = {**recipe.model, "backbone": card["backbone"]}
        if None not in shown.values():
            model["preprocess"] = shown
        return dataclasses.replace(recipe, model=model, load_from=str(file))

    def run(
        self, work_dir: str | Path, *, device: str | None = None, launcher: Launcher | None = None
    ) -> tuple[Detector, list[Row]]:
        """Train, or resume what is in the work dir, and evaluate on the test images.

        Args:
            work_dir: of the run; rows go to its ``results.jsonl``, and none is computed twice.
            device, launcher: as of the :class:`~selfsup.engine.runner.Runner`.

        Returns:
            The detector in eval mode, and the rows.

        Raises:
            ConfigError: if the data have more classes than the detector, or a batch does not fit into memory.
        """
        recipe = self.recipe(work_dir)
        with batch_has_to_fit(recipe, device=device):
            runner = Runner(recipe, resume=True, device=device, launcher=launcher)
            detector: Any = runner.train()
        file = list_checkpoints(work_dir)[-1]
        results = Path(work_dir) / "results.jsonl"
        rows = evaluate(recipe, file, device=device, launcher=launcher, results=results, note=runner.logger.info)
        return detector.eval(), rows
