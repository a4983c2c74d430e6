"""``python tools/test.py CONFIG ...`` is ``selfsup test CONFIG ...``."""

import sys

from selfsup.cli.main import run_tool

sys.exit(run_tool("test"))
