"""Terminals that cannot show every sign, and settings that are inherited from another program."""

import io
import os
import sys
from pathlib import Path

import pytest

from selfsup.cli import main
from selfsup.engine.logging.lines import open_log


def test_a_terminal_without_utf8_and_an_inherited_backend_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert main(["train", "swav/swav_scenes", "--dry-run"]) == 0
    sys.stdout.flush()
    assert b"learning rate" in shown.getvalue() and b"?????" in shown.getvalue()
    assert "MPLBACKEND" not in os.environ


def test_lines_with_any_sign_reach_terminal_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    log = open_log("signs", level="INFO", file=tmp_path / "log", to_terminal=True)
    log.info("grün ▁▂")
    for handler in log.handlers:
        handler.close()
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("grün ▁▂\n")
    assert shown.getvalue().endswith(b"gr?n ??\n")
