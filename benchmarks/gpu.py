"""What a GPU gains here, as ratios in one run: precision, memory format, compilation, the loader, and what a plan says.

    python -m benchmarks.gpu [--config swav/swav_resnet50] [--batch 64] [--photos FOLDER]
    python -m benchmarks.gpu --device cpu --batch 4 --rounds 1      # the same lines on a processor, to try the script

Prints for the recipe: steps in each precision against float32 and channels_last against the usual format; the backbone
compiled; our step against a plain PyTorch loop of the same network and loss; images that the loader prepares against
images that a step takes; and the peak memory of a step against what ``selfsup plan`` says. Without a GPU it says so
and ends with 0.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import selfsup
from benchmarks.train_step import Step
from selfsup.config import Recipe, load_config
from selfsup.data import ImageList, StepSampler, ViewDataset, build_loader
from selfsup.methods.swav import SwAV
from selfsup.ops.cpus import available_cpus
from selfsup.planning.describe import view_sizes
from selfsup.planning.memory import step_trace
from selfsup.planning.trial import build_on_meta
from selfsup.registry import METHODS


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="swav/swav_resnet50")
    parser.add_argument("--batch", type=int, default=64, help="images a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each (default: %(default)s)")
    parser.add_argument("--photos", type=Path, help="a folder for the loader; default: photographs of the package")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("skipped: PyTorch sees no GPU on this machine")
        return 0
    recipe = load_config(options.config)
    sizes = view_sizes(recipe.train_dataloader.views)
    assert sizes is not None, "a recipe whose views have fixed sizes"
    torch.manual_seed(0)
    method = METHODS.build(recipe.model).to(device).train()
    sides = [side for side, count in sizes for _ in range(count)]
    views = [torch.randint(0, 256, (options.batch, 3, side, side), dtype=torch.uint8, device=device) for side in sides]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"{options.config} on {name}, batch {options.batch}, median of {options.rounds} steps")

    def step(precision: str, *, last: bool = True, compiled: bool = False) -> Callable[[], None]:
        own = copy.deepcopy(method)
        if compiled:
            own.backbone.compile()  # type: ignore[operator]
        taken = Step(recipe, own, precision=precision, channels_last=last)
        return lambda: void(taken(views))

    base = timed(step("fp32"), device, options.rounds)
    show("fp32, channels_last", base, base)
    show("fp32, usual format", timed(step("fp32", last=False), device, options.rounds), base)
    fast = base
    for precision in ("bf16", "fp16") if device.type == "cuda" else ("bf16",):
        seconds = timed(step(precision), device, options.rounds)
        fast = min(fast, seconds)
        show(precision, seconds, base)
    show("bf16, backbone compiled", timed(step("bf16", compiled=True), device, options.rounds), base)
    if isinstance(method, SwAV):
        show("plain loop, bf16, usual format", timed(plain(copy.deepcopy(method), views), device, options.rounds), base)
    loaded = loader_pace(recipe, options.batch, options.photos, device)
    taken = options.batch / fast
    print(f"loader {loaded:.0f} images/s with {available_cpus()} workers; a step takes {taken:.0f} images/s")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step("bf16")()
        peak = torch.cuda.max_memory_allocated(device) - before
        said = step_trace(build_on_meta(recipe), sizes, options.batch, "bf16").footprint().peak_with_gradients
        print(
            f"peak of a step {peak / 2**30:.2f} GiB beside what was there; the plan's activations and gradients "
            f"{said / 2**30:.2f} GiB"
        )
    return 0


def void(_: object) -> None:
    """Forget a result."""


def timed(step: Callable[[], None], device: torch.device, rounds: int) -> float:
    """Median seconds of a step, after two that are not timed."""
    found = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number > 1:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def show(name: str, seconds: float, base: float) -> None:
    """One line of the table."""
    print(f"{name:32} {1000 * seconds:9.1f} ms a step  {base / seconds:5.2f} times fp32", flush=True)


def plain(method: SwAV, views: list[Tensor]) -> Callable[[], None]:
    """SwAV as a script would have it: a pass for every view, no groups of equal size, PyTorch's SGD."""
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-6)
    device_type = views[0].device.type

    def step() -> None:
        inputs = method.preprocess(views)
        with torch.autocast(device_type, torch.bfloat16):
            scores = [
                method.prototypes(F.normalize(method.neck(method.backbone(view)).float(), dim=1)).float()
                for view in inputs
            ]
        loss = method.criterion(scores)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def loader_pace(recipe: Recipe, batch: int, photos: Path | None, device: torch.device) -> float:
    """Images that a loader with a worker for each core prepares a second."""
    source = ImageList(photos or Path(selfsup.__file__).parent / "data" / "photos")
    dataset = ViewDataset(source, recipe.train_dataloader.views)
    size, passes = min(batch, len(source)), 6
    loader = iter(
        build_loader(
            dataset,
            StepSampler(len(source), size, total_steps=passes + 1),
            num_workers=available_cpus(),
            device=device,
        )
    )
    next(loader)
    start = time.perf_counter()
    done = sum(len(samples["index"]) for samples in loader)
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
