"""Reading tar headers, against the standard library's reader."""

import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from selfsup.data.shards.tar_members import tar_members

NAMES = (
    "a.jpg",
    "folder/b.cls",
    "x" * 150 + "/" + "y" * 90 + ".jpg",
    "ü/ß.png",
    "n" * 300 + ".webp",
    "../../etc/z.jpg",
)


def write_tar(path: Path, *, form: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(NAMES):
            if len(name.encode()) > 256 and form == tarfile.USTAR_FORMAT:
                continue
            member = tarfile.TarInfo(name)
            member.size = 700 * number
            tar.addfile(member, io.BytesIO(bytes([number]) * member.size))
        for kind, name in ((tarfile.DIRTYPE, "d"), (tarfile.SYMTYPE, "s.jpg"), (tarfile.LNKTYPE, "h.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)


def found(path: Path) -> list[tuple[str, int, int]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [(os.fsdecode(name), offset, size) for name, offset, size in tar_members(descriptor)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_finds_the_files_that_tarfile_finds_and_follows_no_link(form: int, tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", form=form)
    with tarfile.open(tmp_path / "t.tar") as tar:
        expected = [(each.name, each.offset_data, each.size) for each in tar if each.isreg()]
    assert found(tmp_path / "t.tar") == expected
    assert len(expected) >= 5


def test_a_size_beyond_eight_gigabytes_is_read_and_rejected_where_the_file_is_smaller(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = 9 << 30
    (tmp_path / "t.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ValueError, match="9,663,676,416"):
        found(tmp_path / "t.tar")


def header(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("long")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b" + bytes(1000),
        header(b"0", 100),
        header(b"x", 2 << 20) + bytes(3 << 20),
        header(b"L", 2 << 20) + bytes(3 << 20),
        header(b"x", 20) + b"99999999 path=a.jpg\n" + bytes(1500),
        header(b"0", 0).replace(b"long", b"lone"),
    ],
    ids=["empty", "compressed", "cut short", "huge pax header", "huge name", "lying pax record", "wrong checksum"],
)
def test_what_cannot_be_a_tar_is_rejected_before_it_takes_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(content)
    with pytest.raises(ValueError):
        found(tmp_path / "t.tar")


def test_bytes_of_a_header_may_be_damaged_without_another_kind_of_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar")
    whole = (tmp_path / "t.tar").read_bytes()
    good = found(tmp_path / "t.tar")
    for position in range(0, 512, 3):
        (tmp_path / "t.tar").write_bytes(whole[:position] + bytes([whole[position] ^ 0x85]) + whole[position + 1 :])
        with suppress(ValueError):
            assert len(found(tmp_path / "t.tar")) <= len(good)
