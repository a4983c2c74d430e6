"""The losses of twenty steps of each recipe, which a refactor keeps.

    python -m tests.golden.record NAME ...    # rewrites tests/golden/NAME.json; without names all of them

A change of behavior rewrites the files of the methods it changes, in the commit that makes it and says why. Images
are drawn here and not by a view pipeline, so that only methods, losses, optimizers and schedules can change a number.

Weights are float64: twenty steps of a small network with batch norm multiply a rounding error by a million and more,
so that in float32 two threads instead of one change the last losses by a percent and more.
"""

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.engine.optim.groups import parameter_groups
from selfsup.methods import Progress
from selfsup.registry import METHODS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS
from tests.golden.recipes import RECIPES, Golden

STEPS = 20
STEPS_PER_EPOCH = 5
NUM_IMAGES = 24


def losses_of(recipe: Golden) -> list[float]:
    """Train a recipe on the CPU; the loss of each step."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)  # float32's normal numbers differ in the last digit from CPU to CPU
    try:
        method = METHODS.build(copy.deepcopy(recipe.model)).train()
    finally:
        torch.set_default_dtype(torch.float32)
    method.before_training(lambda path, module: None)  # a teacher's random weights are as good as any here
    wrapper: dict[str, Any] = {
        "type": "PrecisionOptimWrapper",
        "precision": "fp32",
        **copy.deepcopy(recipe.optim_wrapper),
    }
    optimizer = wrapper.pop("optimizer")
    groups = parameter_groups(method, wrapper.pop("param_groups", ()), lr=optimizer["lr"])
    wrapper = OPTIM_WRAPPERS.build(wrapper, optimizer=OPTIMIZERS.build(optimizer, params=groups))
    wrapper.bind(method)
    schedule = PARAM_SCHEDULERS.build(
        {"type": "WarmupCosine", "warmup_steps": 3, "start_lr": 0.1 * optimizer["lr"]},
        optimizer=wrapper.optimizer,
        steps_per_epoch=STEPS_PER_EPOCH,
        total_steps=STEPS,
    )
    losses = []
    for step in range(STEPS):
        progress = Progress(step, STEPS, step // STEPS_PER_EPOCH, STEPS_PER_EPOCH)
        method.before_step(progress)
        views, labels = batch_of(recipe, step)
        with wrapper.optim_context(method):
            parts = method({"views": [view.double() for view in method.preprocess(views)], "label": labels})
            loss = torch.stack([value for name, value in parts.items() if name.startswith("loss")]).sum()
        wrapper.update_params(loss)
        method.after_step(progress)
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def batch_of(recipe: Golden, step: int) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Coarse colored squares, the same few images over and over, with fresh noise in every view."""
    squares = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 3, 4, 4))
    chosen = (np.arange(recipe.batch) + step * recipe.batch) % NUM_IMAGES
    rng = np.random.default_rng([1, step])
    views = []
    for side in recipe.sides:
        large = squares[chosen].repeat(side // 4, axis=2).repeat(side // 4, axis=3)
        noisy = large + rng.integers(-40, 41, large.shape)
        views.append(torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)))
    return views, torch.from_numpy(chosen % recipe.num_classes) if recipe.num_classes else None


def recorded_file(name: str) -> Path:
    """Where the losses of a recipe are kept."""
    return Path(__file__).with_name(f"{name}.json")


def main(names: Sequence[str]) -> None:
    """Record the losses of these recipes, or of all."""
    for name in names or RECIPES:
        losses = losses_of(RECIPES[name])
        recorded_file(name).write_text(json.dumps({"losses": losses}, indent=1) + "\n")
        print(f"{recorded_file(name).name}: {losses[0]:.6f} to {losses[-1]:.6f}")


if __name__ == "__main__":
    main(sys.argv[1:])
