"""``python tools/export.py CONFIG CHECKPOINT ...`` is ``selfsup export CONFIG CHECKPOINT ...``."""

import sys

from selfsup.cli.main import run_tool

if __name__ == "__main__":
    sys.exit(run_tool("export"))
