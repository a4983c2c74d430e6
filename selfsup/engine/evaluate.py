"""Scores of a finished checkpoint, by the evaluators of its config."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from selfsup.config import dist_timeout
from selfsup.engine.checkpoint import load_method
from selfsup.engine.held_out import for_a_test
from selfsup.engine.hooks.aside import FrozenFeatures
from selfsup.engine.hooks.evaluate import judge_of
from selfsup.engine.reading import read_weights
from selfsup.engine.shard import build_on_main, shard, sharding_of
from selfsup.ops.dist import Launcher, init_process_group, is_main, local_device
from selfsup.ops.memory import tune_allocator
from selfsup.registry import DATASETS, METHODS, TRANSFORMS


def evaluate(
    config: Mapping[str, Any],
    checkpoint: str | Path,
    *,
    device: str | None = None,
    launcher: Launcher = "none",
    note: Callable[[str], object] = print,
) -> dict[str, float]:
    """Run a config's evaluators on the frozen features of a checkpoint.

    Evaluators that bring no images of their own learn from one part of the run's images and judge another: one that was
    held out from the training, as the checkpoint tells, whatever hooks the run had and the config has.

    Args:
        config: a resolved config with ``evaluators``.
        checkpoint: a training checkpoint of the same model.
        device: ``'cpu'``, ``'cuda'``, or None for the GPU where there is one.
        launcher: what started the processes.
        note: is told by the main process where images that are judged were trained on, or may have been.

    Returns:
        Scores by ``evaluator/score``; the same in every process.

    Raises:
        CheckpointError: if the checkpoint cannot be read or belongs to another model.
    """
    init_process_group(launcher, device, timeout=dist_timeout(config))
    where = local_device(device)
    if where.type == "cpu":
        tune_allocator(config.get("tune_allocator", True))
    method = _built(config, where)
    load_method(checkpoint, method)
    method.eval()
    loader = config["train_dataloader"]
    judge = judge_of(config)
    images = _own_images(judge.evaluators, loader["dataset"])
    held_out, doubt = (
        (None, None) if images is None else for_a_test(read_weights(checkpoint, mapped=True), images, source=checkpoint)
    )
    suite = judge.suite(
        images, preprocess=method.preprocess, views=TRANSFORMS.build(loader["views"]), held_out=held_out
    )
    if doubt is not None and len(suite.held_out) and is_main():
        note(doubt)
    return suite.evaluate(FrozenFeatures(method))


def _built(config: Mapping[str, Any], device: torch.device) -> Any:
    """The method on the device, split over the processes where the config says so."""
    if sharding := sharding_of(config):
        method = build_on_main(lambda: METHODS.build(config["model"]))
        return shard(method, device, min_parameters=sharding.min_parameters)
    return METHODS.build(config["model"]).to(device)


def _own_images(evaluators: Mapping[str, Any], dataset: dict[str, Any]) -> Any:
    """The training images, if an evaluator brings none; they are not looked for otherwise."""
    complete = all("test" in evaluator for evaluator in evaluators.values())
    return None if complete else DATASETS.build(dataset)
