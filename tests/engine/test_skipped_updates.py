"""An update that is left out changes nothing, on one process. Two processes: tests/dist/test_skipped_updates.py."""

from pathlib import Path

import pytest
import torch

from selfsup.engine.optim import PrecisionOptimWrapper
from selfsup.errors import ConfigError, NonFiniteError
from selfsup.testing.contract import same_values
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.blank_run import BAD_STEP, blank_config, order_of
from tests.engine.tiny_run import log_of, losses, trained


def bad_image(folder: Path, micro_batch: int, **arguments: object) -> int:
    return order_of(blank_config(folder / "sound", **arguments))[BAD_STEP - 1][micro_batch][1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "where", "accumulate"),
    [("swav", "loss", 2), ("swav", "gradient", 1), ("moco", "loss", 1), ("moco", "gradient", 2)],
)
def test_a_skipped_update_changes_nothing_and_the_run_resumes_bitwise(
    tmp_path: Path, method: str, where: str, accumulate: int
) -> None:
    how = {"method": method, "where": where, "accumulate": accumulate}
    blank = bad_image(tmp_path, accumulate - 1, method=method, accumulate=accumulate)
    config = blank_config(tmp_path / "run", blank=blank, **how)  # type: ignore[arg-type]
    runner = trained(config, device="cpu")
    states = {saved.step: saved for saved in map(Checkpoint.read, list_checkpoints(tmp_path / "run"))}
    assert same_values(dict(states[BAD_STEP].model), dict(states[BAD_STEP - 1].model))
    before, after = (states[step].optim_wrapper for step in (BAD_STEP - 1, BAD_STEP))
    assert same_values(after["state"], before["state"]) and after["skipped_updates"] == 1
    assert not same_values(dict(states[BAD_STEP + 1].model), dict(states[BAD_STEP].model))
    assert states[BAD_STEP].schedules != states[BAD_STEP - 1].schedules
    assert [value for _, value in losses(tmp_path / "run", "skipped_updates")] == [0] * 4 + [1] * 4
    (line,) = [line for line in log_of(tmp_path / "run").splitlines() if "is left out" in line]
    assert f"step {BAD_STEP}: " in line and "1 of 1" in line and str(blank) in line
    assert ("loss is nan" if where == "loss" else "is not finite (norm nan)") in line
    short = blank_config(tmp_path / "again", blank=blank, **how)  # type: ignore[arg-type]
    trained(short | {"train_cfg": {"max_steps": 8}, "work_dir": str(tmp_path / "again")}, device="cpu")
    for path in list_checkpoints(tmp_path / "again")[BAD_STEP:]:
        path.unlink()  # as if it had stopped right after the update that was left out
    resumed = trained(short, resume=True, device="cpu")
    assert resumed.optim_wrapper.skipped_updates == 1
    assert same_values(resumed.method.state_dict(), runner.method.state_dict())
    assert losses(tmp_path / "again") == losses(tmp_path / "run")


def test_without_a_budget_left_the_run_stops_and_says_so(tmp_path: Path) -> None:
    blank = bad_image(tmp_path, 0)
    config = blank_config(tmp_path / "run", blank=blank)
    config["train_cfg"] = {"max_steps": 16}  # the image comes once in each of two epochs
    with pytest.raises(NonFiniteError, match=r"max_skipped_updates, 1, is used up; the weights are those before"):
        trained(config, device="cpu")
    assert losses(tmp_path / "run", "skipped_updates")[-1][1] == 1


def test_fp16_can_leave_out_an_update_where_no_scale_helps() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    wrapper = PrecisionOptimWrapper(torch.optim.SGD([weight], lr=0.1), precision="fp16", max_skipped_updates=1)
    wrapper.scaler = torch.amp.GradScaler("cpu", init_scale=0.5)
    with pytest.raises(NonFiniteError, match="not finite"):
        wrapper.update_params(weight.sum() * float("inf"))
    wrapper.skip()
    assert weight.grad is None and torch.equal(weight.detach(), torch.ones(3)) and not wrapper.can_skip
    wrapper.update_params(weight.sum())
    torch.testing.assert_close(weight.detach(), torch.full((3,), 0.9))


def test_a_negative_budget_is_rejected() -> None:
    with pytest.raises(ConfigError, match="max_skipped_updates"):
        PrecisionOptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), max_skipped_updates=-1)
