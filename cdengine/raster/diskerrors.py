"""Turns what GDAL and the system say about failed writing into one line with the reason."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError  # rasterio raises it unwrapped in places and offers no public name
from rasterio.errors import RasterioError

from cdengine.errors import DiskFullError, OutputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PROBE_BYTES = 4 << 20  # a disk that takes as much is not full


@contextmanager
def writing(*paths: Path) -> Iterator[None]:
    """Within the block, errors of the disk or of GDAL become DiskFullError or OutputError about the files."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise write_error(error, *paths) from error


def write_error(error: Exception, *paths: Path) -> OutputError:
    """The error to raise for a failed write of one of `paths`, files that will be thrown away."""
    if getattr(error, "errno", None) in FULL or any(_full(path) for path in paths):
        return DiskFullError(f"{paths[0].parent}: the disk is full; free some space or write to another disk")
    reason = " ".join(str(error.__cause__ or error).split())
    return OutputError(f"{paths[0].name}: writing failed ({reason}); check the disk and run again")


def _full(path: Path) -> bool:
    """Whether the file cannot grow. GDAL keeps the system's reason to itself, so it is tried."""
    try:
        with open(path, "ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in FULL
    return False
