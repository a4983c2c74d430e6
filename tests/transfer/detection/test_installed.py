"""What ``make`` installs is enough for the tests of detection, which are left out where a package is missing."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_make_installs_what_the_tests_of_detection_need() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (extras,) = re.findall(r"--editable '\.\[([\w,]+)\]'", (ROOT / "Makefile").read_text())
    packages = " ".join(setup["options.extras_require"][name] for name in extras.split(",")).split()
    assert {"pycocotools", "faster-coco-eval"} <= set(packages)
