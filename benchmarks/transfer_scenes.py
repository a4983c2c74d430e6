"""Transfer at few labels, on emoji of 32 pixels that pretraining has never seen: pretrained against from scratch.

    python -m benchmarks.transfer_scenes [--seeds 1 2 3] [--work-dir work_dirs/bench_transfer]

Pretrains ``simclr_scenes`` without labels and ``bit_scenes`` with the categories of the training emoji, once. Then, for
each seed, draws 10 labelled scenes of each of nine categories among the emoji of ``val`` and trains on them, and on all
of them: fine-tuning from SimCLR, HyperRule from BiT, each beside the same network, labels, recipe and seed from
scratch. All are scored on the emoji of ``test``. The differences are paired over the test scenes, which belong
together by emoji: for each seed, and for all seeds together. HyperRule trains at 32 pixels, resized to 40, for
``--steps`` of its 500 steps with warm-up and drops in proportion, for that is what two cores do in minutes.

What is done already is not done again.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config import load_config
from selfsup.engine.runner import Runner
from selfsup.evaluation import Difference, Predictions, paired
from selfsup.transfer import FineTune, HyperRuleTransfer, Labelled, Start, Transfer
from selfsup.weights.load import exported_file

SCENES = {"type": "Scenes", "size": 32, "background": "flat", "scale": (0.6, 1.0), "variants": 2, "seed": 1}
PER_CLASS = 10


def pretrained(name: str, folder: Path) -> Start:
    """The weights of a recipe, trained if that is not done."""
    recipe = dataclasses.replace(load_config(name), work_dir=str(folder))
    if not (folder / "backbone.safetensors").is_file():
        hooks = {**recipe.default_hooks, "pictures": None, "evaluate": None}
        Runner(dataclasses.replace(recipe, default_hooks=hooks), resume=True).train()
    return Start.open(exported_file(folder))


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
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/bench_transfer"))
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    transfers: dict[str, tuple[Start, Callable[..., Transfer], dict[str, Any]]] = {
        "fine-tune, SimCLR": (pretrained("simclr/simclr_scenes", chosen.work_dir / "simclr"), FineTune, {"steps": 300}),
        "HyperRule, BiT": (
            pretrained("bit/bit_scenes", chosen.work_dir / "bit"),
            HyperRuleTransfer,
            {"steps": chosen.steps, "size": (40, 32), "micro_batch": 128},
        ),
    }
    print(f"pretraining: {time.monotonic() - began:.0f} s")
    for per_class in (PER_CLASS, None):
        amount = "all labels" if per_class is None else f"{per_class} labels a class"
        for name, (start, kind, options) in transfers.items():
            kept: dict[str, list[Predictions]] = {"pretrained": [], "from scratch": []}
            for seed in chosen.seeds:
                parts = ({**SCENES, "split": part} for part in ("val", "test"))
                data = Labelled.of(*parts, per_class=per_class, seed=seed, val=0.0, name="emoji")
                transfer = kind(seed=seed, precision="fp32", num_workers=1, **options)
                for what, weights in (("pretrained", start), ("from scratch", start.from_scratch())):
                    folder = chosen.work_dir / f"{name}_{amount}_{what}_{seed}".replace(", ", "_").replace(" ", "_")
                    out = transfer.run(weights, data, work_dir=folder)
                    assert out.predictions is not None
                    kept[what].append(out.predictions)
                    print(f"{name}, {amount}, {what}, seed {seed}: {100 * out.top1:.2f} %", flush=True)
                found = paired(kept["from scratch"][-1], kept["pretrained"][-1])
                print(line(f"{name}, {amount}, seed {seed}, pretrained ahead by", found), flush=True)
            whole = paired(together(kept["from scratch"]), together(kept["pretrained"]))
            print(line(f"{name}, {amount}, all seeds, pretrained ahead by", whole), flush=True)
    print(f"all of it: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
