"""Where the files in a tar lie, from its headers alone: nothing is unpacked, and no name is taken for a path."""

import os
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = 512
_MOST_HEADER = 1 << 20  # bytes of a long name or of pax records; a path of any system is shorter
_NOTHING = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_SPACES = 8 * ord(" ")


class Member(NamedTuple):
    """A regular file in a tar: its name as written there, where its bytes begin, and how many there are."""

    name: bytes
    offset: int
    size: int


def tar_members(tar: int) -> Iterator[Member]:
    """The regular files of an uncompressed tar, in their order; folders, links and devices are passed over.

    Args:
        tar: a file descriptor that can be read at any offset.

    Raises:
        ValueError: if it is no tar, is cut short, or a header says what cannot be.

    Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".
    """
    end = os.fstat(tar).st_size
    position, long_name, records = 0, b"", dict[bytes, bytes]()
    while True:
        header = os.pread(tar, BLOCK, position)
        if header == _NOTHING:
            return
        if len(header) < BLOCK:
            raise ValueError(f"cut short: no end mark after {position:,} bytes")
        _check(header, position)
        kind = header[156:157]
        size = int(records[b"size"]) if records.get(b"size", b"").isdigit() else _number(header[124:136])
        content = position + BLOCK
        if not 0 <= size <= end - content:
            raise ValueError(
                f"a file at byte {position:,} says that it has {size:,} bytes, and {end - content:,} follow"
            )
        position = content + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in (b"L", b"x"):
            if size > _MOST_HEADER:
                raise ValueError(f"a header of {size:,} bytes at byte {content:,}, at most {_MOST_HEADER:,} are read")
            described = os.pread(tar, size, content)
            if kind == b"L":
                long_name = described.rstrip(b"\0")
            else:
                records = _pax_records(described)
            continue
        if kind in (b"g", b"K"):  # for all that follow, and the target of a link
            continue
        if kind in (b"0", b"\0", b"7"):
            yield Member(records.get(b"path") or long_name or _name(header), content, size)
        long_name, records = b"", {}


def _check(header: bytes, position: int) -> None:
    try:
        told = _number(header[_CHECKSUM])
    except ValueError:
        told = -1
    if told != sum(header) - sum(header[_CHECKSUM]) + _SPACES:
        kind = "no tar, or a compressed one" if position == 0 else f"damaged at byte {position:,}"
        raise ValueError(kind)


def _number(field: bytes) -> int:
    """Octal digits or, of what is too large for those, GNU's binary form."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    return int(field.strip(b" \0") or b"0", 8)


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """Lines of ``LENGTH KEY=VALUE``, the length counting itself."""
    records, position = dict[bytes, bytes](), 0
    while position < len(content):
        digits, _, _ = content[position : position + 8].partition(b" ")
        if not digits.isdigit() or not 0 < int(digits) <= len(content) - position:
            raise ValueError("damaged pax header")
        key, equals, value = content[position + len(digits) + 1 : position + int(digits) - 1].partition(b"=")
        if equals:
            records[key] = value
        position += int(digits)
    return records
