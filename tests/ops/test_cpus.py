import os
from pathlib import Path

import pytest
import torch

from selfsup.ops import cpus

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)]
)
def test_a_quota_counts_beside_the_affinity(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cpus, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert cpus.available_cpus() == cpus.own_cpus() == expected


@pytest.mark.parametrize(
    ("wanted", "number", "device", "expected"),
    [(0, 8, CPU, 0), (4, 2, CPU, 2), (4, 8, GPU, 4), (None, 2, CPU, 1), (None, 64, CPU, 8), (None, 1, GPU, 1)],
)
def test_workers_are_what_the_user_says_or_what_fits(
    wanted: int | None, number: int, device: torch.device, expected: int
) -> None:
    assert cpus.number_of_workers(wanted, number, device) == expected


def test_threads_are_no_more_than_processors() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        cpus.limit_threads(2)
        assert torch.get_num_threads() == 2
        cpus.limit_threads(8)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
