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

COUNT = 200_000


def made(file: Path | None, count: int = COUNT, first: int = 0) -> PathTable:
    numbers = range(first, first + count)
    paths = (f"{number // 1000:05}/{number:012}.jpg".encode() for number in numbers)
    return write_path_table(paths, lambda: Contents({"labels": np.arange(count) % 7}, header={"seen": 3}), file=file)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PathTable:
    return made(tmp_path_factory.mktemp("tables") / "large.paths")


def test_paths_cost_their_bytes_and_sixteen_more_with_a_label(table: PathTable) -> None:
    assert len(table) == COUNT
    assert table[0] == b"00000/000000000000.jpg"
    assert table[199_999] == b"00199/000000199999.jpg"
    assert table.labels is not None
    assert table.labels[8] == 1
    assert table.header["seen"] == 3
    assert table.nbytes == os.path.getsize(table.file or "") <= COUNT * (22 + 8 + 8) + 300


def test_several_labels_of_a_path_are_read_back() -> None:
    sets = LabelSets(np.array([4, 0, 2, 2]), np.array([0, 2, 3, 4]), 5)
    table = write_path_table(
        [b"a", b"bc", b"def"],
        lambda: Contents({"labels": sets.numbers, "label_offsets": sets.offsets}, header={"classes": list("abcde")}),
    )
    assert [table[index] for index in range(3)] == [b"a", b"bc", b"def"]
    assert isinstance(table.labels, LabelSets)
    assert [table.labels[index].tolist() for index in range(3)] == [
        [1, 0, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
    ]


def test_pickling_sends_the_name_of_the_file_only(table: PathTable) -> None:
    pickled = pickle.dumps(table)
    assert len(pickled) < 300
    assert pickle.loads(pickled)[1234] == table[1234]


def test_nothing_is_read_into_memory(table: PathTable) -> None:
    assert isinstance(table._mapped, np.memmap)
    assert all(np.shares_memory(part, table._mapped) for part in (table._offsets, table._bytes, table.labels))


def test_writing_takes_no_memory_that_grows_with_the_number_of_paths(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        write_path_table((b"%012d.jpg" % number for number in range(COUNT * 4)), file=tmp_path / "table")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20  # the offsets alone would be 6.4 MB, the paths 12.8


def test_a_table_in_memory_holds_the_same_and_travels_by_value(tmp_path: Path) -> None:
    small, kept = made(None, 10), made(tmp_path / "kept", 10)
    copy = pickle.loads(pickle.dumps(small))
    assert [copy[index] for index in range(10)] == [kept[index] for index in range(10)]
    np.testing.assert_array_equal(copy.labels, kept.labels)
    assert small.header == kept.header
    assert small.file is None


@pytest.mark.dist
def test_a_spawned_worker_maps_the_same_file(table: PathTable) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(table.__getitem__, (77,)) == table[77]


def test_a_worker_rejects_another_list_that_has_taken_the_name(tmp_path: Path) -> None:
    kept = made(tmp_path / "kept", 10)
    sent = pickle.dumps(kept)
    made(tmp_path / "kept", 10)
    assert pickle.loads(sent)[3] == kept[3]
    made(tmp_path / "kept", 10, first=1)
    assert kept[3] == b"00000/000000000003.jpg"  # the mapped file lives on
    with pytest.raises(DataError, match="kept: the images changed and were listed anew while this run was starting"):
        pickle.loads(sent)


def test_a_kept_file_stays_and_is_written_in_one_go(tmp_path: Path) -> None:
    def breaks_off() -> object:
        yield b"a.jpg"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_path_table(breaks_off(), file=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    made(tmp_path / "kept", count=10)
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert PathTable(tmp_path / "kept")[9] == b"00000/000000000009.jpg"


def test_another_file_is_rejected(tmp_path: Path) -> None:
    for text in ("hello", "hello, this is a longer note"):
        (tmp_path / "notes.txt").write_text(text)
        with pytest.raises(ValueError, match="not a path table"):
            PathTable(tmp_path / "notes.txt")
