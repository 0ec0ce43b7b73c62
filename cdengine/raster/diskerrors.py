"""Turns what GDAL and the system say about failed writing into one line with the reason."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError  # rasterio raises it unwrapped in places and offers no public name
from rasterio.errors import RasterioError

from cdengine.errors import DiskFullError, OutputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LITTLE = 1 << 20  # with less than this free, a failed write is taken for a full disk


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block, errors of the disk or of GDAL become DiskFullError or OutputError about `path`."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise write_error(path, error) from error
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: Exception) -> OutputError:
    """The error to raise for a failed write of `path`."""
    reason = " ".join(str(error.__cause__ or error).split())
    low = shutil.disk_usage(path.parent).free < LITTLE
    if low or getattr(error, "errno", None) in FULL or "No space left" in reason or "File too large" in reason:
        return DiskFullError(f"{path.parent}: the disk is full; free some space or write to another disk")
    return OutputError(f"{path.name}: writing failed ({reason}); check the disk and run again")
