"""Shards that come and go: one sequence for all processes, each image once, through kills."""

import json
import os
import pickle
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import ShardStream, StepSampler, ViewDataset
from selfsup.data.sampler import FeistelPermutation
from selfsup.errors import ConfigError, DataError, DecodeError
from tests.data.test_web_shards import encoded, write_tar

IMAGES = 5
"""Of a shard."""


def add_shard(root: Path, number: int) -> None:
    """A shard appears whole, as ``selfsup shard`` writes them."""
    files = {f"{number}-{image}.png": encoded(image) for image in range(IMAGES)}
    write_tar(root / f".{number:03d}.partial", files).rename(root / f"{number:03d}.tar")


def stream(root: Path, **changes: Any) -> ShardStream:
    return ShardStream(root, log=root / "log.jsonl", **{"num_images": 1000, "when_empty": "end", **changes})


def sequence(source: ShardStream) -> list[str]:
    """The names of the stream so far."""
    return [source.name(position) for position in range(source.generations[-1].end)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        add_shard(tmp_path, number)
    return tmp_path


def test_each_image_comes_once_and_generations_follow_one_another(root: Path) -> None:
    source = stream(root, shards_at_once=4)
    names = [source.name(position) for position in range(30)]
    assert len(set(names)) == 30
    assert {name[:3] for name in names[:17]} == {"000", "001", "002", "003"}  # and three are spared
    assert names[:17] != sorted(names[:17])
    with pytest.raises(DataError):
        source.image(30)
    add_shard(root, 7)
    assert {source.name(position)[:3] for position in range(30, 35)} == {"007"}
    assert source.image(33).shape == (12, 16, 3)


def test_another_process_and_a_resumed_run_see_the_same_sequence(root: Path) -> None:
    source = stream(root, shards_at_once=2)
    late = source.name(25)
    add_shard(root, 6)
    (root / "000.tar").unlink()
    again = stream(root, shards_at_once=3)  # what is laid down stays
    assert again.name(25) == late and sequence(again) == sequence(source)
    sent = pickle.loads(pickle.dumps(source))
    assert sent.name(25) == late


def test_a_shard_that_is_gone_is_unreadable_and_its_name_never_joins_again(root: Path) -> None:
    source = stream(root)
    names = [source.name(position) for position in range(30)]
    source.image(names.index("002/2-0"))
    (root / "002.tar").unlink()
    with pytest.raises(DecodeError):
        source.image(names.index("002/2-1"))
    add_shard(root, 2)
    with pytest.raises(DataError):
        source.image(30)


def test_a_shard_that_is_still_written_joins_when_it_is_whole(root: Path) -> None:
    whole = (root / "005.tar").read_bytes()
    (root / "005.tar").write_bytes(whole[:2000])
    source = stream(root)
    assert source.place(0) and source.generations[0].shards[-1] == "004.tar"
    (root / "005.tar").write_bytes(whole)
    assert source.name(29) and "005.tar" in source.generations[1].shards


def test_waits_for_new_shards(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        add_shard(tmp_path, 0)
        os._exit(0)
    assert stream(tmp_path, when_empty="wait").name(0).startswith("000/")
    os.waitpid(child, 0)


def test_what_a_killed_writer_has_left_of_a_line_is_passed_over(root: Path) -> None:
    expected = sequence_of_all(root)
    log = root / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"number": 1, "se')
    add_shard(root, 6)
    source = stream(root)
    assert [source.name(position) for position in range(len(expected))] == expected
    assert len({source.name(position) for position in range(35)}) == 35
    assert all(json.loads(line) for line in log.read_text().splitlines())


def sequence_of_all(root: Path) -> list[str]:
    source = stream(root)
    source.place(0)
    return sequence(source)


@pytest.mark.parametrize(
    "line",
    ["{}", '{"number": 1, "seed": 0, "shards": []}', "nonsense", "ESCAPE", "SPARE", '{"position": 0, "spare": 0}'],
)
def test_a_log_that_is_not_its_own_is_rejected(line: str, tmp_path: Path) -> None:
    line = line.replace("SPARE", '{"number": 0, "seed": 0, "shards": [["x.tar", 3]], "spare": 3}')
    line = line.replace("ESCAPE", '{"number": 0, "seed": 0, "shards": [["../../x.tar", 3]]}')
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(DataError) as raised:
        stream(tmp_path)
    assert raised.value.problems[0].path == "log"


def test_a_stream_is_passed_over_once() -> None:
    images = [index for batch in StepSampler(100, 7, total_steps=14, start_step=3, in_order=True) for _, index in batch]
    assert images == list(range(21, 98))
    with pytest.raises(ConfigError) as raised:
        StepSampler(100, 7, total_steps=15, in_order=True)
    assert raised.value.problems[0].path == "train_cfg"


class Shown:
    """What a process sees of a stream, with another image where one is gone, as training does it."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.images = stream(root, **changes)
        self.dataset = ViewDataset(self.images, lambda image, rng: [image])

    def __getitem__(self, position: int) -> tuple[str, list[str]]:
        """The name of the image that is shown, and those that were skipped; ends with a DataError."""
        sample = self.dataset[0, position]
        if isinstance(sample, DataError):
            raise sample
        assert sample["index"] == position
        return self.images.name(position), [name for _, name, _ in sample["bad"]]


@pytest.mark.parametrize("seed", range(6))
def test_while_shards_come_and_go_each_that_stays_is_seen_once_and_no_image_twice(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    options = {"shards_at_once": rng.choice((1, 2, 3, 5)), "seed": seed}
    there, removed, added = set[int](), set[int](), 0
    seen, skipped, done, ended = dict[int, str](), set[str](), 0, False
    for number in range(added, added := 3):
        add_shard(tmp_path, number)
        there.add(number)
    while not ended:
        done = max(0, done - rng.choice((0, 0, 3, 7)))  # resumed from a checkpoint
        ranks = [Shown(tmp_path, **options) for _ in range(rng.choice((1, 2, 4)))]
        for _ in range(rng.randrange(1, 6)):
            event = rng.random()
            if event < 0.3 and added < 15:
                add_shard(tmp_path, added)
                there.add(added)
                added += 1
            elif event < 0.45 and len(there) > 1 and added < 15:
                gone = rng.choice(sorted(there))
                there.remove(gone)
                removed.add(gone)
                (tmp_path / f"{gone:03d}.tar").unlink()
            for rank in rng.sample(range(len(ranks)), len(ranks)):  # whoever is quicker
                position = done + rank
                try:
                    name, bad = ranks[rank][position]
                except DataError:
                    ended = added == 15
                    break
                assert seen.get(position, name) == name or int(seen[position][:3]) in removed
                seen[position] = name
                skipped.update(bad)
            else:
                done += len(ranks)
            if ended:
                break
        while added < 15 and not there:
            add_shard(tmp_path, added)
            there.add(added)
            added += 1
        if added < 15 and rng.random() < 0.5:
            add_shard(tmp_path, added)
            there.add(added)
            added += 1
    last, position = Shown(tmp_path, **options), done
    while True:
        try:
            seen[position], bad = last[position]
            skipped.update(bad)
            position += 1
        except DataError:
            if position >= last.images.generations[-1].end:
                break
            add_shard(tmp_path, added)  # more were taken away than there was left to stand in
            there.add(added)
            added += 1
    counts = Counter(seen[position] for position in range(position))
    assert set(counts.values()) == {1}
    stayed = {f"{shard:03d}/{shard}-{image}" for shard in there for image in range(IMAGES)}
    assert stayed <= set(counts) and removed
    assert {name[:3] for name in skipped} <= {f"{shard:03d}" for shard in removed}


def test_an_image_that_cannot_be_read_is_skipped_and_named_and_its_place_is_taken(tmp_path: Path) -> None:
    for number in range(4):
        files = {f"{number}-{image}.png": encoded(image) for image in range(IMAGES)}
        write_tar(tmp_path / f"{number:03d}.tar", files | ({"2-3.png": b"no image"} if number == 2 else {}))
    source = Shown(tmp_path, shards_at_once=2)
    shown = [source[position] for position in range(19)]
    assert len({name for name, _ in shown}) == 19
    assert [bad for _, bad in shown if bad] == [["002/2-3"]]
    with pytest.raises(DataError):
        source[19]
    again = Shown(tmp_path, shards_at_once=2)
    assert [again[position] for position in range(19)] == [(name, []) for name, _ in shown]


def test_a_log_of_before_there_were_spared_images_is_gone_on_with(root: Path) -> None:
    shards = [[f"{number:03d}.tar", IMAGES] for number in range(3)]
    (root / "log.jsonl").write_text(json.dumps({"number": 0, "seed": 0, "shards": shards}) + "\n")
    for number in range(6):
        stream(root)._indexed(f"{number:03d}.tar")
    source = stream(root)
    order = FeistelPermutation(15, (0, 0))
    assert [source.place(position) for position in range(15)] == [
        (f"{order.at(position) // 5:03d}.tar", order.at(position) % 5) for position in range(15)
    ]
    assert len({source.name(position) for position in range(30)}) == 30


def train(root: Path, rank: int, processes: int, start: int, seen: Path) -> None:
    """A process of a run: reads its part of every step, and notes what it has read."""
    source = stream(root, when_empty="wait", shards_at_once=3)
    sampler = StepSampler(
        60, 4 // processes, total_steps=15, start_step=start, world_size=processes, rank=rank, in_order=True
    )
    with seen.open("a", buffering=1) as notes:
        for step, batch in enumerate(sampler, start):
            for _, index in batch:
                try:
                    source.image(index)
                    notes.write(f"{step} {source.name(index)}\n")
                except DecodeError:
                    notes.write(f"{step} gone:{source.name(index)}\n")
            time.sleep(0.02)


def test_shards_come_and_go_while_processes_are_killed_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    root, rng = tmp_path / "stream", random.Random(0)
    root.mkdir()
    for number in range(4):
        add_shard(root, number)
    done, added, log = 0, 4, Counter[str]()
    for attempt in range(40):
        if done == 15:
            break
        processes = rng.choice((1, 2))
        files = [tmp_path / f"{attempt}-{rank}" for rank in range(processes)]
        children = []
        for rank in range(processes):
            if (child := os.fork()) == 0:
                try:
                    train(root, rank, processes, done, files[rank])
                finally:
                    os._exit(0)
            children.append(child)
        if added < 12:
            add_shard(root, added)
            added += 1
        if attempt == 2:
            (root / "000.tar").unlink()
        time.sleep(rng.uniform(0.1, 0.3))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        lines = [line.split() for file in files if file.exists() for line in file.read_text().splitlines()]
        per_step = Counter(int(step) for step, _ in lines)
        complete = 0
        while per_step[done + complete] == 4:
            complete += 1
        log.update(name for step, name in lines if int(step) < done + complete)  # the steps that a checkpoint keeps
        done += complete
    assert done == 15 and sum(log.values()) == 60
    assert set(log.values()) == {1}
    source = stream(root)
    kept = [source.name(position) for position in range(60)]
    assert {name.removeprefix("gone:") for name in log} == set(kept)
    assert {name for name in log if name.startswith("gone:")} <= {f"gone:000/0-{image}" for image in range(IMAGES)}
    np.testing.assert_array_equal(
        [generation.number for generation in source.generations], range(len(source.generations))
    )
