"""Finds files that were cut short or never finished, before hours of work: codecs and headers alone do not tell.

A GeoTIFF whose writer was killed opens without an error and reads as zeros, "unchanged" everywhere.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from cdengine.errors import CorruptError, NotFoundInputError
from cdengine.raster.paths import SourcePath

_CHUNK = 8 << 20
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200
_TYPES = {2: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_OFFSETS, _COUNTS, _SUB_IFDS, _NODATA = (273, 324), (279, 325), 330, 42113
_MAX_IFDS = 4096

Directory = dict[int, np.ndarray[Any, np.dtype[Any]]]


def check(path: SourcePath, label: str, stop: Callable[[], None]) -> None:
    """Checks a local file against itself and its archive.

    Args:
        path: what will be opened; a remote path is not checked.
        label: how a message names it.
        stop: called between pieces of work; raises to cancel.

    Raises:
        CorruptError: cut short, never finished, or damaged inside its archive.
        NotFoundInputError: the archive has no such member.
    """
    if path.container is None:
        return
    if path.gdal.startswith("/vsizip/"):
        _check_archive(path, label, stop)
        return
    size = path.container.stat().st_size
    with open(path.container, "rb") as stream:
        head = stream.read(16)
        if _is_tiff(head):
            _check_tiff(stream, size, head, path, label)
        elif head.startswith(b"\x89PNG"):
            stream.seek(max(0, size - 64))
            if b"IEND" not in stream.read():
                raise _cut(path, label, "the end of the PNG is missing")
        elif head[4:8] == b"jP  ":
            _check_boxes(stream, size, path, label)


def declared_nodata(path: SourcePath) -> str | None:
    """The text of a GeoTIFF's nodata tag: rasterio does not tell of a value that the pixels' type cannot hold."""
    if path.container is None or path.gdal != str(path.container):
        return None
    with open(path.container, "rb") as stream:
        head = stream.read(16)
        if not _is_tiff(head):
            return None
        order, big, first = _header(head)
        tags, _, _ = _directory(stream, first, order, big, path.container.stat().st_size)
    return tags[_NODATA].tobytes().decode("ascii", "replace").strip("\0 ") if _NODATA in tags else None


def _is_tiff(head: bytes) -> bool:
    return head[:2] in (b"II", b"MM") and head[2:4] in (b"*\0", b"\0*", b"+\0", b"\0+")


def _header(head: bytes) -> tuple[str, bool, int]:
    """Byte order, whether it is a BigTIFF, and where the first directory lies."""
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in (head[2], head[3])
    return order, big, int(struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0])


def _cut(path: SourcePath, label: str, fact: str) -> CorruptError:
    return CorruptError(f"{label}: {path.shown} is truncated: {fact}; copy it again and compare the sizes")


def _check_tiff(stream: IO[bytes], size: int, head: bytes, path: SourcePath, label: str) -> None:
    order, big, first = _header(head)
    waiting, seen, missing, blocks = [first], set[int](), 0, 0
    directory_end = 16
    while waiting and len(seen) < _MAX_IFDS:
        offset = waiting.pop(0)
        if offset == 0 or offset in seen:
            continue
        seen.add(offset)
        try:
            directory, following, end = _directory(stream, offset, order, big, size)
        except (struct.error, ValueError) as error:
            raise _cut(path, label, f"its directory at byte {offset:,} lies outside the {size:,} bytes") from error
        directory_end += end
        waiting.append(following)
        waiting += [int(value) for value in directory.get(_SUB_IFDS, ())]
        for where, count in zip(_OFFSETS, _COUNTS, strict=True):
            if where not in directory or count not in directory:
                continue
            starts, lengths = directory[where].astype(np.uint64), directory[count].astype(np.uint64)
            common = min(len(starts), len(lengths))
            ends = starts[:common] + lengths[:common]
            if common and int(ends.max()) > size:
                late = int((ends > size).sum())
                raise _cut(path, label, f"{late:,} of {common:,} blocks end beyond its {size:,} bytes")
            if len(seen) == 1:
                blocks, missing = common, int(((starts[:common] == 0) | (lengths[:common] == 0)).sum())
    # A sparse file has holes and is legal; one without any block that is yet large lost its directory's last update.
    if blocks and missing == blocks and size > directory_end + (1 << 16):
        raise CorruptError(
            f"{label}: {path.shown} was never finished: none of its {blocks:,} blocks is recorded although it has "
            f"{size:,} bytes; write it again"
        )


def _directory(stream: IO[bytes], offset: int, order: str, big: bool, size: int) -> tuple[Directory, int, int]:
    """The tags of an image directory that locate blocks, the next directory's offset, and bytes used."""
    width, entry, form = (8, 20, "Q") if big else (2, 12, "I")
    stream.seek(offset)
    count = struct.unpack(order + ("Q" if big else "H"), stream.read(width))[0]
    if count > 65535 or offset + width + count * entry > size:
        raise ValueError("directory beyond the end")
    raw = stream.read(count * entry)
    after = stream.read(8 if big else 4)
    following = struct.unpack(order + form, after)[0]
    found: Directory = {}
    used = width + len(raw) + len(after)
    for index in range(count):
        piece = raw[index * entry : (index + 1) * entry]
        tag, kind, number = struct.unpack(order + ("HHQ" if big else "HHI"), piece[: 12 if big else 8])
        if tag not in (*_OFFSETS, *_COUNTS, _SUB_IFDS, _NODATA) or kind not in _TYPES:
            continue
        dtype = np.dtype(order + _TYPES[kind])
        length, inline = number * dtype.itemsize, piece[12:] if big else piece[8:]
        if length > len(inline):
            where = struct.unpack(order + form, inline)[0]
            if where + length > size:
                raise ValueError("list of blocks beyond the end")
            stream.seek(where)
            inline = stream.read(length)
            used += length
        found[tag] = np.frombuffer(inline[:length], dtype)
    return found, following, used


def _check_boxes(stream: IO[bytes], size: int, path: SourcePath, label: str) -> None:
    """JPEG 2000: a chain of boxes, each with its length."""
    at = 0
    while at + 8 <= size:
        stream.seek(at)
        length, _, wide = struct.unpack(">I4sQ", stream.read(16).ljust(16, b"\0"))
        if length == 0:  # up to the end of the file: the code stream must end with its mark
            stream.seek(size - 2)
            if stream.read(2) != b"\xff\xd9":
                raise _cut(path, label, "the end of the code stream is missing")
            return
        length = wide if length == 1 else length
        if length < 8 or at + length > size:
            raise _cut(path, label, f"a box of {length:,} bytes at {at:,} ends beyond its {size:,} bytes")
        at += length


def _check_archive(path: SourcePath, label: str, stop: Callable[[], None]) -> None:
    """The member is there, of a believable size, and matches the archive's own checksum."""
    assert path.container is not None
    try:
        with zipfile.ZipFile(path.container) as archive:
            files = [item for item in archive.infolist() if not item.is_dir()]
            chosen = [item for item in files if not path.member or item.filename == path.member]
            if not chosen:
                listed = ", ".join(item.filename for item in files[:8])
                raise NotFoundInputError(f"{label}: {path.shown} is not in the archive, which holds {listed}")
            for item in chosen:
                if item.file_size > _BOMB_BYTES and item.file_size > _BOMB_RATIO * max(1, item.compress_size):
                    raise CorruptError(
                        f"{label}: {path.shown}: {item.compress_size:,} bytes claim to unpack to {item.file_size:,}; "
                        "if that is meant, unpack it yourself"
                    )
                with archive.open(item) as member:
                    while member.read(_CHUNK):
                        stop()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CorruptError(f"{label}: {path.shown} cannot be unpacked ({error}); get a fresh copy") from error
