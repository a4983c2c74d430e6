"""A batch that does not fit is said with the accumulation that would."""

from pathlib import Path

import pytest
import torch

from selfsup.cli import main
from selfsup.config import Recipe, load_config
from selfsup.engine import Runner
from selfsup.errors import ConfigError
from selfsup.planning import fits
from selfsup.planning.scale import largest_batch, plan_scale
from selfsup.planning.ways import ROOM

LACK = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
RECIPE = "simclr/simclr_scenes"


def recipe(batch: int = 32, accumulate: int = 2) -> Recipe:
    options = {"train_dataloader.batch_size": batch, "optim_wrapper.accumulative_counts": accumulate}
    return load_config(RECIPE, options)


@pytest.fixture(scope="module")
def enough_for_ten() -> float:
    """Memory of a device that ten images fit into."""
    total = plan_scale(recipe(10), processes=1).ways[0].total
    assert total is not None
    return 1.001 * total / ROOM


def test_the_largest_batch_is_that_of_the_plan(enough_for_ten: float) -> None:
    assert largest_batch(recipe(), processes=1, memory=enough_for_ten, precision="fp32") == 10


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (None, "train_dataloader.batch_size=8 optim_wrapper.accumulative_counts=8 "),
        ("--micro-batch", "--micro-batch 8 "),
    ],
)
def test_the_same_update_is_accumulated_from_what_fits(
    option: str | None, told: str, enough_for_ten: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "device_memory", lambda device: enough_for_ten)
    with pytest.raises(ConfigError) as caught, fits.batch_has_to_fit(recipe(), device="cpu", option=option):
        raise LACK
    (problem,) = caught.value.problems
    assert (problem.path, problem.got) == (option or "train_dataloader.batch_size", 32)
    assert told in problem.expected


def test_what_is_no_lack_of_memory_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), fits.batch_has_to_fit(recipe()):
        raise RuntimeError("shapes do not match")


def test_the_command_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def train(self: Runner) -> None:
        raise LACK

    monkeypatch.setattr(Runner, "train", train)
    monkeypatch.setattr(fits, "largest_batch", lambda *_, **__: 10)
    assert main(["train", RECIPE, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "memory of cpu" in said and "optim_wrapper.accumulative_counts=" in said


def test_a_gpu_by_its_number_is_a_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", RECIPE, "--dry-run", "--device", "cuda:1"]) == 2
    assert "finds no GPU here" in capsys.readouterr().err


def test_a_method_that_looks_at_values_is_counted_by_its_backbone() -> None:
    labelled = load_config("supervised/supervised_scenes")
    few, many = (
        largest_batch(labelled, processes=1, memory=memory, precision="fp32") or 0 for memory in (2.0**26, 2.0**27)
    )
    assert 4 < few < many / 1.9
