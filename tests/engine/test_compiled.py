"""Blocks under ``torch.compile`` train as without."""

from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.engine import compiled
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.tiny_run import log_of, losses, tiny_config, trained


def train(work_dir: Path, steps: int, *, compile: bool, **backbone: Any) -> dict[str, torch.Tensor]:
    config = tiny_config(work_dir, steps=steps, compile=compile)
    config["model"]["backbone"] |= backbone
    trained(config, device="cpu")
    return Checkpoint.read(list_checkpoints(work_dir)[-1]).model


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which dynamo looks at
@pytest.mark.parametrize(
    ("backend", "steps"),
    [
        ("aot_eager", 3),
        # Runs a C++ compiler, and computes in an order of its own: differences grow from step to step.
        pytest.param("inductor", 1, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("stages", [(), (1, 2, 3, 4)])
def test_compiled_blocks_train_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, steps: int, stages: tuple[int, ...]
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", backend)
    expected = train(tmp_path / "plain", steps, compile=False, checkpoint_stages=stages)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    actual = train(tmp_path / "compiled", steps, compile=True, checkpoint_stages=stages)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    assert "torch.compile: 4 blocks" in log_of(tmp_path / "compiled")
    (first, *later), (same, *others) = losses(tmp_path / "compiled"), losses(tmp_path / "plain")
    assert first[1] == pytest.approx(same[1], rel=1e-5)
    for one, other in zip(later, others, strict=True):
        assert one[1] == pytest.approx(other[1], rel=1e-4)
    assert list(actual) == list(expected)
    for key, tensor in expected.items():
        torch.testing.assert_close(actual[key], tensor, rtol=1e-3, atol=1e-4, msg=key)
