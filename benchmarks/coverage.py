"""How often the 95 % intervals of evaluation contain the truth, in a simulation where the truth is known.

    python -m benchmarks.coverage [--replicates 2000]

Each replicate draws which images are classified right. An image's chance comes from a normal variable with a part that
all images of a group share (half of its variance) and, where two representations are compared, a part that both share
(half of it as well). With few images and a high accuracy only a handful of outcomes is possible, and the coverage at
one exact accuracy jumps between two values, of which none may be near 95 % (Brown, Cai and DasGupta 2001, Stat. Sci.
16); so the error rate of each replicate is drawn within a third around the one in the table.

What decides is images, or whole groups, with a wrong answer, or of which one representation alone is right. Where fewer
than ten of them are expected, a figure over 97 is marked ``o``: so few decide that an interval that never says too much
must often say too little. How many of these cells are forced is counted: the number of decisive images, or of those
that speak for the second of two, takes whole values, and no set of consecutive values around the likeliest one has a
probability from 93 to 97 %. Of two representations this is asked for each number of decisive images, which an interval
must be valid for, and averaged over the replicates.
"""

import argparse
import math
from collections import Counter
from functools import cache
from statistics import NormalDist

import numpy as np

from selfsup.evaluation.scores import Predictions, mean_per_class, paired, proportion

ACCURACIES = (0.5, 0.8, 0.95, 0.995)
SIZES = (50, 200, 1000, 5000)
GROUPS = (1, 5)
KINDS = ("share", "per class", "paired, equal", "paired, ahead", "paired per class")
CLASSES = 5
FEW = 10
LEAST, MOST = 0.93, 0.97


def coverage(
    kind: str, accuracy: float, n: int, *, group: int = 1, replicates: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """How often the interval contains the truth, how many images or groups decide, and the least possible coverage.

    The last is the least that is :data:`LEAST` or more, see the module.

    Args:
        kind: of KINDS; 'paired, equal' is also 1 - the rate at which the test finds what is not there.
        accuracy: of the representation, or of the worse one of two.
        n: images.
        group: images in each group, 1 for none.
        replicates: how often.
        seed: of the draws.
    """
    rng = np.random.default_rng([seed, n, group, int(accuracy * 1000), KINDS.index(kind)])
    index = np.arange(n)
    groups = None if group == 1 else index // group
    labels = index // group % CLASSES
    covered, ahead, decisive = 0, 0, Counter[int]()
    for _ in range(replicates):
        error = (1 - accuracy) * rng.uniform(2 / 3, 4 / 3)
        errors = (error, error * 0.7 if kind in ("paired, ahead", "paired per class") else error)
        rights = _draw(rng, errors if kind.startswith("paired") else errors[:1], n, group)
        if kind == "share":
            score = proportion(rights[0], groups)
            low, high, truth = score.low, score.high, 1 - error
        elif kind == "per class":
            score = mean_per_class(labels, rights[0], groups)
            low, high, truth = score.low, score.high, 1 - error
        else:
            first, second = (Predictions(index, labels, np.where(r, labels, -1), groups=groups) for r in rights)
            found = paired(first, second, metric="per_class" if kind == "paired per class" else "top1")
            low, high, truth = found.low, found.high, errors[0] - errors[1]
        assert low is not None and high is not None
        covered += low <= truth <= high
        deciding = ~rights[0] if len(rights) == 1 else rights[0] != rights[1]
        decisive[int(deciding.reshape(-1, group).any(axis=1).sum())] += 1
        ahead += int((rights[-1] & deciding).reshape(-1, group).any(axis=1).sum())
    mean = sum(count * times for count, times in decisive.items()) / replicates
    if len(rights) == 1:
        return covered / replicates, mean, least_coverage(n // group, mean * group / n)
    chance = round(ahead / max(1, round(mean * replicates)), 2)
    least = sum(times * least_coverage(count, chance) for count, times in decisive.items())
    return covered / replicates, mean, least / replicates


@cache
def least_coverage(n: int, chance: float) -> float:
    """The least probability, of :data:`LEAST` or more, of consecutive counts that the likeliest is among.

    Args:
        n: what is counted are successes in so many trials.
        chance: of a success, in [0, 1].
    """
    if n == 0 or not 0 < chance < 1:
        return 1.0
    counts = np.arange(n + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)])
    chances = np.exp(logs + counts * math.log(chance) + (n - counts) * math.log(1 - chance))
    below = np.concatenate([[0.0], np.cumsum(chances)])
    likeliest = int(chances.argmax())
    sums = below[likeliest + 1 :][None] - below[: likeliest + 1][:, None]
    return float(sums[sums >= LEAST - 1e-9].min())


def _draw(rng: np.random.Generator, errors: tuple[float, ...], n: int, group: int) -> list[np.ndarray]:
    """Which images each representation classifies right, bool (n,)."""

    def clustered() -> np.ndarray:
        alone = rng.standard_normal(n)
        return alone if group == 1 else (np.repeat(rng.standard_normal(n // group), group) + alone) / np.sqrt(2)

    shared = clustered() if len(errors) > 1 else 0.0
    rights = []
    for error in errors:
        value = (shared + clustered()) / np.sqrt(2) if len(errors) > 1 else clustered()
        rights.append(value > NormalDist().inv_cdf(error))
    return rights


def main() -> None:
    """Print a table for each kind; a figure outside 93 to 97 is marked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=2000)
    replicates = parser.parse_args().replicates
    found: list[tuple[float, float, float]] = []
    for kind in KINDS:
        for group in GROUPS:
            print(f"\n{kind}, {'no groups' if group == 1 else f'groups of {group}'}: coverage in %, by accuracy and n")
            print("accuracy " + "".join(f"{n:>9,}" for n in SIZES))
            for accuracy in ACCURACIES:
                row = [coverage(kind, accuracy, n, group=group, replicates=replicates) for n in SIZES]
                found += row
                print(f"{accuracy:<9}" + "".join(f"{100 * x:>8.1f}{_mark(x, few)}" for x, few, _ in row), flush=True)
    marks = [_mark(x, few) for x, few, _ in found]
    forced = sum(x > MOST and least > MOST for x, _, least in found)
    print(f"\n{marks.count(' ')} of {len(found)} between 93 and 97 %; {marks.count('o')} over 97 % with few decisive")
    print(f"images or groups (o), {marks.count('*')} others outside (*), the least of all {100 * min(found)[0]:.1f} %")
    print(f"{forced} of those over 97 % are forced: whole numbers of decisive images or groups allow no less")
    print(f"standard error of each about {100 * (0.95 * 0.05 / replicates) ** 0.5:.1f}")


def _mark(covered: float, decisive: float) -> str:
    if LEAST <= covered <= MOST:
        return " "
    return "o" if covered > MOST and decisive < FEW else "*"


if __name__ == "__main__":
    main()
