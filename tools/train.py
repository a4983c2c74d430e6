"""``python tools/train.py CONFIG ...`` is ``selfsup train CONFIG ...``."""

import sys

from selfsup.cli.main import run_tool

if __name__ == "__main__":  # a worker process imports this file too
    sys.exit(run_tool("train"))
