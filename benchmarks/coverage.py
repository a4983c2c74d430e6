"""How often the 95 % intervals of evaluation contain the truth, in a simulation where the truth is known.

    python -m benchmarks.coverage [--replicates 2000]

Each replicate draws which images are classified right. An image's chance comes from a normal variable with a part that
all images of a group share (half of its variance) and, where two representations are compared, a part that both share
(half of it as well). With few images and a high accuracy only a handful of outcomes is possible, and the coverage at
one exact accuracy jumps between two values, of which none may be near 95 % (Brown, Cai and DasGupta 2001, Stat. Sci.
16); so the error rate of each replicate is drawn within a third around the one in the table.

What decides is images, or whole groups, with a wrong answer, or of which one representation alone is right. Where fewer
than ten of them are expected, a figure over 97 is marked ``o``: so few decide that an interval that never says too much
must often say too little.
"""

import argparse
from statistics import NormalDist

import numpy as np

from selfsup.evaluation.scores import Predictions, mean_per_class, paired, proportion

ACCURACIES = (0.5, 0.8, 0.95, 0.995)
SIZES = (50, 200, 1000, 5000)
GROUPS = (1, 5)
KINDS = ("share", "per class", "paired, equal", "paired, ahead", "paired per class")
CLASSES = 5
FEW = 10


def coverage(
    kind: str, accuracy: float, n: int, *, group: int = 1, replicates: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The share of replicates whose interval contains the truth, and how many images or groups decide, on average.

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
    covered, decisive = 0, 0
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
        decisive += int(deciding.reshape(-1, group).any(axis=1).sum())
    return covered / replicates, decisive / replicates


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
    found: list[tuple[float, float]] = []
    for kind in KINDS:
        for group in GROUPS:
            print(f"\n{kind}, {'no groups' if group == 1 else f'groups of {group}'}: coverage in %, by accuracy and n")
            print("accuracy " + "".join(f"{n:>9,}" for n in SIZES))
            for accuracy in ACCURACIES:
                row = [coverage(kind, accuracy, n, group=group, replicates=replicates) for n in SIZES]
                found += row
                print(f"{accuracy:<9}" + "".join(f"{100 * x:>8.1f}{_mark(x, few)}" for x, few in row), flush=True)
    marks = [_mark(*each) for each in found]
    print(f"\n{marks.count(' ')} of {len(found)} between 93 and 97 %; {marks.count('o')} over 97 % with few decisive")
    print(f"images or groups (o), {marks.count('*')} others outside (*), the least of all {100 * min(found)[0]:.1f} %")
    print(f"standard error of each about {100 * (0.95 * 0.05 / replicates) ** 0.5:.1f}")


def _mark(covered: float, decisive: float) -> str:
    if 0.93 <= covered <= 0.97:
        return " "
    return "o" if covered > 0.97 and decisive < FEW else "*"


if __name__ == "__main__":
    main()
