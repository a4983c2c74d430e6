"""The same transfer at few labels, several times over: what it is worth, and how much the draw of labels matters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsup.errors import ConfigError, require
from selfsup.evaluation.scores import Score, over_draws
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer, Transferred


@dataclass(frozen=True)
class Draws:
    """A transfer at one number of labels.

    Args:
        name: ``'5 a class'``, ``'10 %'``, or the list's name.
        score: top-1 with its interval over the draws; over the images where there is one draw.
        each: what every draw has come to.
    """

    name: str
    score: Score
    each: tuple[Transferred, ...]


class LowShot:
    """Run a transfer on few labels.

    Labels are those of an official list, one draw then, or drawn from each class by seeds: smaller draws of a seed are
    contained in larger ones, and the test images are the same for all. Each draw has a work dir of its own.

    Args:
        transfer: gives the transfer for a seed.
        per_class: numbers of images of a class.
        shares: of each class, in (0, 1].
        lists: official lists by name, such as ``{'1%': 'data/imagenet/train_1percent.txt'}``, which are taken as they
            are: 12,811 and 128,116 images of ImageNet for 1 and 10 %.
        draws: seeds for each number and share; >= 1.

    Raises:
        ConfigError: if there is nothing to run.

    Source: lists: google-research/simclr imagenet_subsets; draws of Places205: VISSL's low-shot benchmarks.
    """

    def __init__(
        self,
        transfer: Callable[[int], Transfer],
        *,
        per_class: Sequence[int] = (),
        shares: Sequence[float] = (),
        lists: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        draws: int = 5,
    ) -> None:
        require(draws >= 1, "draws", "must be >= 1", got=draws)
        if not (per_class or shares or lists):
            raise ConfigError.at("per_class", "give numbers of images, shares or lists")
        self.transfer = transfer
        self.per_class = tuple(per_class)
        self.shares = tuple(shares)
        self.lists = dict(lists or {})
        self.draws = draws

    def run(
        self,
        start: Start,
        train: str | Path | dict[str, Any],
        test: str | Path | dict[str, Any] | None = None,
        *,
        work_dir: str | Path,
        labels: str = "folder",
        **options: Any,
    ) -> list[Draws]:
        """Every number of labels, every draw; what is done already is not done again.

        Args:
            start: the weights.
            train, test, labels: as for :meth:`Labelled.of <selfsup.transfer.Labelled.of>`; lists need ``test``.
            work_dir: holds a folder for each draw.
            options: of :meth:`Transfer.run <selfsup.transfer.Transfer.run>`.

        Raises:
            DataError: if a class has fewer images than are asked for, before anything is trained.
        """
        asked: list[tuple[str, list[Labelled]]] = []
        common: dict[str, Any] = {"labels": labels, "val": 0.0}
        for name, images in self.lists.items():
            listed = {"type": "ImageList", "root": str(images), "labels": "column"}
            section = dict(images) if isinstance(images, Mapping) else listed
            asked.append((name, [Labelled.of(section, test, **common)]))
        amounts: list[tuple[str, dict[str, Any]]] = [
            *((f"{count} a class", {"per_class": count}) for count in self.per_class),
            *((f"{share:.3g} of each class", {"share": share}) for share in self.shares),
        ]
        for name, amount in amounts:
            asked.append(
                (name, [Labelled.of(train, test, seed=seed, **amount, **common) for seed in range(self.draws)])
            )
        return [
            self._one(start, name, sets, Path(work_dir, name.replace(" ", "_").replace("%", "")), options)
            for name, sets in asked
        ]

    def _one(
        self, start: Start, name: str, sets: Sequence[Labelled], folder: Path, options: Mapping[str, Any]
    ) -> Draws:
        each = tuple(
            self.transfer(seed).run(start, data, work_dir=folder / f"draw_{seed}", **options)
            for seed, data in enumerate(sets)
        )
        found = [out.rows[0].scores["top1"] for out in each]
        score = found[0] if len(found) == 1 else over_draws([one.value for one in found])
        return Draws(name, score, each)
