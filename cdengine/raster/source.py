"""Opens what may be opened and says in one line what is wrong with the rest."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio import DatasetReader
from rasterio._err import CPLE_BaseError  # see diskerrors
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from cdengine.errors import (
    CorruptError,
    DriverError,
    DtypeError,
    GroundControlError,
    InputError,
    NotARasterError,
    NotFoundInputError,
    PermissionInputError,
    RemoteError,
    SubdatasetsError,
    TooLargeError,
    TransformError,
    VrtUnsafeError,
)
from cdengine.events import Reporter
from cdengine.raster import intact, vrt
from cdengine.raster.grid import Grid
from cdengine.raster.paths import SourcePath, display_uri, parse

__all__ = ["Raster", "display_uri", "fingerprint", "gdal_env", "inspect", "members", "open_raster"]

CACHE_BYTES = 32 << 20  # cells are whole blocks, read once: a larger cache was measured to bring nothing
MAX_PIXELS = 10**12  # a million by a million: more is a header that nobody meant
MAX_BANDS = 4096
MAX_BLOCK_BYTES = 256 << 20
# Drivers that fetch from elsewhere whatever their file says; a local file may not do that unasked.
_NETWORK_DRIVERS = {"WMS", "WMTS", "WCS", "STACTA", "STACIT", "HTTP", "EEDAI", "PLMosaic"}
# Patience with servers; the user's environment wins. One that sends nothing is given up and asked again, one that is
# slow is waited for: so the time-out of a whole request is long and that of silence short.
_HTTP = {
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",  # seconds below …
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",  # … so many bytes a second
    "GDAL_HTTP_TIMEOUT": "300",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
_NEEDS = {
    ".ecw": "ECW",
    ".sid": "MrSID",
    ".jp2": "JP2OpenJPEG",
    ".nc": "netCDF",
    ".h5": "HDF5",
    ".he5": "HDF5",
    ".hdf": "HDF4",
    ".kea": "KEA",
    ".fits": "FITS",
    ".pdf": "PDF",
    ".heic": "HEIF",
}
_opening = threading.Lock()


def gdal_env(cache_bytes: int = CACHE_BYTES, *, remote: bool = False) -> rasterio.Env:
    """The GDAL settings under which cdengine reads, as a context manager; set on purpose, never by a version's default.

    Args:
        cache_bytes: GDAL's block cache in BYTES (rasterio hands the number on as it is; the shell's variable is MB).
        remote: side files are not looked for: each would be a request.
    """
    return rasterio.Env(
        GDAL_CACHEMAX=cache_bytes,
        GDAL_VRT_ENABLE_PYTHON="NO",
        GDAL_VRT_ENABLE_RAWRASTERBAND="NO",
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR" if remote else "TRUE",
        **{name: os.environ.get(name, default) for name, default in _HTTP.items()},
    )


@dataclass(frozen=True)
class Raster:
    """A raster that was opened and checked: what is known of it, and how to get further handles.

    Attributes:
        path: the rules' answer to the path that was given.
        driver: GDAL's name of the format.
        grid: its place on earth.
        block_shape: (rows, cols) of a block of the first band.
        remote: fetched over a network.
        in_archive: inside a zip, where jumping back is slow.
        by_gcps: located by ground control points; handles are warped views of it.
        notes: what the user should know.
    """

    path: SourcePath
    driver: str
    grid: Grid
    block_shape: tuple[int, int]
    remote: bool
    in_archive: bool
    by_gcps: bool
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The path without secrets."""
        return self.path.shown

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    def open(self) -> DatasetReader:
        """A further handle; handles are not shared between threads."""
        return _handle(self.path.gdal, self.by_gcps)

    @contextmanager
    def opened(self) -> Iterator[DatasetReader]:
        """A handle for the length of a block, under `gdal_env`."""
        with gdal_env(remote=self.remote), self.open() as dataset:
            yield dataset

    @contextmanager
    def reading(self, role: str) -> Iterator[None]:
        """Within the block, an error of GDAL becomes an error about this raster."""
        try:
            yield
        except RasterioError as error:
            raise _why_not(self.path, role.upper(), self.path.clean(str(error.__cause__ or error))) from error


def open_raster(
    path: str | os.PathLike[str], role: str = "before", *, allow_remote: bool = False, reporter: Reporter | None = None
) -> DatasetReader:
    """Checks a raster (see `inspect`) and opens it; the caller closes it."""
    return inspect(path, role, allow_remote=allow_remote, reporter=reporter).open()


def inspect(
    path: str | os.PathLike[str], role: str = "before", *, allow_remote: bool = False, reporter: Reporter | None = None
) -> Raster:
    """Opens a raster once, checks everything that can be known without reading pixels, and closes it.

    Args:
        path: as the user gave it.
        role: "before" or "after" or another word that messages begin with.
        allow_remote: a local VRT may name remote sources.
        reporter: stops the checks that take time (checksums, archives).

    Raises:
        InputError: one subclass per reason; the message names file, fact and remedy.
    """
    label = role.upper()
    source = parse(path, label)
    if source.container is not None:
        _check_file(source, label)
    stop = (reporter or Reporter()).check
    is_vrt = vrt.is_vrt(source)
    for part in [source, *(vrt.sources(source, label, allow_remote=allow_remote) if is_vrt else [])]:
        intact.check(part, label, stop)
    with gdal_env(remote=source.remote):
        dataset = _open_first(source, label)
        with dataset:
            if dataset.driver == "VRT" and not is_vrt:
                raise VrtUnsafeError(f"{label}: {source.shown} opens as a VRT but does not begin like one; refused")
            if dataset.driver in _NETWORK_DRIVERS and not allow_remote:
                raise RemoteError(
                    f"{label}: {source.shown} fetches from a server ({dataset.driver}); download it first"
                )
            return _checked(dataset, source, label)


def members(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The local files that a source consists of: itself, its zip, all sources of a VRT, and their mask files.

    Raises:
        InputError: the path, or a VRT's source, may not be opened or is missing.
    """
    source = parse(path, "input")
    parts = [source]
    if vrt.is_vrt(source):
        parts += vrt.sources(source, "input", allow_remote=True)
    files = [part.container for part in parts if part.container is not None]
    masks = [Path(f"{file}.msk") for file in files]
    # os.path: Path.is_file raises where the name with its suffix is longer than names can be
    return tuple(dict.fromkeys(files + [mask for mask in masks if os.path.isfile(mask)]))


def fingerprint(path: str | os.PathLike[str]) -> tuple[tuple[str, int, int], ...]:
    """(path, size, mtime_ns) of every member; size and time are -1 for a remote source and for a file that is gone."""
    found = []
    for file in members(path):
        try:
            state = file.stat()
            found.append((str(file.resolve()), state.st_size, state.st_mtime_ns))
        except OSError:
            found.append((str(file.resolve()), -1, -1))
    return tuple(found) or ((display_uri(path), -1, -1),)


def _handle(path: str, by_gcps: bool) -> DatasetReader:
    # catch_warnings swaps a global: one opener at a time. Whether a raster has a place is seen from its grid instead.
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path)
        if not by_gcps:
            return dataset
        # tolerance 0: exact, so that the pixels do not depend on what is read at a time
        has_mask = any(value is not None for value in dataset.nodatavals)
        return WarpedVRT(dataset, resampling=Resampling.bilinear, tolerance=0, add_alpha=not has_mask)


def _check_file(source: SourcePath, label: str) -> None:
    assert source.container is not None
    name = source.shown
    try:
        if source.container.is_dir():
            raise NotARasterError(f"{label}: {name} is a folder; choose a file in it")
        with open(source.container, "rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError as error:
        raise NotFoundInputError(f"{label}: {name} does not exist; check the path") from error
    except PermissionError as error:
        raise PermissionInputError(f"{label}: no permission to read {name}; ask its owner or copy it") from error
    except OSError as error:
        raise NotFoundInputError(f"{label}: {name} cannot be opened ({error.strerror})") from error
    if empty:
        raise NotARasterError(f"{label}: {name} is empty (0 bytes); copy or write it again")


def _open_first(source: SourcePath, label: str) -> DatasetReader:
    try:
        return _handle(source.gdal, False)
    except RasterioError as error:
        raise _why_not(source, label, source.clean(str(error))) from error


def _why_not(source: SourcePath, label: str, reason: str) -> InputError:
    name = source.shown
    if source.remote:
        return RemoteError(f"{label}: {name} cannot be read ({reason}); check address, access and connection")
    needed = _NEEDS.get(Path(source.gdal).suffix.lower())
    if needed and needed not in rasterio.Env().drivers():
        return DriverError(
            f"{label}: {name} needs GDAL's {needed} driver, which this build lacks; convert it to GeoTIFF elsewhere"
        )
    if "not recognized" in reason or "not exist" in reason:
        return NotARasterError(f"{label}: {name} is in no raster format that GDAL knows; give a GeoTIFF or similar")
    return CorruptError(f"{label}: {name} cannot be opened ({reason}); get a fresh copy")


def _checked(dataset: DatasetReader, source: SourcePath, label: str) -> Raster:
    """The raster, or the reason why it cannot be used."""
    name = source.shown
    if dataset.count == 0:
        if dataset.subdatasets:
            listed = ", ".join(dataset.subdatasets[:8]) + (", …" if len(dataset.subdatasets) > 8 else "")
            raise SubdatasetsError(f"{label}: {name} holds several rasters; give one of them: {listed}")
        raise NotARasterError(f"{label}: {name} has no raster bands; choose another file")
    _check_size(dataset, f"{label}: {name}")
    notes = list(_scale_notes(dataset, f"{label} ({name})"))
    declared = intact.declared_nodata(source) if all(value is None for value in dataset.nodatavals) else None
    if declared:
        notes.append(f"{label} ({name}): nodata {declared} cannot occur in {dataset.dtypes[0]}; ignored")
    points, points_crs = dataset.gcps
    values = tuple(dataset.transform)[:6]
    by_gcps = False
    if dataset.crs is None and dataset.transform.is_identity:
        if points and points_crs is not None:
            if len(points) < 3:
                raise TransformError(
                    f"{label}: {name} has an unusable geotransform, or too few control points; georeference it again"
                )
            by_gcps = True
            notes.append(
                f"{label} ({name}) is located by {len(points)} ground control points only; it is warped by them"
            )
        elif dataset.rpcs is not None:
            raise GroundControlError(
                f"{label}: {name} is located by RPCs only, which need a terrain model; orthorectify it first, "
                "for example gdalwarp -rpc -to RPC_DEM=dem.tif IN OUT"
            )
    elif not all(map(math.isfinite, values)) or dataset.transform.is_degenerate:
        raise TransformError(f"{label}: {name} has an unusable geotransform {values}; georeference it again")
    if by_gcps:
        try:
            with _handle(source.gdal, True) as view:
                grid, blocks = Grid(view.crs, view.transform, view.height, view.width), view.block_shapes[0]
        except (RasterioError, CPLE_BaseError) as error:  # points on one line, say
            raise TransformError(
                f"{label}: {name} cannot be placed by its control points ({error}); georeference it again"
            ) from error
    else:
        grid, blocks = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width), dataset.block_shapes[0]
    archived = "/vsizip/" in source.gdal
    return Raster(source, dataset.driver, grid, blocks, source.remote, archived, by_gcps, tuple(notes))


def _check_size(dataset: DatasetReader, label: str) -> None:
    types = [np.dtype("complex64" if name.startswith("complex") else name) for name in dataset.dtypes]
    pixels, per_pixel = dataset.width * dataset.height, sum(dtype.itemsize for dtype in types)
    if pixels > MAX_PIXELS or dataset.count > MAX_BANDS:
        raise TooLargeError(
            f"{label} claims {dataset.width:,} x {dataset.height:,} pixels x {dataset.count:,} band(s) = "
            f"{pixels * per_pixel / 1e9:,.0f} GB; at most {MAX_PIXELS:,} pixels and {MAX_BANDS:,} bands are read"
        )
    rows, cols = dataset.block_shapes[0]
    interleaved = str(dataset.profile.get("interleave", "")).lower() == "pixel"
    block = rows * cols * (per_pixel if interleaved else types[0].itemsize)
    if block > MAX_BLOCK_BYTES:
        raise TooLargeError(
            f"{label} has blocks of {cols:,} x {rows:,} pixels = {block / 1e6:,.0f} MB; rewrite it in tiles: "
            "gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN OUT"
        )
    if any(dtype.kind == "c" for dtype in types):
        raise DtypeError(
            f"{label} holds complex numbers; for SAR give the amplitude or intensity: "
            "gdal_translate DERIVED_SUBDATASET:AMPLITUDE:IN OUT"
        )


def _scale_notes(dataset: DatasetReader, label: str) -> Iterator[str]:
    if any(scale != 1 for scale in dataset.scales) or any(offset != 0 for offset in dataset.offsets):
        yield (
            f"{label} declares scale {dataset.scales[0]:g} and offset {dataset.offsets[0]:g}; stored values are used, "
            "the declaration is not applied"
        )
