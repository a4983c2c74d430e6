"""``python tools/train.py CONFIG ...`` is ``selfsup train CONFIG ...``."""

import sys

from selfsup.cli.main import run_tool

sys.exit(run_tool("train"))
