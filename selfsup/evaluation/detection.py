"""Average precision of detected boxes and masks, as COCO counts it."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from selfsup.data.sources.coco import coco_masks
from selfsup.errors import ConfigError, DataError, DecodeError, require
from selfsup.evaluation.extraction.inference import frozen
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score, bootstrap
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main, gather_objects, rank, world_size
from selfsup.ops.images import on_background
from selfsup.ops.parts import is_sharded
from selfsup.registry import EVALUATORS

_NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")  # the order of pycocotools' stats
_RECALLS = np.linspace(0, 1, 101)
_MOST = 100  # detections of an image that count
_ABSENT = -1.0  # pycocotools' word for no object of that size


@EVALUATORS.register_module()
class DetectionAP:
    """Average precision of a detector's boxes and masks.

    ``box_AP`` is the mean over classes and over ten overlaps from 0.5 to 0.95; ``box_AP50`` and ``box_AP75`` are of one
    overlap each, ``box_AP_small``, ``box_AP_medium`` and ``box_AP_large`` of objects below 32 x 32, up to 96 x 96 and
    above it, in pixels of the image; ``mask_...`` likewise. The intervals of AP50 are from drawing images with
    replacement. A score of which there is no object is left out.

    Args:
        backend: whose evaluation: ``'pycocotools'``, the reference, or ``'faster-coco-eval'``, which gives the same
            numbers sooner, without intervals.
        replicates: draws for the intervals; 0 for none.
        max_images: of the test images, the first so many; None for all.
        batch_size: images at a time on each process.

    Raises:
        ConfigError: if an argument is out of range.

    Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py.
    """

    protocol = "detection-ap/2"
    needs = frozenset({"targets"})

    def __init__(
        self,
        backend: Literal["pycocotools", "faster-coco-eval"] = "pycocotools",
        *,
        replicates: int = 1000,
        max_images: int | None = None,
        batch_size: int = 8,
    ) -> None:
        known = ("pycocotools", "faster-coco-eval")
        require(backend in known, "backend", f"must be one of {', '.join(known)}", got=backend)
        require(replicates >= 0, "replicates", "must be >= 0", got=replicates)
        self.backend = backend
        self.replicates = replicates
        self.max_images = max_images
        self._batch_size = batch_size

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Detect in the task's test images, each process in its share of them, and compare; classes by their names.

        Raises:
            ConfigError: if what is represented is no detector, or pycocotools is not installed.
        """
        detector: Any = representation.backbone
        if not callable(getattr(detector, "detect", None)):
            raise ConfigError.at("model", "must be a Detector for DetectionAP", got=type(detector).__name__)
        source = task.parts.test
        count = min(len(source), self.max_images or len(source))
        with frozen(detector):
            background = representation.input_contract.background
            own, bad = self._detected(detector, source, count, background)
        parts = gather_objects((own, bad))
        found = [each for part, _ in parts for each in part]
        unreadable = {index for _, part in parts for index in part}
        chosen = {name: getattr(detector, name) for name in ("kind", "norm", "freeze_at") if hasattr(detector, name)}

        def scored() -> Result:
            readable = [index for index in range(count) if index not in unreadable]
            known = getattr(detector, "classes", None)
            truth = ground_truth(source, readable, known)
            scores, notes = average_precision(truth, found, backend=self.backend, replicates=self.replicates)
            unknown = [] if known is None else [name for name in map(str, source.classes) if name not in known]
            if unknown:
                notes = (*notes, f"{len(unknown)} classes are unknown to the detector: {', '.join(unknown[:5])}")
            if unreadable:
                notes = (*notes, f"{len(unreadable)} images cannot be decoded and do not count")
            return Result(scores, None, chosen, notes)

        return from_main(scored)

    def _detected(
        self, detector: Any, source: Any, count: int, background: tuple[int, int, int]
    ) -> tuple[list[dict[str, Any]], list[int]]:
        """What this process finds in its share of the images, and those that cannot be decoded."""
        found: list[dict[str, Any]] = []
        bad: list[int] = []
        everyone = is_sharded(detector)  # then no process may be asked more often than the others
        indices = range(rank(), count, world_size())
        longest = -(-count // world_size()) if everyone else len(indices)
        for start in range(0, longest, self._batch_size):
            images, shown = [], []
            for index in indices[start : start + self._batch_size]:
                try:
                    images.append(on_background(source.image(index), background))
                    shown.append(index)
                except DecodeError:
                    bad.append(index)
            if not images and everyone:
                detector.detect([np.zeros((32, 32, 3), np.uint8)])
            for index, detections in zip(shown, detector.detect(images) if images else (), strict=True):
                found += results_of(index, detections)
        return found, bad


def results_of(index: int, detections: Any) -> list[dict[str, Any]]:
    """What was detected in an image in COCO's form; ids of images and categories are positions, counted from 1.

    Args:
        index: of the image in its source.
        detections: with ``boxes``, ``labels``, ``scores`` and ``masks``, see
            :class:`~selfsup.transfer.detection.Detections`.
    """
    found = []
    for number, (left, top, right, bottom) in enumerate(detections.boxes.tolist()):
        one: dict[str, Any] = {
            "image_id": index + 1,
            "category_id": int(detections.labels[number]) + 1,
            "bbox": [left, top, right - left, bottom - top],
            "score": float(detections.scores[number]),
        }
        if detections.masks is not None:
            one["segmentation"] = coco_masks().encode(np.asfortranarray(detections.masks[number], np.uint8))
        found.append(one)
    return found


def ground_truth(source: Any, indices: Sequence[int], classes: Sequence[str] | None = None) -> dict[str, Any]:
    """What the images of a source show, in COCO's form, with ids of its own, all of them from 1.

    Args:
        source: with ``targets`` and ``classes``.
        indices: of the images.
        classes: names in the detector's order, by which the source's are numbered; those that it does not know come
            last. None for the source's own order.
    """
    names = [str(name) for name in source.classes]
    known = list(dict.fromkeys([*(names if classes is None else classes), *names]))
    number_of = np.array([known.index(name) for name in names], np.int64)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in indices:
        target = source.targets(index)
        masks = target.get("masks")
        height, width = (0, 0) if masks is None else masks.shape[1:]  # asked for with masks alone
        images.append({"id": index + 1, "height": height, "width": width})
        for number, (left, top, right, bottom) in enumerate(np.asarray(target["boxes"], np.float64).tolist()):
            area = float(target["area"][number]) if "area" in target else (right - left) * (bottom - top)
            one: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": index + 1,
                "category_id": int(number_of[target["labels"][number]]) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": area,
                "iscrowd": int(target["crowd"][number]) if "crowd" in target else 0,
            }
            if masks is not None:
                one["segmentation"] = coco_masks().encode(np.asfortranarray(masks[number], np.uint8))
            annotations.append(one)
    categories = [{"id": number, "name": name} for number, name in enumerate(known, start=1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def true_objects(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object that is to be found, as if it were detected: for what comes after the detection, the ceiling.

    Args:
        truth: see :func:`ground_truth`.
    """
    kept = ("image_id", "category_id", "bbox", "segmentation")
    return [
        {**{name: one[name] for name in kept if name in one}, "score": 1.0}
        for one in truth["annotations"]
        if not one["iscrowd"]
    ]


def classified(found: list[dict[str, Any]], logits: np.ndarray) -> list[dict[str, Any]]:
    """Detections, each of the category that a classifier gives to what is in its box.

    Args:
        found: by a detector that knows one class, see :func:`results_of`; or :func:`true_objects`.
        logits: of each detection's crop, (N, C); column 0 is category 1.

    Returns:
        The same with other categories; the score is the detector's times the classifier's softmax.
    """
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)
    return [
        {**one, "category_id": int(number) + 1, "score": one["score"] * float(share[number])}
        for one, number, share in zip(found, best, shares, strict=True)
    ]


def average_precision(
    truth: dict[str, Any],
    found: list[dict[str, Any]],
    *,
    backend: Literal["pycocotools", "faster-coco-eval"] = "pycocotools",
    replicates: int = 1000,
) -> tuple[dict[str, Score], tuple[str, ...]]:
    """Scores, and notes on those that there are not.

    Args:
        truth: see :func:`ground_truth`.
        found: see :func:`results_of`.
        backend, replicates: as of :class:`DetectionAP`.

    Raises:
        DataError: if no object is left to be found.
        ConfigError: if the backend is not installed.
    """
    if not any(not annotation["iscrowd"] for annotation in truth["annotations"]):
        raise DataError.at("targets", "there is no object to be found in the test images")
    scores: dict[str, Score] = {}
    notes: list[str] = []
    masks = all("segmentation" in annotation for annotation in truth["annotations"])
    for kind in ("bbox", "segm") if masks and any("segmentation" in one for one in found) else ("bbox",):
        name = {"bbox": "box", "segm": "mask"}[kind]
        evaluated, stats = _evaluated(truth, found, kind, backend)
        for place, value in zip(_NAMES, stats[:6], strict=True):
            if value == _ABSENT:
                notes.append(f"{name}_{place}: n/a, no object of that size")
            else:
                scores[f"{name}_{place}"] = Score(float(value), n=len(truth["images"]))
        if replicates and backend == "pycocotools":
            curves = Curves.of(evaluated)
            low, high = bootstrap(curves.num_images, curves.average_precision, replicates=replicates)
            value = scores[f"{name}_AP50"].value
            scores[f"{name}_AP50"] = Score(value, min(low, value), max(high, value), curves.num_images)
    per_image = np.bincount([annotation["image_id"] for annotation in truth["annotations"]])
    if (crowded := int((per_image > _MOST).sum())) > 0:
        notes.append(f"{crowded} images show more than {_MOST} objects; COCO counts {_MOST} detections of an image")
    return scores, tuple(notes)


def compared(
    truth: dict[str, Any],
    found: list[dict[str, Any]],
    others: list[dict[str, Any]],
    *,
    kind: Literal["bbox", "segm"] = "bbox",
    replicates: int = 1000,
) -> Score:
    """How much the AP50 of one detector is above that of another; the interval is over images, drawn for both alike.

    Args:
        truth: see :func:`ground_truth`.
        found: by the one, see :func:`results_of`.
        others: by the other.
        kind: boxes or masks.
        replicates: draws.
    """
    one, other = (Curves.of(_evaluated(truth, each, kind, "pycocotools")[0]) for each in (found, others))

    def gain(weights: np.ndarray) -> float:
        return one.average_precision(weights) - other.average_precision(weights)

    low, high = bootstrap(one.num_images, gain, replicates=replicates)
    return Score(gain(np.ones(one.num_images)), low, high, one.num_images)


def _evaluated(truth: dict[str, Any], found: list[dict[str, Any]], kind: str, backend: str) -> tuple[Any, np.ndarray]:
    """A finished evaluation, and its twelve numbers."""
    coco_masks()
    try:
        if backend == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
    except ImportError as error:
        expected = f"pip install 'selfsup[detection]' {backend} ({error})"
        raise ConfigError.at("backend", f"needs the package {backend}", expected=expected) from None
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = {**truth, "annotations": [dict(annotation) for annotation in truth["annotations"]]}
        objects.createIndex()
        if found:
            given = [{name: value for name, value in one.items() if name != _other(kind)} for one in found]
            detected = objects.loadRes(given)
        else:  # loadRes wants one at least
            detected = COCO()
            detected.dataset = {**truth, "annotations": []}
            detected.createIndex()
        evaluation = COCOeval(objects, detected, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation, np.asarray(evaluation.stats, np.float64)


def _other(kind: str) -> str:
    """The field of a detection that its area would be taken from, though the other one is evaluated."""
    return "segmentation" if kind == "bbox" else "bbox"


@dataclass(frozen=True)
class Curves:
    """What is needed to compute AP50 again with other weights of the images.

    Args:
        num_images: how many there are.
        classes: of each class with objects the image of each detection, the surest first, int64 (D,); whether it is
            right, bool (D,); and the number of objects of each image, float64 (num_images,).
    """

    num_images: int
    classes: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, evaluation: Any) -> "Curves":
        """From an evaluation by pycocotools."""
        images = evaluation.params.imgIds
        per_class = len(evaluation.params.areaRng) * len(images)
        found = []
        for number in range(len(evaluation.params.catIds)):
            entries = evaluation.evalImgs[number * per_class : number * per_class + len(images)]  # of any size
            scores, shown, right = [], [], []
            objects = np.zeros(len(images))
            for place, entry in enumerate(entries):
                if entry is None:
                    continue
                objects[place] = np.sum(np.asarray(entry["gtIgnore"]) == 0)
                counts = ~np.asarray(entry["dtIgnore"][0], bool)
                scores.append(np.asarray(entry["dtScores"], np.float64)[counts])
                right.append((np.asarray(entry["dtMatches"][0]) > 0)[counts])
                shown.append(np.full(int(counts.sum()), place))
            if objects.any():
                order = np.argsort(-np.concatenate(scores), kind="mergesort")
                found.append((np.concatenate(shown)[order], np.concatenate(right)[order], objects))
        return cls(len(images), found)

    def average_precision(self, weights: np.ndarray) -> float:
        """AP50 with each image counted so many times, float64 (num_images,): the mean over classes with objects."""
        values = []
        for image, right, objects in self.classes:
            total = float(objects @ weights)
            if not total:
                continue
            counted = weights[image]
            hits = np.cumsum(counted * right)
            precision = hits / np.maximum(np.cumsum(counted), np.spacing(1))
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            place = np.searchsorted(hits / total, _RECALLS, side="left")
            values.append(float(np.append(precision, 0.0)[np.minimum(place, len(precision))].mean()))
        return float(np.mean(values)) if values else 0.0
