"""Opens what may be opened and says in one line what is wrong with the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError

from cdengine.errors import NotARasterError, NotFoundInputError
from cdengine.raster.grid import Grid

CACHE_BYTES = 128 << 20


def gdal_env(cache_bytes: int = CACHE_BYTES) -> rasterio.Env:
    """The GDAL settings under which cdengine reads; a context manager.

    Args:
        cache_bytes: GDAL's block cache in BYTES (rasterio passes the number on as it is, unlike the environment variable).
    """
    return rasterio.Env(
        GDAL_CACHEMAX=cache_bytes,
        GDAL_VRT_ENABLE_PYTHON="NO",
        GDAL_VRT_ENABLE_RAWRASTERBAND="NO",
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE",
        GDAL_HTTP_CONNECTTIMEOUT="10",
        GDAL_HTTP_TIMEOUT="30",
        GDAL_HTTP_MAX_RETRY="3",
        GDAL_HTTP_RETRY_DELAY="1",
    )


def display_uri(path: str) -> str:
    return path


@dataclass(frozen=True)
class Raster:
    """A raster that was opened and checked: what is known of it, and how to get further handles."""

    path: str
    name: str
    driver: str
    grid: Grid
    block_shape: tuple[int, int]
    remote: bool
    in_archive: bool
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return self.grid.height

    @property
    def width(self) -> int:
        return self.grid.width

    def open(self) -> Any:
        return rasterio.open(self.path)

    @contextmanager
    def opened(self) -> Iterator[Any]:
        with gdal_env(), self.open() as dataset:
            yield dataset


def members(path: str) -> tuple[Path, ...]:
    return (Path(path),)


def fingerprint(path: str) -> tuple[tuple[str, int, int], ...]:
    return tuple((str(m), m.stat().st_size, m.stat().st_mtime_ns) for m in members(path))


def inspect(path: str, role: str = "before", *, allow_remote: bool = False) -> Raster:
    path = os.fspath(path)
    if not path.startswith("/vsi") and not os.path.exists(path):
        raise NotFoundInputError(f"{role.upper()}: {path} does not exist")
    try:
        with gdal_env(), rasterio.open(path) as ds:
            grid = Grid(ds.crs, ds.transform, ds.height, ds.width)
            return Raster(
                path,
                display_uri(path),
                ds.driver,
                grid,
                ds.block_shapes[0],
                path.startswith("/vsicurl"),
                path.startswith("/vsizip"),
            )
    except RasterioIOError as error:
        raise NotARasterError(f"{role.upper()}: {error}") from error
