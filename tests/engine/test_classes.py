"""A classifier and images that do not fit each other."""

from pathlib import Path

import pytest

from selfsup.engine.build import check_labels
from selfsup.engine.runner import Runner
from selfsup.errors import DataError
from selfsup.losses import CrossEntropyLoss, DistillationLoss, NTXentLoss
from selfsup.methods import Distillation, SimCLR, Supervised
from selfsup.necks import ProjectionNeck
from tests.data.listed import Listed
from tests.engine.tiny_run import tiny_config
from tests.methods.tiny import TinyBackbone


@pytest.mark.parametrize(("num_classes", "said"), [(9, False), (12, True)])
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


def test_a_student_is_told_where_its_teachers_classes_are_set_if_it_looks_at_labels() -> None:
    said = check_labels(distillation(alpha=0.5), Images("ant", "bee"))
    assert said is not None and said.endswith("--cfg-options model.teacher.num_classes=2")
    assert check_labels(distillation(alpha=1.0), Images("ant", "bee")) is None


def test_images_without_labels_and_methods_without_classes_have_nothing_to_compare() -> None:
    assert check_labels(distillation(alpha=0.5), Images()) is None
    assert check_labels(distillation(alpha=0.5), object()) is None
    simclr = SimCLR(TinyBackbone(), ProjectionNeck(8, (), 4), NTXentLoss())
    assert check_labels(simclr, Images("ant", "bee")) is None


def test_images_without_a_label_are_rejected_where_the_method_learns_from_labels() -> None:
    learner = Supervised(TinyBackbone(), 2, CrossEntropyLoss())
    check_labels(learner, Listed("abc", [0, 1, 1]))
    check_labels(SimCLR(TinyBackbone(), ProjectionNeck(8, (), 4), NTXentLoss()), Listed("abc", [0, 1, -1]))
    with pytest.raises(DataError, match=r"train_dataloader\.dataset: .* 1 images have none"):
        check_labels(learner, Listed("abc", [0, 1, -1]))
