"""Transfer at few labels, on emoji of 32 pixels that pretraining has never seen: pretrained against from scratch.

    python -m benchmarks.transfer_scenes [--seeds 1 2 3] [--work-dir work_dirs/bench_transfer]

Pretrains ``simclr_scenes`` without labels and ``bit_scenes`` with the categories of the training emoji, once. Then, for
each seed, draws 10 labelled scenes of each of nine categories among the emoji of ``val`` and trains on them, and on all
of them: fine-tuning from SimCLR, HyperRule from BiT, each beside the same network, labels, recipe and seed from
scratch. All are scored on the emoji of ``test``. The differences are paired over the test scenes, which belong
together by emoji: for each seed, and for all seeds together. HyperRule trains at 32 pixels, resized to 40, for
``--steps`` of its 500 steps with warm-up and drops in proportion, for that is what two cores do in minutes.

As many trainings run side by side as there are ``--processes``, each with one thread, which decodes its images too:
networks as narrow as these waste most of what a second thread computes. What is done already is not done again.
"""

import argparse
import dataclasses
import itertools
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsup.config import load_config
from selfsup.engine.runner import Runner
from selfsup.evaluation import Difference, Predictions, paired
from selfsup.transfer import FineTune, HyperRuleTransfer, Labelled, Start, Transfer
from selfsup.weights.load import exported_file

SCENES = {"type": "Scenes", "size": 32, "background": "flat", "scale": (0.6, 1.0), "variants": 2, "seed": 1}
PER_CLASS = 10
BIT, SIMCLR = "HyperRule, BiT", "fine-tune, SimCLR"
UPSTREAM = {BIT: "bit/bit_scenes", SIMCLR: "simclr/simclr_scenes"}
SIDES = ("from scratch", "pretrained")


def pretrained(name: str, folder: Path, *, num_workers: int = 1) -> Start:
    """The weights of a recipe, trained if that is not done."""
    options = {"work_dir": str(folder), "train_dataloader.num_workers": num_workers}
    recipe = load_config(name, options)
    if not (folder / "backbone.safetensors").is_file():
        hooks = {**recipe.default_hooks, "pictures": None, "evaluate": None}
        Runner(dataclasses.replace(recipe, default_hooks=hooks), resume=True).train()
    return Start.open(exported_file(folder))


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        name: of the transfer.
        per_class: labels a class; None for all.
        seed: of the labels and of the training.
        side: of ``SIDES``.
        work_dir: of everything.
        steps: of HyperRule.
    """

    name: str
    per_class: int | None
    seed: int
    side: str
    work_dir: Path
    steps: int

    @property
    def amount(self) -> str:
        """How many labels, in words."""
        return "all labels" if self.per_class is None else f"{self.per_class} labels a class"

    def start(self) -> Start:
        """The weights that pretraining leaves, which is done first where it is not yet."""
        upstream = UPSTREAM[self.name]
        return pretrained(upstream, self.work_dir / upstream.partition("/")[0], num_workers=0)

    def transfer(self) -> Transfer:
        """How it is trained."""
        if self.name == SIMCLR:
            return FineTune(seed=self.seed, precision="fp32", num_workers=0, steps=300)
        rule = {"steps": self.steps, "size": (40, 32), "micro_batch": 128}
        return HyperRuleTransfer(seed=self.seed, precision="fp32", num_workers=0, **rule)  # type: ignore[arg-type]

    def predictions(self) -> Predictions:
        """Of the test images."""
        parts = ({**SCENES, "split": part} for part in ("val", "test"))
        data = Labelled.of(*parts, per_class=self.per_class, seed=self.seed, val=0.0, name="emoji")
        start = self.start() if self.side == "pretrained" else self.start().from_scratch()
        folder = f"{self.name}_{self.amount}_{self.side}_{self.seed}".replace(", ", "_").replace(" ", "_")
        out = self.transfer().run(start, data, work_dir=self.work_dir / folder)
        assert out.predictions is not None
        print(f"{self.name}, {self.amount}, {self.side}, seed {self.seed}: {100 * out.top1:.2f} %", flush=True)
        return out.predictions


def together(every: Sequence[Predictions]) -> Predictions:
    """Predictions of several seeds as of so many images: scenes of an emoji belong together in all of them."""
    first = every[0]
    names = [f"{number}/{name}" for number, each in enumerate(every) for name in each.names or ()]
    columns = {key: np.concatenate([getattr(each, key) for each in every]) for key in ("labels", "predicted", "groups")}
    return Predictions(index=np.arange(len(names)), classes=first.classes, names=names, **columns)


def line(name: str, found: Difference) -> str:
    """A difference in points."""
    assert found.low is not None and found.high is not None
    return f"{name}: {100 * found.value:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=100, help="of HyperRule")
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/bench_transfer"))
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started from here on
    cells = list(itertools.product((PER_CLASS, None), (BIT, SIMCLR), chosen.seeds))
    with ProcessPoolExecutor(chosen.processes, multiprocessing.get_context("spawn")) as pool:

        def job(per_class: int | None, name: str, seed: int, side: str) -> Job:
            return Job(name, per_class, seed, side, chosen.work_dir, chosen.steps)

        list(pool.map(Job.start, [job(None, name, 0, SIDES[0]) for name in UPSTREAM]))
        print(f"pretraining: {time.monotonic() - began:.0f} s", flush=True)
        found = {key: pool.submit(Job.predictions, job(*key)) for cell in cells for key in [(*cell, s) for s in SIDES]}
        for per_class, name in itertools.product((PER_CLASS, None), (BIT, SIMCLR)):
            kept: dict[str, list[Predictions]] = {side: [] for side in SIDES}
            title = f"{name}, {job(per_class, name, 0, SIDES[0]).amount}"
            for seed in chosen.seeds:
                for side in SIDES:
                    kept[side].append(found[per_class, name, seed, side].result())
                found_here = paired(*(kept[side][-1] for side in SIDES))
                print(line(f"{title}, seed {seed}, pretrained ahead by", found_here), flush=True)
            whole = paired(*(together(kept[side]) for side in SIDES))
            print(line(f"{title}, all seeds, pretrained ahead by", whole), flush=True)
    print(f"all of it: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
