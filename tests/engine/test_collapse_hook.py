import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from selfsup.engine.hooks.collapse import CollapseWatchHook
from selfsup.registry import BACKBONES
from tests.engine.tiny_run import losses, tiny_config, trained

HEALTHY = {"feature_std_share": 0.4, "rankme": 30.0}


@BACKBONES.register_module()
class Blind(nn.Module):
    """Says the same about every image."""

    out_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight.expand(len(images), 8) + 0 * images.mean()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return []


def run(work_dir: Path, *, blind: bool, watched: bool = True) -> list[str]:
    """What it warned of."""
    config = tiny_config(work_dir, steps=8)
    if blind:
        config["model"]["backbone"] = {"type": "Blind"}
        config["model"]["neck"] = {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 4, "bn": False}
    hook = {"type": "CollapseWatchHook", "every_steps": 2, "num_images": 12}
    config["default_hooks"]["collapse"] = hook if watched else None
    runner = trained(config, device="cpu")
    return re.findall(" WARNING (.*)", Path(runner.log_dir, "rank0.log").read_text())


def test_a_blind_backbone_is_noticed_once_and_again_at_the_end(tmp_path: Path) -> None:
    warnings = run(tmp_path, blind=True)
    for symptom in ("the features are collapsing", "only 1.0 of 12 prototypes are in use", "is that of guessing"):
        assert [line.split(": ")[0] for line in warnings if symptom in line] == ["step 2", "at the end"]
    ranks = losses(tmp_path, "features/rankme")
    assert [step for step, _ in ranks] == [2, 4, 6, 8] and ranks[-1][1] == pytest.approx(1, abs=1e-3)
    assert losses(tmp_path, "features/feature_std")[-1][1] == pytest.approx(0, abs=1e-6)


def test_an_untrained_network_is_not_taken_for_a_collapsed_one_and_is_trained_as_without_the_watch(
    tmp_path: Path,
) -> None:
    assert not any("collapsing" in warning for warning in run(tmp_path / "watched", blind=False))
    run(tmp_path / "alone", blind=False, watched=False)
    assert len(losses(tmp_path / "alone")) == 8
    assert losses(tmp_path / "watched") == losses(tmp_path / "alone")


def test_each_symptom_is_told_from_health() -> None:
    def found(scores: dict[str, float] = HEALTHY, dead: float = 0.6, loss: float = 5.2) -> set[str]:
        means = {"dead_prototypes": dead, "loss": loss}
        return set(CollapseWatchHook().symptoms(scores, means, uniform_loss=math.log(300)))

    assert found() == set()
    assert found(scores={**HEALTHY, "feature_std_share": 0.002}) == {"std"}
    assert found(dead=1 - 1 / 300) == {"dead"}
    for gain in (-2.0, 0.0, 0.003):
        assert found(loss=math.log(300) - gain) == {"uniform"}
    watch = CollapseWatchHook()  # a method that says nothing of itself is watched by its features
    assert watch.symptoms(HEALTHY, {"loss": 9.0}, uniform_loss=None) == {}
    assert set(watch.symptoms({**HEALTHY, "feature_std_share": 0.0}, {"loss": 9.0}, uniform_loss=None)) == {"std"}
