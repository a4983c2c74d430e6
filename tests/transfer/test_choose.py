"""Which transfer ``selfsup transfer`` chooses by itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from selfsup.errors import ConfigError
from selfsup.transfer import FineTune, HyperRuleTransfer, Labelled, LinearSGD, Start
from selfsup.transfer import choose as choosing
from selfsup.transfer.choose import USUAL_BUDGET, choose
from tests.transfer.small import write_images, write_start

REGNET, BIT = "RegNet", "BiTResNet"
SIDE = 16  # of the images, which HyperRule shows at 128: 64 times as many pixels


@dataclass(frozen=True)
class Case:
    """A request.

    Args:
        device: kind of it.
        network: of the weights.
        labels: labelled images, of three classes.
        milliseconds: that an image takes to learn from.
        budget: None for the device's usual one.
        rule: that is chosen.
    """

    device: str
    network: str
    labels: int
    milliseconds: float
    budget: str | None
    rule: str


CASES = {
    # 200 images: 70 % of 4 minutes are 30 passes at 28 ms
    "CPU, 200 labels, quick": Case("cpu", REGNET, 200, 27.9, None, "fine-tune"),
    "CPU, 200 labels, slow": Case("cpu", REGNET, 200, 28.1, None, "linear"),
    "CPU, 200 labels, slow, more time": Case("cpu", REGNET, 200, 28.1, "5m", "fine-tune"),
    "CPU, 200 labels, quick, less time": Case("cpu", REGNET, 200, 27.9, "3m", "linear"),
    "4 labels a class, all the time in the world": Case("large_gpu", REGNET, 12, 1e-3, "1d", "linear"),
    "4 labels a class, BiT": Case("large_gpu", BIT, 12, 1e-3, "1d", "linear"),
    "5 labels a class": Case("cpu", REGNET, 15, 27.9, None, "fine-tune"),
    "CPU, many labels": Case("cpu", REGNET, 60_000, 27.9, None, "linear"),
    "small GPU, many labels": Case("small_gpu", REGNET, 60_000, 0.5, None, "linear"),  # 21 passes
    "large GPU, many labels": Case("large_gpu", REGNET, 60_000, 0.5, None, "fine-tune"),  # 42 passes
    # 500 steps of 512 images at 128 px are 16.4 million images of 16 px: 0.0384 ms each in 70 % of 15 minutes
    "GPU, BiT, time for its rule": Case("small_gpu", BIT, 200, 0.038, None, "bit"),
    "GPU, BiT, no time for its rule": Case("small_gpu", BIT, 200, 0.039, None, "fine-tune"),
    "GPU, BiT, many labels, whose rule is 20 times as long": Case("small_gpu", BIT, 60_000, 0.038, None, "fine-tune"),
    "GPU, other weights": Case("small_gpu", REGNET, 200, 0.038, None, "fine-tune"),
    "CPU, BiT": Case("cpu", BIT, 200, 0.001, None, "fine-tune"),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return write_start(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "colors")


def labelled(images: Path, count: int) -> Labelled:
    """So many images, the same again where there are not enough."""
    whole = {"type": "ImageList", "root": str(images), "labels": "folder"}
    few = {"type": "Subset", "dataset": whole, "per_class": count // 3, "seed": 0}
    many = {"type": "Subset", "dataset": whole, "count": count, "replacement": True, "seed": 0}
    return Labelled("colors", few if count <= 36 else many)


@pytest.mark.parametrize("name", CASES)
def test_the_rule_is_what_fits_labels_device_time_and_weights(
    name: str, start: Start, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setattr(choosing, "device_kind", lambda device: case.device)
    monkeypatch.setattr(choosing, "_seconds_per_image", lambda *_, **__: (case.milliseconds / 1000, SIDE))
    weights = replace(start, backbone={"type": case.network})
    budget = case.budget or USUAL_BUDGET[case.device]
    found = choose(weights, labelled(images, case.labels), budget=budget, device="cpu")
    assert found.rule == case.rule
    assert found.transfer.name == case.rule
    assert found.why[0].startswith(f"{case.rule}: ") and found.why[0].endswith("--rule names another")


def test_what_an_image_takes_is_measured_at_the_size_that_is_asked_for(
    start: Start, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = labelled(images, 36)
    assert "an image of 16 px takes" in choose(start, data, budget="4m", device="cpu").why[0]
    assert "an image of 32 px takes" in choose(start, data, budget="4m", size=32, device="cpu").why[0]


def test_what_the_user_says_is_done_as_asked(start: Start, images: Path) -> None:
    data = labelled(images, 12)
    kinds = {"fine-tune": FineTune, "linear": LinearSGD, "bit": HyperRuleTransfer}
    for rule, kind in kinds.items():
        transfer = choose(start, data, budget="1m", rule=rule, size=48, micro_batch=4, seed=3, device="cpu").transfer
        assert type(transfer) is kind
        assert vars(transfer)["size"] == ((51, 48) if rule == "bit" else 48)
        assert (vars(transfer)["micro_batch"], vars(transfer)["seed"]) == (4, 3)
    with pytest.raises(ConfigError) as caught:
        choose(start, data, budget="1m", rule="liner")
    (problem,) = caught.value.problems
    assert (problem.path, problem.expected) == ("--rule", "did you mean 'linear'?")
