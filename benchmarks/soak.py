"""A run that everything happens to: is every readable image seen once?

    python -m benchmarks.soak [--minutes 6] [--folder DIR]

Two processes (gloo) train a small network on a ``ShardStream`` to which shards are added all the time. One image of
ten is corrupt (cut short, empty, no image, or one that says it has 3.6 billion pixels). A process is killed with
``kill -9`` every minute, and the same command started again. After a third of the time a shard vanishes of which a part
was shown; after half of it the disk with the work dir, a tmpfs of 32 MiB, fills up, and is emptied half a minute later.
Where no tmpfs may be mounted, which takes root, the disk does not fill, and that is said.

Each image is of one color, its number. So what a step saw is read off the batch itself, by a hook, before the step, and
written to a file on another disk. Of a step that was done several times the last time counts; steps after the last
checkpoint do not count. The exit code is 1 if an image was seen twice, a corrupt one was seen, a readable one of a
shard that stayed was neither seen nor is still to come, or the run ended for any other reason.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook

from selfsup.data import ShardStream
from selfsup.ops.dist import rank
from selfsup.registry import HOOKS
from selfsup.weights.checkpoint import list_checkpoints, step_of

PER_SHARD, PER_PROCESS, PROCESSES = 100, 8, 2
CORRUPT = 0.1
AHEAD = 1500  # images that are there before they are needed
DISK = 32 << 20
FULL_FOR = 30.0  # seconds
CONFIG = """
custom_imports = dict(imports="benchmarks.soak")
custom_hooks = [dict(type="WriteSeen", folder={notes!r})]
work_dir = {work_dir!r}
model = dict(
    type="SimCLR",
    backbone=dict(type="RegNet", depths=(1, 1, 1, 1), widths=(8, 16, 24, 32), group_width=8),
    neck=dict(type="ProjectionNeck", hidden_dims=(32,), out_dim=16),
    loss=dict(type="NTXentLoss", temperature=0.5),
)
train_dataloader = dict(
    batch_size={per_process},
    num_workers=1,
    max_bad_share=0.5,
    dataset=dict(
        type="ShardStream", root={root!r}, log={log!r}, num_images=10_000_000, when_empty="end", shards_at_once=4
    ),
    views=dict(type="MultiView", pipelines=[dict(count=2, transforms=[dict(type="RandomResizedCrop", size=32)])]),
)
optim_wrapper = dict(precision="fp32", optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
param_scheduler = dict(type="WarmupCosine", warmup_steps=10)
train_cfg = dict(max_steps=600_000)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", every_steps=20, max_keep=2), evaluate=None, collapse=None, pictures=None
)
evaluators = {{}}
split = None
"""


@HOOKS.register_module()
class WriteSeen(Hook):
    """Write which images a step is about to see, by their colors, and which process this is.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_train(self, runner: Any) -> None:
        """Write the number of the process."""
        (self.folder / f"pid{rank()}").write_text(str(os.getpid()))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Write the images of the step, and take as long as a larger network would."""
        (batch,) = data_batch  # one micro-batch a step
        colors = batch["views"][0][:, :, 0, 0].long().tolist()
        seen = [red << 16 | green << 8 | blue for red, green, blue in colors]
        with (self.folder / f"seen{rank()}.jsonl").open("a") as file:
            file.write(json.dumps([runner.iter + 1, seen]) + "\n")
        time.sleep(0.1)


def add_shard(root: Path, number: int, rng: random.Random) -> set[int]:
    """A shard appears whole; the images in it that are corrupt."""
    corrupt, partial = set[int](), root / f".{number:05d}.partial"
    with tarfile.open(partial, "w") as tar:
        for row in range(PER_SHARD):
            image = number * PER_SHARD + row
            color = [image & 255, image >> 8 & 255, image >> 16]  # BGR
            content = cv2.imencode(".png", np.full((40, 40, 3), color, np.uint8))[1].tobytes()
            if rng.random() < CORRUPT:
                corrupt.add(image)
                huge = content[:16] + (60_000).to_bytes(4, "big") * 2 + content[24:]
                content = rng.choice([content[: len(content) // 2], b"", rng.randbytes(200), huge])
            member = tarfile.TarInfo(f"{image:08d}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    partial.rename(root / f"{number:05d}.tar")
    return corrupt


class Soak:
    """The folders, and what has happened so far."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.root, self.notes, self.disk = (folder / name for name in ("shards", "notes", "disk"))
        for path in (self.root, self.notes, self.disk):
            path.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(self.disk)], capture_output=True, check=False
        )
        self.is_small = made.returncode == 0
        self.work_dir, self.log = self.disk / "run", self.disk / "generations.jsonl"
        self.config = folder / "soak_config.py"
        paths = {"notes": self.notes, "work_dir": self.work_dir, "root": self.root, "log": self.log}
        texts = {name: str(path) for name, path in paths.items()}
        self.config.write_text(CONFIG.format(per_process=PER_PROCESS, **texts))
        self.rng = random.Random(0)
        self.began = time.monotonic()
        self.seconds = seconds
        self.corrupt, self.added, self.gone = set[int](), 0, set[int]()
        self.happened: Counter[str] = Counter()
        self.filled = 0.0

    @property
    def passed(self) -> float:
        """The share of the time that is over."""
        return (time.monotonic() - self.began) / self.seconds

    def say(self, text: str) -> None:
        """With the time."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def shown(self) -> dict[int, list[int]]:
        """The images of each step that all processes began, as it was done the last time."""
        steps: list[dict[int, list[int]]] = []
        for file in sorted(self.notes.glob("seen*.jsonl")):
            steps.append(dict(json.loads(line) for line in file.read_text().splitlines() if line.endswith("]")))
        if len(steps) < PROCESSES:
            return {}
        return {step: [image for each in steps for image in each[step]] for step in steps[0] if step in steps[1]}

    def feed(self) -> None:
        """Add shards before they are needed."""
        steps = self.shown()
        need = max(steps, default=0) * PER_PROCESS * PROCESSES + AHEAD
        while self.passed < 1 and self.added * PER_SHARD * (1 - CORRUPT) < need:
            self.corrupt |= add_shard(self.root, self.added, self.rng)
            self.added += 1

    def vanish(self) -> None:
        """Take away the shard that the last checkpoint has shown most of, of which a part is still to come."""
        if saved := list_checkpoints(self.work_dir):
            shard = Counter(image // PER_SHARD for image in self.shown()[step_of(saved[-1])]).most_common(1)[0][0]
            (self.root / f"{shard:05d}.tar").unlink()
            self.gone.add(shard)
            self.say(f"shard {shard} vanishes")

    def fill(self) -> None:
        """Leave no room on the disk of the work dir."""
        self.say("the disk is full")
        with (self.disk / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                self.filled = time.monotonic()

    def kill(self) -> bool:
        """``kill -9`` one process of the run; whether there was one."""
        try:
            pid = int((self.notes / f"pid{self.rng.randrange(PROCESSES)}").read_text())
            os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        self.happened["kills"] += 1
        self.say(f"a process is killed, {max(self.shown(), default=0)} steps were begun")
        return True

    def run(self) -> None:
        """Start the run again and again, until it has shown all there is."""
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"]
        command += ["-m", "selfsup", "train", str(self.config), "--resume", "--launcher", "pytorch", "--device", "cpu"]
        root = Path(__file__).parents[1]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        next_kill = 60.0
        while True:
            for file in self.notes.glob("pid*"):
                file.unlink()
            self.feed()
            self.happened["starts"] += 1
            hit, before, first = False, self.said(), max(self.shown(), default=0)
            with (self.notes / "said.txt").open("ab") as said:
                launched = subprocess.Popen(command, env=environment, cwd=root, stdout=said, stderr=said)
                while launched.poll() is None:
                    time.sleep(0.5)
                    self.feed()
                    if self.passed > 1 / 3 and not self.gone:
                        self.vanish()
                    under_way = not hit and max(self.shown(), default=0) > first + 20
                    if self.passed > 1 / 2 and under_way and self.is_small and not self.happened["full disks"]:
                        self.happened["full disks"] += 1
                        self.fill()
                    if self.filled and time.monotonic() - self.filled > FULL_FOR:
                        self.empty()
                    due = time.monotonic() - self.began > next_kill and self.passed < 1 and not self.filled
                    if due and not hit and self.kill():
                        hit, next_kill = True, next_kill + 60
            said_now = self.said()[len(before) :]
            errors = [line for line in said_now.splitlines() if line.startswith("error: ")]
            self.say(f"the run ends with code {launched.returncode}; {errors[0] if errors else 'no error of its own'}")
            if "the stream ends after" in said_now:
                if self.passed >= 1:
                    return
            elif self.filled:  # somebody has to look after it
                time.sleep(max(0.0, FULL_FOR - (time.monotonic() - self.filled)))
                self.empty()
            elif not hit:
                self.happened["unexpected ends"] += 1
                print(said_now[-3000:], flush=True)
                if self.happened["unexpected ends"] > 3:
                    return

    def said(self) -> str:
        """What the run has said so far."""
        file = self.notes / "said.txt"
        return file.read_text(errors="replace") if file.exists() else ""

    def empty(self) -> None:
        """There is room again."""
        (self.disk / "filler").unlink()
        self.filled = 0.0
        self.say("there is room on the disk again")

    def verdict(self) -> int:
        """Say what was seen; 1 if it was not what it should be."""
        last = step_of(list_checkpoints(self.work_dir)[-1])
        steps = self.shown()
        kept = [image for step in range(1, last + 1) for image in steps[step]]
        counts = Counter(kept)
        stream = ShardStream(self.root, log=self.log, num_images=10_000_000, when_empty="end")
        end, final = stream.generations[-1].end, stream.generations[-1]
        coming = [stream.place(position) for position in range(len(kept), end)]
        coming += [final.place(end + spare) for spare in range(final.num_spare)]
        still_to_come = {int(Path(name).stem) * PER_SHARD + row for name, row in coming}
        stayed = {shard * PER_SHARD + row for shard in range(self.added) for row in range(PER_SHARD)} - self.corrupt
        vanished = {image for image in stayed if image // PER_SHARD in self.gone}
        stayed -= vanished
        joined = {int(Path(name).stem) for generation in stream.generations for name in generation.shards}
        never = {image for image in stayed if image // PER_SHARD not in joined}  # shards that came too late
        missed = stayed - set(counts) - still_to_come - never
        twice = [image for image, times in counts.items() if times > 1]
        events = ", ".join(f"{count} {name}" for name, count in self.happened.items())
        print(
            f"{events}, {len(self.gone)} vanished shard{'' if self.is_small else '; the disk did not fill: no tmpfs'}\n"
            f"{last:,} steps, {len(kept):,} images seen; {len(self.corrupt):,} of {self.added * PER_SHARD:,} corrupt, "
            f"{len(set(counts) & self.corrupt)} of them seen\n"
            f"of {len(stayed):,} readable images whose shard stayed {len(stayed & set(counts)):,} were seen once, "
            f"{len(twice)} twice, {len(missed)} missed, {len(stayed - set(counts) - missed):,} are still to come; "
            f"of the vanished shard {len(vanished & set(counts))} of {len(vanished)} were seen"
        )
        return int(bool(twice or missed or set(counts) & self.corrupt or self.happened["unexpected ends"]))


def main() -> int:
    """Run, look, and tidy up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, help="where to (default: a temporary folder)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        soak = Soak(Path(name), 60 * chosen.minutes)
        try:
            soak.run()
            return soak.verdict()
        finally:
            if soak.is_small:
                subprocess.run(["umount", "--lazy", str(soak.disk)], check=False)


if __name__ == "__main__":
    sys.exit(main())
