"""A classifier and images that do not fit each other."""

from pathlib import Path

import pytest

from selfsup.engine.runner import Runner, class_difference
from tests.engine.tiny_run import tiny_config


@pytest.mark.parametrize(("num_classes", "said"), [(9, False), (12, True), (2, True)])
def test_another_number_of_classes_is_said(num_classes: int, said: bool, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["model"] = {
        "type": "Supervised",
        "backbone": config["model"]["backbone"],
        "num_classes": num_classes,
        "loss": {"type": "CrossEntropyLoss"},
    }
    config["optim_wrapper"] = {"optimizer": {"type": "SGD", "lr": 0.1}}
    runner = Runner(config, device="cpu")
    runner._build_training()
    log = next(tmp_path.glob("*/rank0.log")).read_text()
    sentence = f"model.num_classes is {num_classes}, the images have 9 classes; for a classifier of theirs: "
    assert (sentence in log) == said


def test_images_without_labels_and_methods_without_classes_have_nothing_to_compare() -> None:
    assert class_difference(object(), object()) is None
