"""Every conformance record is asked for by a test."""

import ast
import json
from pathlib import Path

TESTS = Path(__file__).parents[1]


def asked_for(ids: set[str]) -> set[str]:
    """The ids that a file which calls ``record`` spells out, whole or as what follows on the text of an f-string."""
    found = set()
    for file in TESTS.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "record"]
        if not calls or file == Path(__file__):
            continue
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        starts = {""} | {
            str(call.args[0].values[0].value)  # type: ignore[attr-defined]
            for call in calls
            if isinstance(call.args[0], ast.JoinedStr)
        }
        found |= {name for name in ids for start in starts if name.startswith(start) and name[len(start) :] in texts}
    return found


def test_every_record_is_asked_for() -> None:
    records = json.loads(Path(__file__).with_name("conformance.json").read_text())
    ids = {each["id"] for each in records}
    assert len(ids) == len(records)
    assert ids == asked_for(ids)
