"""One split of a source into training, validation and test images, from the data and a seed alone.

The rules, version 1:

1. Images with one key lie on one side. The key is the image's group, or where there are no groups its name.
   ``h`` is the 64-bit BLAKE2b hash of the seed and the key; keys are ordered by it.
2. Candidates are all images, or 2^21 of them, drawn by a permutation. Images without a label (-1) are no candidates.
3. A key counts in the most frequent class among its images; of two equally frequent ones in the lower number.
4. Of a class with m keys: m = 1 is trained on; of m = 2 the first is test; otherwise test is the first
   ``clip(round(test * m), 1, m - 2)`` keys, and val the next ``clip(round(val * m), 1, m - 1 - len(test))``. A share of
   0 gives an empty part. If no class has two keys, nothing is held out.
5. A part with more than ``max_images`` images keeps the keys with the lowest ``(rank + 0.5) / count`` within their
   class, of equal ones that with the lower ``h``, so that classes keep their proportions.
6. Copies of held-out images (equal size, then equal bytes) and unlabelled images of a held-out group are in no part.
   Copies are looked for among at most a million files.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from selfsup.data.draws import AllBut, Drawn
from selfsup.data.selection import Subset
from selfsup.data.sources.source import single_labels
from selfsup.errors import ConfigError, DataError
from selfsup.ops.files import unrecorded, write_record
from selfsup.registry import DATASETS

VERSION = 1
SPLIT_FILES = ("split.json", "split.npz")
"""What a work dir calls the file of its split; the second holds more than 100,000 images."""

MOST_CANDIDATES = 1 << 21
_MOST_FILES = 1_000_000
_MOST_IN_JSON = 100_000
_HEAD = 1 << 14  # bytes compared first
_PARTS = ("val", "test", "copies")


@dataclass(frozen=True)
class Split:
    """A source in parts that have no image in common.

    Args:
        source: all images.
        held_out: the indices of ``'val'``, ``'test'`` and ``'copies'`` (in no part, see the module), int64, ascending.
        rules: how they were chosen: version, val, test, max_images and seed; empty where that is not known.
        unknown: how many names of a split that was matched by name are not in the source.
        from_file: whether it was read from a work dir.
    """

    source: Any
    held_out: Mapping[str, np.ndarray]
    rules: Mapping[str, Any]
    unknown: int = 0
    from_file: bool = False

    @property
    def train(self) -> Subset:
        """The images that are trained on: all others, in ascending order."""
        out = np.concatenate([self.held_out[part] for part in _PARTS])
        return Subset(self.source, AllBut(len(self.source), out))

    @property
    def val(self) -> Subset:
        """The images that may be looked at during training."""
        return Subset(self.source, self.held_out["val"])

    @property
    def test(self) -> Subset:
        """The images that nothing is chosen by."""
        return Subset(self.source, self.held_out["test"])

    @property
    def copies(self) -> np.ndarray:
        """The indices of the images that are in no part."""
        return self.held_out["copies"]

    @property
    def is_empty(self) -> bool:
        """Whether everything is trained on."""
        return not any(len(indices) for indices in self.held_out.values())

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; the inverse is :meth:`from_state`."""
        return {"rules": dict(self.rules), **{part: torch.from_numpy(self.held_out[part]) for part in _PARTS}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], source: Any) -> "Split":
        """The split of a checkpoint, for the source that it was made of."""
        return cls(source, {part: state[part].numpy() for part in _PARTS}, state["rules"])

    def write(self, work_dir: str | Path) -> Path:
        """Write ``split.json``, or ``split.npz`` where many images are held out.

        Raises:
            RecordError: if it cannot be written.
        """
        names = {part: [self.source.name(int(index)) for index in self.held_out[part]] for part in _PARTS}
        about = {**self.rules, "length": len(self.source), "digest": getattr(self.source, "digest", None)}
        if sum(map(len, names.values())) <= _MOST_IN_JSON:
            path = Path(work_dir, SPLIT_FILES[0])
            indices = {part: self.held_out[part].tolist() for part in _PARTS}
            write_record(path, json.dumps({**about, "indices": indices, "names": names}, indent=1) + "\n")
            return path
        path = Path(work_dir, SPLIT_FILES[1])
        partial = path.with_name(path.name + ".partial")
        texts = {f"{part}_names": np.frombuffer("\n".join(names[part]).encode(), np.uint8) for part in _PARTS}
        arrays: dict[str, Any] = {**self.held_out, **texts, "about": np.array(json.dumps(about))}
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, **arrays)
            os.replace(partial, path)
        except OSError as error:
            raise unrecorded(path, error) from error
        return path

    @classmethod
    def read(cls, work_dir: str | Path, source: Any) -> "Split | None":
        """The split of a work dir; None if it has no file.

        For another list of images than the split was made of, images are matched by name.

        Raises:
            DataError: if the file cannot be read, or a later version made it.
        """
        path = next((path for name in SPLIT_FILES if (path := Path(work_dir, name)).is_file()), None)
        if path is None:
            return None
        try:
            about, indices, names = _read(path)
        except (OSError, ValueError, KeyError) as error:
            raise DataError.at(str(path), f"cannot be read ({error})") from None
        if about["version"] > VERSION:
            raise DataError.at(
                f"{path}: version", f"must be at most {VERSION}, a newer version wrote it", got=about["version"]
            )
        rules = {key: value for key, value in about.items() if key not in ("length", "digest")}
        if about["length"] == len(source) and about["digest"] == getattr(source, "digest", None):
            return cls(source, indices, rules, from_file=True)
        wanted = {name: part for part in _PARTS for name in names[part]}
        found: dict[str, list[int]] = {part: [] for part in _PARTS}
        seen = set()
        for index in range(len(source)):
            name = source.name(index)
            if name in wanted:
                found[wanted[name]].append(index)
                seen.add(name)
        held_out = {part: np.array(numbers, np.int64) for part, numbers in found.items()}
        return cls(source, held_out, rules, unknown=len(wanted) - len(seen), from_file=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, list[str]]]:
    if path.suffix == ".json":
        about = json.loads(path.read_text(encoding="utf-8"))
        indices = {part: np.array(numbers, np.int64) for part, numbers in about.pop("indices").items()}
        return about, indices, about.pop("names")
    with np.load(path) as arrays:
        texts = {part: arrays[f"{part}_names"].tobytes().decode() for part in _PARTS}
        names = {part: text.split("\n") if text else [] for part, text in texts.items()}
        return json.loads(str(arrays["about"])), {part: arrays[part] for part in _PARTS}, names


def split(source: Any, *, val: float = 0.1, test: float = 0.1, max_images: int = 10_000, seed: int = 0) -> Split:
    """Hold images out of a source, see the module for the rules.

    Args:
        source: the images; by class where it has one label each, as one class otherwise.
        val: share of each class's keys that may be looked at during training, in [0, 1).
        test: share of each class's keys that nothing is chosen by, in [0, 1).
        max_images: the most images of either part, > 0.
        seed: which images; the run's own seed plays no part.

    Raises:
        DataError: if an argument is out of range.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise DataError.at(f"split.{name}", "must be in [0, 1)", got=share)
    if max_images < 1:
        raise DataError.at("split.max_images", "must be > 0", got=max_images)
    rules = {"version": VERSION, "val": val, "test": test, "max_images": max_images, "seed": seed}
    candidates = np.asarray(Drawn(len(source), MOST_CANDIDATES, seed=seed))
    labels = single_labels(source)
    classes = np.zeros(len(candidates), np.int64) if labels is None else np.asarray(labels[candidates])
    candidates, classes = candidates[classes >= 0], classes[classes >= 0]
    hashes = _hashes(source, candidates, seed)
    keys, key_of = np.unique(hashes, return_inverse=True)
    side = _sides(keys, _class_of_keys(key_of, classes), np.bincount(key_of), val=val, test=test, cap=max_images)
    held_out = {part: np.sort(candidates[side[key_of] == number]) for part, number in (("val", _VAL), ("test", _TEST))}
    out = np.sort(np.concatenate([held_out["val"], held_out["test"]]))
    held_out["copies"] = np.union1d(_same_groups(source, out), _copies(source, out)).astype(np.int64)
    return Split(source, held_out, rules)


@DATASETS.register_module()
class Part(Subset):
    """One part of a source that is split by :func:`split`, for a config that names its parts.

    Args:
        dataset: the whole source, built or as a dict.
        part: ``'train'``, ``'val'`` or ``'test'``.
        val, test, seed: see :func:`split`; the same for all parts.

    Raises:
        ConfigError: if there is no such part.
        DataError: if it is empty.
    """

    def __init__(
        self,
        dataset: Any,
        part: Literal["train", "val", "test"] = "train",
        *,
        val: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        if part not in ("train", "val", "test"):
            raise ConfigError.at("part", "must be 'train', 'val' or 'test'", got=part)
        source = DATASETS.build(dataset)
        chosen: Subset = getattr(split(source, val=val, test=test, max_images=len(source), seed=seed), part)
        if not len(chosen):
            raise DataError.at("dataset", f"no class has images enough for a part {part!r}")
        super().__init__(source, chosen.indices)


def _hashes(source: Any, candidates: np.ndarray, seed: int) -> np.ndarray:
    """The hash of each candidate's key, uint64."""
    groups = getattr(source, "groups", None)
    if groups is not None:
        unique, group_of = np.unique(np.asarray(groups[candidates], np.int64), return_inverse=True)
        return np.array([_hash(f"group {group}", seed) for group in unique.tolist()], np.uint64)[group_of]
    found = (_hash(source.name(index), seed) for index in candidates.tolist())
    return np.fromiter(found, np.uint64, len(candidates))


def _hash(key: str, seed: int) -> int:
    content = f"{seed}\n{key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def _class_of_keys(key_of: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The most frequent class of each key."""
    _, classes = np.unique(classes, return_inverse=True)
    width = int(classes.max(initial=0)) + 1
    pairs, counts = np.unique(key_of * width + classes, return_counts=True)
    order = np.lexsort((-counts, pairs // width))  # stable: of two equally frequent ones the lower number
    _, first = np.unique(pairs[order] // width, return_index=True)
    return pairs[order][first] % width


_TRAIN, _VAL, _TEST = 0, 1, 2


def _sides(
    keys: np.ndarray, classes: np.ndarray, sizes: np.ndarray, *, val: float, test: float, cap: int
) -> np.ndarray:
    """The side of each key, by the rules; ``keys`` are the hashes, ascending."""
    order = np.argsort(classes, kind="stable")  # by class, within it by hash
    _, start, counts = np.unique(classes[order], return_index=True, return_counts=True)
    rank = np.arange(len(keys)) - np.repeat(start, counts)
    tests = np.clip(np.rint(test * counts), 1, np.maximum(counts - 2, 1)).astype(int) * (counts > 1) * (test > 0)
    most = np.where(counts == 2, 1, counts - 1) - tests
    vals = np.minimum(np.maximum(np.rint(val * counts), 1), most).astype(int) * (counts > 1) * (val > 0)
    tests, vals = np.repeat(tests, counts), np.repeat(vals, counts)
    in_order = np.where(rank < tests, _TEST, np.where(rank < tests + vals, _VAL, _TRAIN))
    side = np.zeros(len(keys), np.int8)
    side[order] = in_order
    for part, first, count in ((_TEST, 0 * tests, tests), (_VAL, tests, vals)):
        chosen = in_order == part
        place = order[chosen]
        quantile = (rank[chosen] - first[chosen] + 0.5) / count[chosen]
        place = place[np.lexsort((keys[place], quantile))]
        kept = np.cumsum(sizes[place]) <= cap
        kept[:1] = True
        side[place[~kept]] = _TRAIN
    return side


def _same_groups(source: Any, out: np.ndarray) -> np.ndarray:
    """Images that are not held out, of groups that are: without a label, or no candidates."""
    groups = getattr(source, "groups", None)
    if groups is None or not len(out):
        return np.empty(0, np.int64)
    wanted = np.unique(np.asarray(groups[out], np.int64))
    found = []
    for start in range(0, len(source), MOST_CANDIDATES):
        part = np.asarray(groups[start : start + MOST_CANDIDATES])
        found.append(start + np.flatnonzero(np.isin(part, wanted)))
    return np.setdiff1d(np.concatenate(found), out)


def looks_for_copies(source: Any) -> bool:
    """Whether copies of held-out images are looked for: in files, if there are at most a million."""
    return getattr(source, "file", None) is not None and len(source) <= _MOST_FILES


def _copies(source: Any, out: np.ndarray) -> np.ndarray:
    """Images that are not held out, with the bytes of one that is."""
    if not len(out) or not looks_for_copies(source):
        return np.empty(0, np.int64)
    file = source.file
    sizes = np.fromiter((_size(file(index)) for index in range(len(source))), np.int64, len(source))
    rest = np.setdiff1d(np.flatnonzero(np.isin(sizes, sizes[out]) & (sizes >= 0)), out)
    held = out[np.isin(sizes[out], sizes[rest])]
    for length in (_HEAD, None):
        ours = {index: (sizes[index], _content(file(index), length)) for index in held.tolist()}
        theirs = {index: (sizes[index], _content(file(index), length)) for index in rest.tolist()}
        common = set(ours.values()) & set(theirs.values())
        held = np.array([index for index, content in ours.items() if content in common], np.int64)
        rest = np.array([index for index, content in theirs.items() if content in common], np.int64)
    return rest


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _content(path: str, length: int | None) -> bytes:
    """A digest of a file's bytes, or of the first of them; of one that cannot be read, something of its own."""
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(length)).digest()
    except OSError:
        return os.fsencode(path)
