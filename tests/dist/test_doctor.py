import pytest

from selfsup.planning import doctor
from tests.dist.two_processes import run_in_processes

pytestmark = pytest.mark.dist


def _exchanges() -> list[str]:
    import torch

    return [finding.what for finding in doctor._processes(torch.device("cpu"))]


def test_processes_measure_their_exchanges_together() -> None:
    assert run_in_processes(_exchanges) == [["versions of all", "all-reduce", "slowest process", "clocks"]] * 2
