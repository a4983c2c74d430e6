"""``python tools/model_zoo.py`` brings the computed columns of model_zoo.md up to date."""

from pathlib import Path

from selfsup.planning.zoo import refreshed

page = Path(__file__).resolve().parents[1] / "model_zoo.md"
page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")
