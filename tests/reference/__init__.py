"""Values our code did not make: conformance records and NumPy transcriptions of the papers."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _records() -> dict[str, dict[str, Any]]:
    records = json.loads(Path(__file__).with_name("conformance.json").read_text())
    return {record["id"]: record for record in records}


def record(name: str) -> dict[str, Any]:
    """The conformance record called ``name``: its input, expected values and tolerance."""
    return _records()[name]
