"""One image file as an array with its validity: 8-bit PNG and JPEG through Pillow, everything else through rasterio.

rasterio is imported when a file needs it, so that plain data sets train where there is none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin

from cdengine.errors import (
    BandNumberError,
    BandsError,
    CorruptError,
    DtypeError,
    NotARasterError,
    NotFoundInputError,
    PermissionInputError,
    TooLargeError,
)

Array = np.ndarray[Any, np.dtype[Any]]
Bands = Sequence[int | str] | None

MAX_BYTES = 8 << 30  # of one decoded image: more is a header that nobody meant
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# A file of a data set is opened by the driver that its first bytes ask for: it cannot be a list of further sources.
DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    PNG_MAGIC: "PNG",
    JPEG_MAGIC: "JPEG",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"BM": "BMP",
}
COLOURS = ("red", "green", "blue")


def read_image(path: Path | str, bands: Bands = None) -> tuple[Array, Array]:
    """Reads a whole image.

    Args:
        path: PNG, JPEG, GeoTIFF, JPEG 2000 or BMP; or a VRT that follows the raster room's rules.
        bands: 1-based numbers or descriptions; None: all apart from alpha.

    Returns:
        (C, H, W) in stored dtype, and (H, W) bool: True where every band is data (finite, not nodata, not masked, not
        transparent).

    Raises:
        InputError: a subclass says what is wrong with the file.
        BandNumberError: a band is not there.
    """
    path = Path(path)
    if not _is_plain(path):
        stored = _read_raster(path, bands, indices=False)
        return stored.values, stored.valid
    stored = _read_plain(path)
    pixels = stored.values
    if stored.palette is not None:
        pixels = np.moveaxis(stored.palette[pixels[0]], -1, 0)
    return np.ascontiguousarray(pixels if bands is None else pixels[_numbers(bands, len(pixels), path)]), stored.valid


@dataclass(frozen=True)
class Stored:
    """A file's values as they are, for labels.

    Attributes:
        values: (C, H, W), alpha apart.
        valid: (H, W) bool.
        palette: (N, 3) uint8 where the values are indices into a colour table.
    """

    values: Array
    valid: Array
    palette: Array | None = None


def read_stored(path: Path | str) -> Stored:
    """Reads a file without turning indices into colours; raises as `read_image`."""
    path = Path(path)
    return _read_plain(path) if _is_plain(path) else _read_raster(path, None, indices=True)


def read_bands(path: Path | str) -> tuple[str, ...]:
    """Names of the bands that `read_image` gives without a choice: descriptions, colours, else "band" and number."""
    path = Path(path)
    if _is_plain(path):
        count = len(read_image(path)[0])
        names: tuple[str, ...] = COLOURS if count == 3 else ("",) * count
    else:
        from cdengine.raster.bands import alpha_band, band_names

        with _opened(path) as dataset:
            alpha = alpha_band(dataset)
            names = tuple(name for number, name in enumerate(band_names(dataset), 1) if number != alpha)
            names = COLOURS if names == ("", "", "") and dataset.dtypes[0] == "uint8" else names
    return tuple(name or f"band{number}" for number, name in enumerate(names, 1))


def _is_plain(path: Path) -> bool:
    """Whether Pillow reads the file without loss: what it narrows to 8 bits unasked (16-bit colour) is not."""
    if str(path).startswith("/vsi"):
        return False
    head = _head(path)
    if head.startswith(PNG_MAGIC):
        return len(head) < 26 or head[24] <= 8
    return head.startswith(JPEG_MAGIC)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            head = stream.read(26)
    except OSError as error:
        _refuse(path, error)
    if not head:
        raise NotARasterError(f"{path} is empty (0 bytes); copy or write it again")
    return head


def _refuse(path: Path, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise NotFoundInputError(f"{path} does not exist; check the path") from error
    if isinstance(error, PermissionError):
        raise PermissionInputError(f"{path}: no permission to read it; ask its owner or copy it") from error
    if isinstance(error, IsADirectoryError):
        raise NotARasterError(f"{path} is a folder; name a file") from error
    raise NotFoundInputError(f"{path} cannot be opened ({error.strerror}); check the path") from error


def _decoded(path: Path) -> ImageFile.ImageFile:
    """A PNG or JPEG as it is stored."""
    try:
        with open(path, "rb") as stream:
            is_png = stream.read(len(PNG_MAGIC)) == PNG_MAGIC
            stream.seek(0)
            # The formats' own classes: Image.open would warn of large pictures, which remote sensing is full of.
            kind = PngImagePlugin.PngImageFile if is_png else JpegImagePlugin.JpegImageFile
            picture: ImageFile.ImageFile = kind(stream)
            _check_size(path, picture.width, picture.height, len(picture.getbands()))
            picture.load()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise CorruptError(f"{path} cannot be decoded ({error}); get a fresh copy") from error
    return picture


def _check_size(path: Path, width: int, height: int, pixel_bytes: int) -> None:
    if width * height * pixel_bytes > MAX_BYTES:
        raise TooLargeError(f"{path} claims {width:,} x {height:,} pixels; cut it into patches")


def _read_plain(path: Path) -> Stored:
    file = _decoded(path)
    picture: Image.Image = file
    if picture.mode == "CMYK":
        raise BandsError(f"{path} holds printing colours (CMYK); convert it to RGB")
    if picture.mode == "P":
        table = np.frombuffer(picture.convert("P").im.getpalette("RGB"), np.uint8).reshape(-1, 3)
        indices = np.asarray(picture)
        valid = np.asarray(picture.convert("RGBA"))[..., 3] > 0 if "transparency" in picture.info else None
        full = np.zeros((256, 3), np.uint8)
        full[: len(table)] = table[:256]
        return Stored(indices[None], np.ones(indices.shape, bool) if valid is None else valid, full)
    if picture.mode == "1":
        return Stored(np.asarray(picture).astype(np.uint8)[None], np.ones((picture.height, picture.width), bool))
    if "transparency" in picture.info and picture.mode in ("L", "RGB"):
        picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
    if picture.mode == "YCbCr":
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    valid = np.ones(pixels.shape[:2], bool)
    if picture.mode in ("LA", "RGBA"):
        valid, pixels = pixels[..., -1] > 0, pixels[..., :-1]
    return Stored(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)), valid)


def _numbers(bands: Sequence[int | str], count: int, path: Path) -> list[int]:
    """0-based places of a choice of bands in a picture without descriptions."""
    found = []
    for band in bands:
        text = str(band).strip().lower()
        number = COLOURS.index(text) + 1 if count == 3 and text in COLOURS else int(text) if text.isdigit() else 0
        if not 1 <= number <= count:
            raise BandNumberError(f"{path}: no band {band!r}; it has {count}" + " (red, green, blue)" * (count == 3))
        found.append(number - 1)
    return found


def _opened(path: Path) -> Any:  # noqa: ANN401 (rasterio is untyped)
    from rasterio.errors import RasterioError

    from cdengine.raster.quiet import opened
    from cdengine.raster.source import open_raster

    if path.suffix.lower() == ".vrt" or str(path).startswith("/vsi"):
        return open_raster(path, "image")
    head = _head(path)
    driver = next((name for magic, name in DRIVERS.items() if head.startswith(magic)), None)
    if driver is None:
        raise NotARasterError(f"{path} is no image that is read here; give PNG, JPEG or GeoTIFF")
    try:
        return opened(path, driver=driver)
    except RasterioError as error:
        raise CorruptError(f"{path} cannot be opened ({' '.join(str(error).split())}); get a fresh copy") from error


def _read_raster(path: Path, bands: Bands, *, indices: bool) -> Stored:
    from rasterio.errors import RasterioError

    from cdengine.raster.bands import select
    from cdengine.raster.validity import Validity

    with _opened(path) as dataset:
        types = [np.dtype("complex64" if name.startswith("complex") else name) for name in dataset.dtypes]
        if any(dtype.kind == "c" for dtype in types):
            raise DtypeError(f"{path} holds complex numbers; for SAR give the amplitude or intensity")
        _check_size(path, dataset.width, dataset.height, sum(dtype.itemsize for dtype in types))
        try:
            numbers = select(dataset, bands, str(path), indices=indices)
            validity = Validity.of(dataset, numbers, str(path))
            pixels = dataset.read(numbers)
            mask = dataset.read_masks(numbers[0]) if validity.mask else None
            alpha = dataset.read(validity.alpha) if validity.alpha is not None else None
        except RasterioError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise CorruptError(f"{path} cannot be decoded ({reason}); get a fresh copy") from error
        palette = None
        if dataset.colorinterp[numbers[0] - 1].name == "palette" and types[numbers[0] - 1] == np.uint8:
            palette = np.zeros((256, 3), np.uint8)
            for index, colour in dataset.colormap(numbers[0]).items():
                palette[index] = colour[:3]
    return Stored(pixels, validity.of_pixels(pixels, alpha, mask), palette)
