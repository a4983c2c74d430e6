"""A classifier and images that do not fit each other."""

import logging
from pathlib import Path

import pytest

from selfsup.engine.build import class_difference, usable_by
from selfsup.engine.runner import Runner
from selfsup.losses import CrossEntropyLoss, DistillationLoss, NTXentLoss
from selfsup.methods import Distillation, SimCLR, Supervised
from selfsup.necks import ProjectionNeck
from tests.data.listed import Listed
from tests.engine.tiny_run import tiny_config
from tests.methods.tiny import TinyBackbone


@pytest.mark.parametrize(("num_classes", "said"), [(9, False), (12, True), (2, True)])
def test_another_number_of_classes_is_said(num_classes: int, said: bool, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["model"] = {
        "type": "Supervised",
        "backbone": config["model"]["backbone"],
        "num_classes": num_classes,
        "loss": {"type": "CrossEntropyLoss"},
    }
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.1}}
    runner = Runner(config, device="cpu")
    runner._build_training()
    log = next(tmp_path.glob("*/rank0.log")).read_text()
    sentence = f"model.num_classes is {num_classes}, the images have 9 classes; for a classifier of theirs: "
    assert (sentence in log) == said


class Images:
    """What a data set says of its labels."""

    def __init__(self, *classes: str) -> None:
        self.classes = classes


def distillation(alpha: float) -> Distillation:
    teacher = Supervised(TinyBackbone(), 12, CrossEntropyLoss())
    return Distillation(TinyBackbone(), teacher, DistillationLoss(), alpha=alpha)


def test_a_student_that_looks_at_labels_is_told_where_its_teacher_s_classes_are_set() -> None:
    assert class_difference(distillation(alpha=0.5), Images("ant", "bee")) == (
        "model.teacher.num_classes is 12, the images have 2 classes; for a classifier of theirs: "
        "--cfg-options model.teacher.num_classes=2"
    )


def test_a_student_that_does_not_look_at_labels_is_told_nothing() -> None:
    assert class_difference(distillation(alpha=1.0), Images("ant", "bee")) is None


def test_images_without_labels_and_methods_without_classes_have_nothing_to_compare() -> None:
    assert class_difference(distillation(alpha=0.5), Images()) is None
    assert class_difference(distillation(alpha=0.5), object()) is None
    simclr = SimCLR(TinyBackbone(), ProjectionNeck(8, (), 4), NTXentLoss())
    assert class_difference(simclr, Images("ant", "bee")) is None


def test_images_without_a_label_are_left_out_where_the_method_learns_from_labels() -> None:
    class Learner:
        def __init__(self, classes: tuple[str, int] | None) -> None:
            self.label_classes = lambda: classes

    some, log = Listed("abcd", [0, -1, 1, -1]), logging.getLogger(__name__)
    assert usable_by(Learner(None), some, log) is some  # type: ignore[arg-type]
    whole = Listed("abc", [0, 1, 1])
    assert usable_by(Learner(("model.num_classes", 2)), whole, log) is whole  # type: ignore[arg-type]
    usable = usable_by(Learner(("model.num_classes", 2)), some, log)  # type: ignore[arg-type]
    assert [usable.name(index) for index in range(len(usable))] == ["a", "c"]
