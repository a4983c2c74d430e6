"""One SimCLR ResNet-50 training step, ours against NCHW float32: same weights, same images, same optimizer.

    python -m benchmarks.train_step

Prints the median seconds of both, their ratio, and how far the losses are apart. The two are timed in turn, step by
step, so that a machine that slows down slows both.
"""

import argparse
import copy
import statistics
import sys
import time

import torch

from selfsup.config import Recipe, load_config
from selfsup.engine.optim.groups import parameter_groups
from selfsup.methods.base import Method, Progress
from selfsup.registry import METHODS, OPTIM_WRAPPERS, OPTIMIZERS

RATIO, LOSS_TOLERANCE = 2.5, 0.01


class Step:
    """A method, its optimizer, and a memory format: everything one step needs."""

    def __init__(self, recipe: Recipe, method: Method, *, precision: str, channels_last: bool) -> None:
        wrapper = {**recipe.optim_wrapper, "precision": precision}
        groups = parameter_groups(method, wrapper.pop("param_groups", ()))
        optimizer = OPTIMIZERS.build({**wrapper.pop("optimizer"), "lr": 0.1}, params=groups)
        wrapper.setdefault("type", "PrecisionOptimWrapper")
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.method = method.to(memory_format=self.format)
        self.wrapper = OPTIM_WRAPPERS.build(wrapper, optimizer=optimizer)
        self.wrapper.bind(self.method)

    def __call__(self, views: list[torch.Tensor]) -> tuple[float, float]:
        """Run one step; returns its seconds and its loss."""
        views = [view.contiguous(memory_format=self.format) for view in views]
        start = time.perf_counter()
        self.method.before_step(Progress(0, 100, 0, 100))
        with self.wrapper.optim_context(self.method):
            parts = self.method({"views": views}, mode="loss")
            loss = sum(value for name, value in parts.items() if name.startswith("loss"))
        self.wrapper.update_params(loss)
        return time.perf_counter() - start, float(loss.detach())


def main() -> int:
    """Print the table; 0 when both targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="simclr/simclr_resnet50")
    parser.add_argument("--batch", type=int, default=16, help="images a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each (default: %(default)s)")
    options = parser.parse_args()

    torch.manual_seed(0)
    config = load_config(options.config)
    plain = METHODS.build(config.model).train()
    ours = Step(config, copy.deepcopy(plain), precision="bf16", channels_last=True)
    reference = Step(config, plain, precision="fp32", channels_last=False)
    seconds: dict[str, list[float]] = {"reference": [], "ours": []}
    losses: list[tuple[float, float]] = []
    for round_ in range(options.rounds + 1):  # the first round warms up and is not timed
        views = [torch.randint(0, 256, (options.batch, 3, 224, 224), dtype=torch.uint8) for _ in range(2)]
        reference_seconds, reference_loss = reference(views)
        our_seconds, our_loss = ours(views)
        losses.append((reference_loss, our_loss))
        if round_:
            seconds["reference"].append(reference_seconds)
            seconds["ours"].append(our_seconds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["reference"] / medians["ours"]
    first = abs(losses[0][1] / losses[0][0] - 1)
    print(f"threads {torch.get_num_threads()}, batch {options.batch}, 2 x 224 px, {options.rounds} rounds")
    print(f"NCHW float32          {medians['reference']:7.3f} s a step   loss {losses[0][0]:.5f}")
    print(f"channels_last + bf16  {medians['ours']:7.3f} s a step   loss {losses[0][1]:.5f}")
    print(f"ratio {ratio:.2f} (target {RATIO}), loss apart by {first:.3%} (target {LOSS_TOLERANCE:.0%})")
    return 0 if ratio >= RATIO and first <= LOSS_TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
