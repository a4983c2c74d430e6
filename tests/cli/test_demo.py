"""What the demo promises, and what it says when that is not kept. The demo itself: ``make demo``."""

import pytest

from selfsup.cli.runs.demo import CONFIGS, FLOORS, LEADS, missed_leads


def scores(method: str, knn: float, linear: float) -> dict[str, dict[str, float]]:
    rows = {FLOORS[0]: (0.353, 0.348), FLOORS[1]: (0.172, 0.265), method: (knn, linear)}
    return {name: {"knn/top1": k, "linear/top1": p} for name, (k, p) in rows.items()}


def test_every_method_promises_something() -> None:
    assert LEADS.keys() == CONFIGS.keys() and all(LEADS.values())


@pytest.mark.parametrize(
    ("method", "knn", "linear", "missed"),
    [
        ("simclr", 0.447, 0.452, []),
        ("simclr", 0.447, 0.420, ["missed: linear is +7.2 points from raw pixels, expected is at least +8"]),
        ("simclr", 0.353, 0.452, ["missed: knn is +0.0 points from raw pixels, expected is to be ahead"]),
        ("swav", 0.391, 0.416, []),
        ("swav", 0.391, 0.384, ["missed: linear is +3.6 points from raw pixels, expected is at least +5"]),
    ],
)
def test_a_margin_that_is_missed_is_said(method: str, knn: float, linear: float, missed: list[str]) -> None:
    assert missed_leads(scores(method, knn, linear), method) == missed
