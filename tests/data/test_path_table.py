import gc
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from selfsup.data.label_sets import LabelSets
from selfsup.data.path_table import PathTable, write_path_table

COUNT = 200_000


def made(file: Path | None = None, count: int = COUNT) -> PathTable:
    paths = (f"{number // 1000:05}/{number:012}.jpg".encode() for number in range(count))
    return write_path_table(paths, lambda: (np.arange(count) % 7, {"classes": None}), file=file)


def test_paths_cost_their_bytes_and_sixteen_more_with_a_label() -> None:
    table = made()
    assert len(table) == COUNT
    assert table[0] == b"00000/000000000000.jpg"
    assert table[199_999] == b"00199/000000199999.jpg"
    assert table.labels is not None
    assert table.labels[8] == 1
    assert table.nbytes <= COUNT * (22 + 8 + 8) + 200


def test_several_labels_of_a_path_are_read_back() -> None:
    sets = LabelSets(np.array([4, 0, 2, 2]), np.array([0, 2, 3, 4]), 5)
    table = write_path_table([b"a", b"bc", b"def"], lambda: (sets, {}))
    assert [table[index] for index in range(3)] == [b"a", b"bc", b"def"]
    assert table.labels is None and table.label_sets is not None
    assert [table.label_sets.row(index).tolist() for index in range(3)] == [
        [1, 0, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
    ]
    assert isinstance(table.label_sets.numbers.base, np.memmap)


def test_pickling_sends_the_name_of_the_file_only() -> None:
    table = made()
    pickled = pickle.dumps(table)
    assert len(pickled) < 300
    assert pickle.loads(pickled)[1234] == table[1234]


def test_nothing_is_read_into_memory() -> None:
    table = made()
    assert all(isinstance(part.base, np.memmap) for part in (table._offsets, table._bytes))
    assert isinstance(table.labels.base if table.labels is not None else None, np.memmap)


def test_the_temporary_file_goes_away_with_the_table() -> None:
    table = made(count=10)
    file = table.file
    assert os.path.exists(file)
    del table
    gc.collect()
    assert not os.path.exists(file)


def test_a_forked_worker_that_drops_its_copy_leaves_the_file() -> None:
    holder = {"table": made(count=10)}
    worker = multiprocessing.get_context("fork").Process(target=holder.clear)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert os.path.exists(holder["table"].file)


@pytest.mark.dist
def test_a_spawned_worker_maps_the_same_file() -> None:
    table = made(count=1000)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(table.__getitem__, (77,)) == table[77]
    assert os.path.exists(table.file)


def test_a_kept_file_stays_and_is_written_in_one_go(tmp_path: Path) -> None:
    def breaks_off() -> object:
        yield b"a.jpg"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_path_table(breaks_off(), lambda: (None, {}), file=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    made(tmp_path / "kept", count=10)
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert PathTable(tmp_path / "kept")[9] == b"00000/000000000009.jpg"


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="not a path table"):
        PathTable(tmp_path / "notes.txt")
