"""A run over as many images as SEER's begins as soon as one over a thousand."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.engine.logging.metrics import MetricsLog
from selfsup.engine.runner import Runner
from selfsup.registry import DATASETS
from tests.engine.tiny_run import Noise, tiny_config

COUNT = 10**9


class Alternating:
    """The labels of a billion images of two classes, in no memory."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: Any) -> Any:
        return (np.arange(COUNT)[index] if isinstance(index, slice) else np.asarray(index)) % 2


@DATASETS.register_module()
class ABillion(Noise):
    """Noise, with labels or without; the labels take no memory either."""

    def __init__(self, *, labelled: bool) -> None:
        super().__init__(COUNT)
        self.labels = Alternating() if labelled else None


@pytest.mark.parametrize(
    "labelled, evaluators, seconds, megabytes",
    [
        (False, {"knn": {"type": "KNN"}, "spread": {"type": "Spread"}}, 3, 50),
        # two million names are hashed
        pytest.param(
            True, {"knn": {"type": "KNN"}, "linear": {"type": "LinearProbe"}}, 60, 300, marks=pytest.mark.slow
        ),
    ],
)
def test_no_hook_does_work_that_grows_with_the_number_of_images(
    tmp_path: Path, labelled: bool, evaluators: dict[str, Any], seconds: float, megabytes: float
) -> None:
    config = tiny_config(tmp_path, evaluators=evaluators, default_hooks={})  # all of the engine's own hooks
    config["train_dataloader"]["dataset"] = {"type": "ABillion", "labelled": labelled}
    runner = Runner(config, device="cpu")
    began = time.process_time()
    tracemalloc.start()
    try:
        runner._build_training()
        runner.metrics_log = MetricsLog(tmp_path)
        runner._train_loop = runner._build_loop(0)
        next(iter(runner.train_loop.dataloader))
        runner.call_hook("before_train")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        runner.metrics_log.close()
    assert peak < megabytes * 1e6
    assert time.process_time() - began < seconds
    assert (tmp_path / "views.png").is_file()
