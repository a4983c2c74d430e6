"""Linear support vector machines on frozen features, as VISSL runs them."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsup.data import LabelSets
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.protocols.average_precision import KINDS, average_precision, mean_average_precision, mean_scores
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score, over_draws
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main
from selfsup.ops.progress import progress_bar
from selfsup.registry import EVALUATORS

COSTS = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)
PLACES_COSTS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)
_EPSILON = 1e-5  # added to the norm, not to its square


@EVALUATORS.register_module()
class SVM:
    """One linear SVM for each class against the others, scored by average precision.

    Features are divided by (their norm + 1e-5). An SVM has the squared hinge loss, the positives weigh twice, at most
    2,000 iterations of liblinear's dual; its cost is the one with the best average precision in cross-validation on
    train and val, the smaller of equals. Classes that an image shows in a way that does not count, such as VOC's
    'difficult' objects, are negatives in training and left out of the test of that class.

    With ``shots`` the SVMs learn from few images of train and val: of images with several classes, for each class by
    itself k that show it and (C - 1) k that do not, what does not count left out; of images with one class, k of each
    class. One cost serves all classes and draws of a k: the one with the best mean average precision on the images of
    train and val that were not drawn. VISSL takes the one that is best on the test images.

    Scores, means over the classes: ``map`` (area under the curve of precision, made monotone, VISSL's and VOC's from
    2010 on), ``map_11`` (mean over 11 recalls, VOC's in 2007), ``map_step`` (area under the curve as it is,
    scikit-learn's); with ``shots`` each of them as ``k1/map`` and so on, with Student's interval over the draws.
    ``per_class`` adds ``map/CLASS``.

    Args:
        costs: candidates, each > 0, ascending. VISSL's for VOC07 and, as ``PLACES_COSTS``, for Places205.
        folds: of the cross-validation.
        shots: numbers of positives, such as ``SHOTS`` for VOC07 and (10, 100) for Places205; None for all images.
        samples: draws for each number of shots.
        seed: of the draws.
        per_class: whether to give each class's score too.

    Raises:
        ConfigError: if an argument is out of range, or scikit-learn is not installed.

    Source: VISSL, svm_trainer.py, svm_low_shot_trainer.py and their configs; Goyal et al. 2019, arXiv:1905.01235.
    """

    protocol = "vissl-svm/2"
    needs = frozenset({"labels", "multi-label", "train"})

    def __init__(
        self,
        costs: Sequence[float] = COSTS,
        *,
        folds: int = 3,
        shots: Sequence[int] | None = None,
        samples: int = 5,
        seed: int = 0,
        per_class: bool = False,
    ) -> None:
        if not costs or min(costs) <= 0 or sorted(costs) != list(costs):
            raise ConfigError.at("costs", "one value or more, all > 0, ascending", got=tuple(costs))
        if shots is not None and (not shots or min(shots) < 1):
            raise ConfigError.at("shots", "one number or more, all > 0", got=tuple(shots))
        for name, value, least in (("folds", folds, 2), ("samples", samples, 2)):
            if value < least:
                raise ConfigError.at(name, f"must be {least} or more", got=value)
        try:
            import sklearn.svm  # noqa: F401
        except ImportError as error:
            raise ConfigError.at("SVM", "needs scikit-learn", expected="pip install selfsup[eval]") from error
        self.costs = tuple(float(cost) for cost in costs)
        self.folds = folds
        self.shots = None if shots is None else tuple(shots)
        self.samples = samples
        self.seed = seed
        self.per_class = per_class

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images; the main process learns and predicts, the others wait for it.

        Raises:
            DataError: if a class has fewer images than there are folds or shots, or none in the test.
        """
        parts = {"train": task.parts.train, "val": task.parts.val, "test": task.parts.test}
        self._check(task, {name: part for name, part in parts.items() if part is not None})
        found = {name: (representation.features(part), part) for name, part in parts.items() if part is not None}

        def result() -> Result:
            sides = {name: _side(features, part) for name, (features, part) in found.items()}
            several = isinstance(task.parts.train.labels, LabelSets)
            names = list(task.parts.test.classes)
            return self._few(sides, names, several) if self.shots else self._all(sides, names)

        return from_main(result)

    def _check(self, task: Task, parts: Mapping[str, Any]) -> None:
        """Whatever the labels alone can tell, before features are computed."""
        labels = {name: targets(part.labels, len(part.classes)) for name, part in parts.items()}
        shown = (labels["test"] > 0).any(axis=0)
        names, place = parts["test"].classes, f"tasks.{task.name}"
        if not shown.any():
            raise DataError.at(f"{place}.test", "no image has a class")
        learned = np.concatenate([labels[n] for n in ("train", "val") if n in labels])
        least = min(self.shots) if self.shots else self.folds
        few = np.flatnonzero(shown & ((learned > 0).sum(axis=0) < least))
        if len(few):
            what = "shots" if self.shots else "folds"
            raise DataError.at(
                f"{place}.train",
                f"{len(few)} classes have fewer than {least} images, as many as there are {what}",
                got=names[int(few[0])],
            )
        every = np.flatnonzero(shown & ((learned <= 0).sum(axis=0) < self.folds))
        if len(every):
            raise DataError.at(f"{place}.train", "a class is in every image", got=names[int(every[0])])

    def _all(self, sides: Mapping[str, "_Side"], names: list[str]) -> Result:
        learned = _joined([sides[name] for name in ("train", "val") if name in sides])
        test = sides["test"]
        classes = np.flatnonzero((test.targets > 0).any(axis=0)).tolist()
        with _machines(len(classes)) as (tick, pool):

            def learn(number: int) -> tuple[float, np.ndarray, bool]:
                target = np.where(learned.targets[:, number] > 0, 1, -1)
                cost, found = self._chosen_cost(learned.features, target)
                machine, whole = _fit(learned.features, target, cost)
                tick()
                return cost, machine.decision_function(test.features), found and whole

            learnt = list(pool.map(learn, classes))
        scores = np.stack([each[1] for each in learnt], axis=1)
        labels = test.targets[:, classes]
        costs = {names[number]: each[0] for number, each in zip(classes, learnt, strict=True)}
        notes = _of_convergence(sum(not each[2] for each in learnt), len(learnt), "classes")
        edge = sum(cost == self.costs[-1] or cost == self.costs[0] for cost in costs.values())
        if edge and len(self.costs) > 2:
            notes = (*notes, f"the cost of {edge} classes is at the edge of the grid")
        found = mean_scores(scores, labels, test.groups)
        if self.per_class:
            for place, number in enumerate(classes):
                found[f"map/{names[number]}"] = Score(average_precision(labels[:, place], scores[:, place]))
        return Result(found, None, {"cost": costs, "by": f"{self.folds}-fold average precision"}, notes)

    def _chosen_cost(self, features: np.ndarray, target: np.ndarray) -> tuple[float, bool]:
        """The cost with the best mean average precision over the folds; and whether all of those SVMs converged."""
        if len(self.costs) == 1:
            return self.costs[0], True
        from sklearn.metrics import average_precision_score
        from sklearn.model_selection import StratifiedKFold

        best, greatest, converged = self.costs[0], -1.0, True
        folds = list(StratifiedKFold(self.folds).split(features, target))
        for cost in self.costs:
            found = []
            for train, held_out in folds:
                machine, whole = _fit(features[train], target[train], cost)
                converged &= whole
                decision = machine.decision_function(features[held_out])
                found.append(average_precision_score(target[held_out], decision, pos_label=1))
            if np.mean(found) > greatest:
                best, greatest = cost, float(np.mean(found))
        return best, converged

    def _few(self, sides: Mapping[str, "_Side"], names: list[str], several: bool) -> Result:
        assert self.shots is not None
        learned, test = _joined([sides[name] for name in ("train", "val") if name in sides]), sides["test"]
        classes = np.flatnonzero((test.targets > 0).any(axis=0)).tolist()
        scores: dict[str, Score] = {}
        chosen: dict[str, float] = {}
        notes: list[str] = []
        failed, fits = 0, len(self.shots) * self.samples * len(classes) * len(self.costs)
        with _machines(fits) as (tick, pool):
            for k in self.shots:
                draws = [
                    few_shots(learned.targets, classes, k, several=several, seed=(self.seed, k, draw))
                    for draw in range(self.samples)
                ]
                if any(places is None for draw in draws for places in draw):
                    notes.append(f"k = {k} is left out: a class has too few images")
                    continue

                def learn(job: tuple[int, int, int]) -> tuple[Any, bool]:
                    draw, number, which = job
                    places = draws[draw][number]  # noqa: B023 (used within the turn)
                    target = np.where(learned.targets[places, classes[number]] > 0, 1, -1)
                    machine = _fit(learned.features[places], target, self.costs[which])
                    tick()
                    return machine

                shape = (self.samples, len(classes), len(self.costs))
                found = list(pool.map(learn, [tuple(job) for job in np.ndindex(shape)]))  # type: ignore[misc]
                failed += sum(not whole for _, whole in found)
                machines = _Learned.of([machine for machine, _ in found], shape)
                rest = [_without(learned.targets[:, classes], drawn) for drawn in draws]
                best = machines.best(learned.features, rest)
                if best is None:
                    notes.append(f"k = {k} leaves no image to choose the cost by: it is {self.costs[0]:g}")
                elif len(self.costs) > 1:
                    chosen[f"k{k}"] = self.costs[best]
                answers = [machines.decisions(test.features, draw, best or 0) for draw in range(self.samples)]
                for name, kind in KINDS.items():
                    values = [mean_average_precision(each, test.targets[:, classes], kind) for each in answers]
                    scores[f"k{k}/{name}"] = over_draws(values)
        if not scores:
            raise DataError.at("train", "no class has enough images for any number of shots", got=self.shots)
        notes += _of_convergence(failed, fits, "SVMs")
        by = "mean average precision on what was not drawn"
        return Result(scores, None, {"cost": chosen, "by": by} if chosen else {}, tuple(notes))


@dataclass(frozen=True, eq=False)
class _Learned:
    """SVMs of several draws, classes and costs: weight (S, C, K, D) and bias (S, C, K)."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, machines: Sequence[Any], shape: tuple[int, int, int]) -> "_Learned":
        """From those of all draws, classes and costs, the cost changing fastest."""
        weight = np.stack([machine.coef_[0] for machine in machines]).reshape(*shape, -1)
        return cls(weight, np.array([machine.intercept_[0] for machine in machines]).reshape(shape))

    def decisions(self, features: np.ndarray, draw: int, which: int) -> np.ndarray:
        """Scores of every class, (N, C)."""
        return features @ self.weight[draw, :, which].T + self.bias[draw, :, which]

    def best(self, features: np.ndarray, targets: Sequence[np.ndarray]) -> int | None:
        """The cost with the best mean average precision over the draws, each with its own targets (N, C).

        The first one if it is the only one; None if a draw has left nothing to choose by.
        """
        draws, _, costs = self.bias.shape
        if costs == 1:
            return 0
        if not all((each > 0).any() for each in targets):
            return None
        found = [
            [mean_average_precision(self.decisions(features, draw, which), targets[draw]) for draw in range(draws)]
            for which in range(costs)
        ]
        return int(np.argmax(np.mean(found, axis=1)))


@dataclass(frozen=True, eq=False)
class _Side:
    """Features of a part, float64 (N, D), normalized; targets 1, 0 and -1, int8 (N, C); groups."""

    features: np.ndarray
    targets: np.ndarray
    groups: np.ndarray | None


def _side(features: Features, source: Any) -> _Side:
    index = features.index.numpy()
    groups = None if features.groups is None else features.groups.numpy()
    return _Side(normalized(features.features.numpy()), targets(source.labels, len(source.classes))[index], groups)


def _joined(sides: Sequence[_Side]) -> _Side:
    return _Side(np.concatenate([s.features for s in sides]), np.concatenate([s.targets for s in sides]), None)


def targets(labels: Any, num_classes: int) -> np.ndarray:
    """1 where an image shows a class, 0 where not, -1 where that does not count, int8 (N, C)."""
    if isinstance(labels, LabelSets):
        return labels.matrix()
    found = np.zeros((len(labels), num_classes), np.int8)
    found[np.arange(len(labels)), np.asarray(labels)] = 1
    return found


def normalized(features: np.ndarray) -> np.ndarray:
    """Features divided by (their L2 norm + 1e-5), float64 (N, D)."""
    features = np.asarray(features, np.float64)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + _EPSILON)


def _fit(features: np.ndarray, target: np.ndarray, cost: float) -> tuple[Any, bool]:
    """An SVM of targets 1 and -1, and whether it converged."""
    from sklearn.svm import LinearSVC

    machine = LinearSVC(
        C=cost, class_weight={1: 2, -1: 1}, penalty="l2", loss="squared_hinge", dual=True, max_iter=2000, random_state=0
    )
    machine.fit(features, target)
    return machine, int(np.max(machine.n_iter_)) < 2000


@contextmanager
def _machines(count: int) -> Iterator[tuple[Callable[[], None], ThreadPoolExecutor]]:
    """A thread to learn in, and what to call after each; one, for liblinear has one random number generator for all.

    Its warning is silenced from outside, for filters are common to all threads; what did not converge is noted.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), progress_bar("SVMs", total=count) as tick, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield tick, pool


def few_shots(
    known: np.ndarray, classes: Sequence[int], k: int, *, several: bool, seed: Sequence[int]
) -> list[np.ndarray | None]:
    """The images that each class's SVM learns from; None for a class with too few.

    Args:
        known: 1, 0 and -1, (N, C).
        classes: columns.
        k: positives.
        several: whether images have several classes: then k positives and (C - 1) k negatives, drawn for each class by
            itself; otherwise k of every class, the same for all.
        seed: of the draw; the images for a smaller k are not among those of a larger one.

    Source: VISSL, create_low_shot_samples.py.
    """
    rng = np.random.default_rng(list(seed))
    positives = {number: np.flatnonzero(known[:, number] == 1) for number in classes}
    drawn = {
        number: rng.choice(all_, k, replace=False) if len(all_) >= k else None for number, all_ in positives.items()
    }
    if not several:
        there = [each for each in drawn.values() if each is not None]
        whole = np.concatenate(there) if len(there) == len(drawn) else None
        return [whole] * len(classes)
    found: list[np.ndarray | None] = []
    for number in classes:
        negatives = np.flatnonzero(known[:, number] == 0)
        some, wanted = drawn[number], (known.shape[1] - 1) * k
        enough = some is not None and len(negatives) >= wanted
        found.append(np.concatenate([some, rng.choice(negatives, wanted, replace=False)]) if enough else None)  # type: ignore[list-item]
    return found


def _without(targets: np.ndarray, drawn: Sequence[np.ndarray | None]) -> np.ndarray:
    """Targets (N, C) that leave out of each class the images that its SVM has learned from."""
    rest = targets.copy()
    for number, places in enumerate(drawn):
        rest[places, number] = -1
    return rest


def _of_convergence(failed: int, of: int, what: str) -> tuple[str, ...]:
    return (f"did not converge in 2,000 iterations for {failed} of {of} {what}",) if failed else ()
