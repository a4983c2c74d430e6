"""A classifier and images that do not fit each other."""

from pathlib import Path

import numpy as np
import pytest

from selfsup.engine.build import class_difference
from selfsup.engine.runner import Runner
from selfsup.losses import CrossEntropyLoss, DistillationLoss, NTXentLoss
from selfsup.methods import Distillation, SimCLR, Supervised
from selfsup.necks import ProjectionNeck
from tests.engine.tiny_run import tiny_config
from tests.methods.tiny import TinyBackbone


def supervised(config: dict, num_classes: int) -> dict:
    model = {
        "type": "Supervised",
        "backbone": config["model"]["backbone"],
        "num_classes": num_classes,
        "loss": {"type": "CrossEntropyLoss"},
    }
    optimizer = {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.1}}
    return config | {"model": model, "optim_wrapper": optimizer}


@pytest.mark.parametrize(("num_classes", "said"), [(9, False), (12, True), (2, True)])
def test_another_number_of_classes_is_said(num_classes: int, said: bool, tmp_path: Path) -> None:
    config = supervised(tiny_config(tmp_path), num_classes)
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


def test_a_student_is_told_where_its_teachers_classes_are_set_if_it_looks_at_labels() -> None:
    said = class_difference(distillation(alpha=0.5), Images("ant", "bee"))
    assert said is not None and said.endswith("--cfg-options model.teacher.num_classes=2")
    assert class_difference(distillation(alpha=1.0), Images("ant", "bee")) is None


def test_images_without_labels_and_methods_without_classes_have_nothing_to_compare() -> None:
    assert class_difference(distillation(alpha=0.5), Images()) is None
    assert class_difference(distillation(alpha=0.5), object()) is None
    simclr = SimCLR(TinyBackbone(), ProjectionNeck(8, (), 4), NTXentLoss())
    assert class_difference(simclr, Images("ant", "bee")) is None


@pytest.mark.parametrize(("from_labels", "unlabelled"), [(True, 0), (False, 2)])
def test_images_without_a_label_are_trained_on_by_what_needs_none(
    from_labels: bool, unlabelled: int, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path)
    cases = Path(__file__).parents[1] / "data" / "cases" / "unlabelled_minus_one.csv"
    dataset = {"type": "ImageList", "root": str(cases), "labels": "column"}
    config["train_dataloader"] |= {"dataset": dataset, "batch_size": 2}
    runner = Runner(supervised(config, 3) if from_labels else config, device="cpu")
    runner._build_training()
    labels = np.asarray(runner.train_images.labels)
    assert (labels < 0).sum() == unlabelled and len(labels) == 3 + unlabelled
    log = next(tmp_path.glob("*/rank0.log")).read_text()
    assert "3 classes (0, 5, 10), 2 images each; 2 images without a label" in log
    assert ("2 images without a label are not trained on" in log) == from_labels
