"""A classifier and images that do not fit each other."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from selfsup.config import Recipe
from selfsup.engine.build import build_images, class_difference
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.losses import CrossEntropyLoss, DistillationLoss, NTXentLoss
from selfsup.methods import Distillation, SimCLR, Supervised
from selfsup.necks import ProjectionNeck
from tests.engine.test_pretrained import supervised
from tests.engine.tiny_run import log_of, tiny_config
from tests.methods.tiny import TinyBackbone


def log_of_a_start(config: dict[str, Any]) -> str:
    Runner(config, device="cpu")._build_training()
    return log_of(config["work_dir"])


@pytest.mark.parametrize(("num_classes", "said"), [(9, False), (12, True), (2, True)])
def test_another_number_of_classes_is_said(num_classes: int, said: bool, tmp_path: Path) -> None:
    config = supervised(tmp_path)
    config["model"]["num_classes"] = num_classes
    sentence = f"model.num_classes is {num_classes}, the images have 9 classes; for a classifier of theirs: "
    assert (sentence in log_of_a_start(config)) == said


INSECTS = SimpleNamespace(classes=("ant", "bee"))


def distillation(alpha: float) -> Distillation:
    teacher = Supervised(TinyBackbone(), 12, CrossEntropyLoss())
    return Distillation(TinyBackbone(), teacher, DistillationLoss(), alpha=alpha)


def test_a_student_is_told_where_its_teachers_classes_are_set_if_it_looks_at_labels() -> None:
    said = class_difference(distillation(alpha=0.5), INSECTS)
    assert said is not None and said.endswith("--cfg-options model.teacher.num_classes=2")
    assert class_difference(distillation(alpha=1.0), INSECTS) is None


def test_a_data_set_that_is_no_source_of_images_is_told_with_what_it_lacks(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["train_dataloader"]["dataset"] = SimpleNamespace(image=lambda index: None)
    with pytest.raises(ConfigError) as caught:
        build_images(Recipe.of(config))
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == ("train_dataloader.dataset", "SimpleNamespace has no __len__, name")


def test_images_without_labels_and_methods_without_classes_have_nothing_to_compare() -> None:
    assert class_difference(distillation(alpha=0.5), SimpleNamespace(classes=())) is None
    assert class_difference(distillation(alpha=0.5), object()) is None
    simclr = SimCLR(TinyBackbone(), ProjectionNeck(8, (), 4), NTXentLoss())
    assert class_difference(simclr, INSECTS) is None


@pytest.mark.parametrize(("from_labels", "unlabelled"), [(True, 0), (False, 2)])
def test_images_without_a_label_are_trained_on_by_what_needs_none(
    from_labels: bool, unlabelled: int, tmp_path: Path
) -> None:
    config = supervised(tmp_path) if from_labels else tiny_config(tmp_path)
    cases = Path(__file__).parents[1] / "data" / "cases" / "unlabelled_minus_one.csv"
    dataset = {"type": "ImageList", "root": str(cases), "labels": "column"}
    config["train_dataloader"] |= {"dataset": dataset, "batch_size": 2}
    runner = Runner(config, device="cpu")
    runner._build_training()
    labels = np.asarray(runner.train_images.labels)
    assert (labels < 0).sum() == unlabelled and len(labels) == 3 + unlabelled
    log = log_of(tmp_path)
    assert "3 classes (0, 5, 10), 2 images each; 2 images without a label" in log
    assert ("2 images without a label are not trained on" in log) == from_labels
