import gc
import multiprocessing
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from selfsup.data.sources.path_table import Contents, PathTable, write_path_table
from selfsup.data.sources.source import LabelSets
from selfsup.errors import DataError

COUNT = 50_000


def made(file: Path | None, count: int = 10, first: int = 0) -> PathTable:
    numbers = range(first, first + count)
    paths = (f"{number // 1000:05}/{number:012}.jpg".encode() for number in numbers)
    return write_path_table(paths, lambda: Contents({"labels": np.arange(count) % 7}, header={"seen": 3}), file=file)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PathTable:
    return made(tmp_path_factory.mktemp("tables") / "large.paths", COUNT)


def test_paths_cost_their_bytes_and_sixteen_more_with_a_label_on_the_disk_alone(table: PathTable) -> None:
    assert len(table) == COUNT
    assert table[0] == b"00000/000000000000.jpg" and table[COUNT - 1] == b"00049/000000049999.jpg"
    assert table.labels is not None and table.labels[8] == 1
    assert table.header["seen"] == 3
    assert os.path.getsize(table.file or "") <= COUNT * (22 + 8 + 8) + 300
    assert isinstance(table._mapped, np.memmap)
    assert all(np.shares_memory(part, table._mapped) for part in (table._offsets, table._bytes, table.labels))
    pickled = pickle.dumps(table)
    assert len(pickled) < 300 and pickle.loads(pickled)[1234] == table[1234]


@pytest.mark.dist
def test_a_spawned_worker_maps_the_same_file(table: PathTable) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(table.__getitem__, (77,)) == table[77]


def test_several_labels_of_a_path_are_read_back() -> None:
    sets = LabelSets(np.array([4, 0, 2, 2]), np.array([0, 2, 3, 4]), 5)
    arrays = {"labels": sets.numbers, "label_offsets": sets.offsets}
    table = write_path_table([b"a", b"bc", b"def"], lambda: Contents(arrays, header={"classes": list("abcde")}))
    assert [table[index] for index in range(3)] == [b"a", b"bc", b"def"]
    assert isinstance(table.labels, LabelSets)
    rows = [[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]]
    assert [table.labels[index].tolist() for index in range(3)] == rows


def test_writing_takes_no_memory_that_grows_with_the_number_of_paths(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        write_path_table((b"%012d.jpg" % number for number in range(250_000)), file=tmp_path / "table")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # measured 3.1 at any number; the paths alone would add 4, their offsets 2


def test_a_table_in_memory_holds_the_same_and_travels_by_value(tmp_path: Path) -> None:
    small, kept = made(None), made(tmp_path / "kept")
    copy = pickle.loads(pickle.dumps(small))
    assert [copy[index] for index in range(10)] == [kept[index] for index in range(10)]
    np.testing.assert_array_equal(copy.labels, kept.labels)
    assert small.header == kept.header and small.file is None


def test_a_worker_rejects_another_list_that_has_taken_the_name(tmp_path: Path) -> None:
    kept = made(tmp_path / "kept")
    sent = pickle.dumps(kept)
    made(tmp_path / "kept")
    assert pickle.loads(sent)[3] == kept[3]
    made(tmp_path / "kept", first=1)
    assert kept[3] == b"00000/000000000003.jpg"  # the mapped file lives on
    with pytest.raises(DataError, match="kept: the images changed and were listed anew"):
        pickle.loads(sent)


def test_a_kept_file_stays_and_is_written_in_one_go(tmp_path: Path) -> None:
    def breaks_off() -> object:
        yield b"a.jpg"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_path_table(breaks_off(), file=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    made(tmp_path / "kept")
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert PathTable(tmp_path / "kept")[9] == b"00000/000000000009.jpg"


def test_another_file_is_rejected(tmp_path: Path) -> None:
    for text in ("hello", "hello, this is a longer note"):
        (tmp_path / "notes.txt").write_text(text)
        with pytest.raises(ValueError, match="not a path table"):
            PathTable(tmp_path / "notes.txt")
