"""Twenty steps of every method give the losses they gave when they were recorded, see ``record.py``."""

import json

import pytest

from selfsup.registry import METHODS
from tests.golden.recipes import RECIPES
from tests.golden.record import STEPS, losses_of, recorded_file

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("name", RECIPES)
def test_the_losses_are_those_recorded(name: str) -> None:
    recorded = json.loads(recorded_file(name).read_text())["losses"]
    assert len(recorded) == STEPS
    assert losses_of(RECIPES[name]) == pytest.approx(recorded, rel=1e-6)


def test_every_method_of_ours_has_recorded_losses() -> None:
    METHODS.import_from_location()
    ours = {
        name for name, method in METHODS.module_dict.items() if method.__module__.startswith("selfsup.methods.")
    }  # Detector: tests/transfer
    assert ours == {recipe.model["type"] for recipe in RECIPES.values()}
    assert {file.stem for file in recorded_file("any").parent.glob("*.json")} == set(RECIPES)
