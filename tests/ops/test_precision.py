"""Which precision a device is taken to compute fast."""

import platform

import pytest
import torch

from selfsup.ops import precision
from selfsup.ops.precision import fast_everywhere, fast_precision, fast_precisions, reason

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("capability", "best", "why"),
    [
        ((9, 0), "bf16", "this GPU computes it in hardware"),
        ((8, 0), "bf16", "this GPU computes it in hardware"),
        ((7, 5), "fp16", "this GPU does not compute bf16 in hardware; the loss is scaled"),
    ],
)
def test_gpus_take_bf16_from_ampere_on_and_fp16_before(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], best: str, why: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast_precision(GPU) == best
    assert reason(fast_precision(GPU), GPU) == why


@pytest.mark.parametrize(
    ("machine", "feature", "gain", "best"),
    [
        ("x86_64", True, 1.2, "bf16"),  # other load must not decide
        ("x86_64", True, 0.08, "fp32"),  # ONEDNN_MAX_CPU_ISA
        ("x86_64", False, 9.0, "fp32"),
        ("AMD64", True, 2.0, "bf16"),
        ("aarch64", False, 2.0, "bf16"),
        ("aarch64", False, 1.2, "fp32"),
    ],
)
def test_a_processor_is_known_by_its_features_and_by_a_measurement_where_they_do_not_tell(
    monkeypatch: pytest.MonkeyPatch, machine: str, feature: bool, gain: float, best: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: feature)
    monkeypatch.setattr(precision, "_bf16_gain", lambda: gain)
    assert fast_precision(CPU) == best
    assert fast_precisions(CPU)[-1] == "fp32"


@pytest.mark.parametrize("kind", ["mps", "meta"])
def test_other_devices_stay_in_float32(kind: str) -> None:
    assert fast_precisions(torch.device(kind)) == ("fp32",)


def test_where_devices_differ_the_best_that_all_have_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ampere, volta, old = ("bf16", "fp16", "fp32"), ("fp16", "fp32"), ("fp32",)
    for everyone, best in (([ampere, ampere], "bf16"), ([ampere, volta], "fp16"), ([volta, ampere, old], "fp32")):
        monkeypatch.setattr(precision, "gather_objects", lambda own, everyone=everyone: everyone)
        assert fast_everywhere(CPU) == best
    monkeypatch.setattr(precision, "fast_precisions", lambda device: ampere)
    assert reason("fp16", GPU) == "not all processes have devices that compute bf16 in hardware"
