"""docs/architecture.md draws the layers that the import contract enforces."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_of_the_rooms_is_the_import_contract() -> None:
    picture = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    drawn = [re.split(r"\s{2,}", line)[0].split(" | ") for line in picture.splitlines()]
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    layers = setup["importlinter:contract:layers"]["layers"].strip().splitlines()
    enforced = [layer.replace("selfsup.", "").split(" | ") for layer in layers if not layer.startswith("(")]
    assert drawn == enforced


def test_every_folder_and_page_it_names_is_there() -> None:
    for path in re.findall(r"`((?:[a-z_]+/)*[a-z_]+)`", PAGE.partition("## Where a new part goes")[2]):
        assert (ROOT / "selfsup" / path).exists() or (ROOT / path).exists() or path.startswith("check_"), path
