"""``selfsup train --data FOLDER --budget 15m``: first line of progress in time, the end on time, pictures there.

    python -m benchmarks.first_minutes FOLDER

Keep the machine otherwise idle. 0 when all three hold.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selfsup.planning.budget import parse_budget

FIRST, TOLERANCE = 40.0, 0.1
PICTURES = ("views.png", "neighbors.png", "curves.png", "embedding.png")


def main() -> int:
    """Run the command with its output shown, and say what held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--budget", default="15m", help="default: %(default)s")
    parser.add_argument("--work-dir", type=Path, help="default: a temporary folder")
    options = parser.parse_args()
    work_dir = options.work_dir or Path(tempfile.mkdtemp(prefix="first_minutes_"), "run")
    budget = parse_budget(options.budget)
    command = [sys.executable, "-m", "selfsup", "train", "--data", options.folder, "--device", "cpu"]
    started, first = time.monotonic(), float("inf")
    with subprocess.Popen(
        [*command, "--budget", options.budget, "--work-dir", str(work_dir)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic() - started
            if re.search(r"step \d+/\d+", line):
                first = min(first, now)
            print(f"{now:7.1f} s  {line}", end="", flush=True)
    took = time.monotonic() - started
    missing = [name for name in PICTURES if not (work_dir / name).is_file()]
    results = {
        f"first line of progress after {first:.1f} s (at most {FIRST:.0f})": first <= FIRST,
        f"end after {took:.0f} s of {budget:.0f} (within {TOLERANCE:.0%})": abs(took - budget) <= TOLERANCE * budget,
        f"pictures missing: {', '.join(missing) or 'none'}": not missing,
        f"exit code {process.returncode}": process.returncode == 0,
    }
    for result, held in results.items():
        print(f"{'held' if held else 'MISSED':7} {result}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
