"""``python tools/convert_checkpoint.py FILE OUT ...`` is ``selfsup convert FILE OUT ...``."""

import sys

from selfsup.cli.main import run_tool

if __name__ == "__main__":
    sys.exit(run_tool("convert"))
