"""Which bands of a raster are used: by number or by description, the alpha band apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio import DatasetReader
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from cdengine.errors import BandNumberError, BandsError, DtypeError

Array = np.ndarray[Any, np.dtype[Any]]

_RGB = ("red", "green", "blue")
# Names that bands go by, each with its place in a picture: colours, then Sentinel-2's numbers.
_SHOWN = (
    {"red": 0, "green": 1, "blue": 2, "r": 0, "g": 1, "b": 2},
    {"b04": 0, "b03": 1, "b02": 2, "b4": 0, "b3": 1, "b2": 2},
)
MOSTLY = 0.5  # of an alpha band is opaque or empty; feathered edges and JPEG's noise are the rest


def listing(dataset: DatasetReader) -> str:
    """The raster's bands for a message: ``1 (B02), 2 (B03), 3``; long lists are cut."""
    names = band_names(dataset)
    shown = [f"{number} ({name})" if name else str(number) for number, name in enumerate(names, 1)]
    return ", ".join(shown[:16]) + (f", … {len(shown)}" if len(shown) > 16 else "")


def band_names(dataset: DatasetReader) -> tuple[str, ...]:
    """Descriptions of all bands; a colour interpretation stands in where there is none ("" for grey and undefined)."""
    telling = {ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha}
    # zip stops at the shorter: some drivers report fewer colour interpretations than bands
    colours = list(dataset.colorinterp) + [ColorInterp.undefined] * dataset.count
    return tuple(
        text or (colour.name if colour in telling else "")
        for text, colour in zip(dataset.descriptions, colours, strict=False)
    )


def alpha_band(dataset: DatasetReader) -> int | None:
    """The 1-based number of the band that says which pixels count, or None.

    A band tagged as alpha is one if two values make up most of it; else the tag is what GDAL gives the last of four
    byte bands unasked, and the band is near infrared, say. An untagged, unnamed last band of whole numbers that holds
    nothing but 0 and the type's maximum is alpha too. "Values" are those of three blocks.
    """
    tagged = tagged_alpha(dataset)
    if tagged is not None:
        _, counts = np.unique(_some_values(dataset, tagged), return_counts=True)
        return tagged if np.sort(counts)[-2:].sum() >= MOSTLY * counts.sum() else None
    last = dataset.count
    plain = last > 1 and dataset.colorinterp[last - 1] == ColorInterp.undefined and not dataset.descriptions[last - 1]
    if not plain or np.dtype(dataset.dtypes[last - 1]).kind not in "ui":
        return None
    values, top = _some_values(dataset, last), np.iinfo(dataset.dtypes[last - 1]).max
    return last if np.isin(values, (0, top)).all() and (values == top).any() else None


def tagged_alpha(dataset: DatasetReader) -> int | None:
    """The 1-based number of the band whose colour interpretation is alpha, or None."""
    tagged = [number for number, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha]
    return tagged[-1] if tagged else None


def _some_values(dataset: DatasetReader, number: int) -> Array:
    """The values of three blocks of a band, without those of a local file that cannot be decoded.

    Reading such a block is an error later on, or becomes nodata; here it tells nothing.
    """
    height, width = (min(512, side) for side in dataset.block_shapes[number - 1])
    found: list[Array] = []
    for share in (0.5, 0.1, 0.9):
        row = int((dataset.height - 1) * share) // height * height
        col = int((dataset.width - 1) * share) // width * width
        window = RasterioWindow(col, row, min(width, dataset.width - col), min(height, dataset.height - row))
        try:
            found.append(dataset.read(number, window=window).ravel())
        except RasterioIOError:
            if dataset.name.startswith("/vsi"):  # a connection that fails now may not fail later
                raise
    return np.concatenate(found) if found else np.empty(0, dataset.dtypes[number - 1])


def select(
    dataset: DatasetReader, wanted: str | Sequence[int | str] | None, label: str, *, indices: bool = False
) -> tuple[int, ...]:
    """Resolves the user's choice of bands.

    Args:
        dataset: an open raster.
        wanted: "4,3,2" or "red,green,blue" or a sequence of numbers and names; None: all bands apart from alpha.
        label: how a message names the raster, e.g. "BEFORE (t1.tif)".
        indices: an index into a colour table may be chosen, to be copied and not measured.

    Raises:
        BandNumberError: a number or name is not among the bands.
        DtypeError: the only band is an index into a colour table.
    """
    if wanted is None:
        alpha = alpha_band(dataset)
        numbers = tuple(n for n in range(1, dataset.count + 1) if n != alpha)
        if not numbers:
            raise BandsError(f"{label}: the only band is alpha; give a raster with image bands")
    else:
        items = wanted.split(",") if isinstance(wanted, str) else list(wanted)
        numbers = tuple(_number(dataset, item, label) for item in items)
        if not numbers:
            raise BandNumberError(f"{label}: no band chosen; bands are {listing(dataset)}")
    for number in numbers:
        if dataset.colorinterp[number - 1] == ColorInterp.palette and not indices:
            raise DtypeError(
                f"{label}: band {number} holds colour-table indices, which are no measurements; "
                "expand it first: gdal_translate -expand rgb IN OUT"
            )
    return numbers


def _number(dataset: DatasetReader, item: int | str, label: str) -> int:
    text = str(item).strip()
    names = [name.casefold() for name in band_names(dataset)]
    if text and text.casefold() in names:
        return names.index(text.casefold()) + 1
    if text.isascii() and text.isdigit() and 1 <= int(text) <= dataset.count:
        return int(text)
    raise BandNumberError(f"{label}: no band {text!r}; bands are {listing(dataset)}")


def rgb_bands(dataset: DatasetReader) -> tuple[int, int, int] | None:
    """The bands to show a trained RGB model: those named red, green, blue, or the only three; else None."""
    names = [name.casefold() for name in band_names(dataset)]
    if all(name in names for name in _RGB):
        red, green, blue = (names.index(name) + 1 for name in _RGB)
        return red, green, blue
    alpha = alpha_band(dataset)
    others = [n for n in range(1, dataset.count + 1) if n != alpha]
    return (others[0], others[1], others[2]) if len(others) == 3 else None


def shown_bands(names: Sequence[str], count: int) -> tuple[int, ...]:
    """0-based places of the bands to show as red, green and blue; one place for a grey picture.

    Bands named by colour or by Sentinel-2's numbers come first. Of four or more bands without such names, the order
    blue, green, red, … of satellite products is taken, of three, red, green, blue.

    Args:
        names: of the bands, in any case; "" where there is none.
        count: bands that hold measurements, an alpha band apart.
    """
    plain = [name.casefold() for name in names]
    for table in _SHOWN:
        found = {table[name]: at for at, name in reversed(list(enumerate(plain))) if name in table}
        if len(found) == 3:
            return found[0], found[1], found[2]
    if count < 3:
        return (0,)
    return (0, 1, 2) if count == 3 else (2, 1, 0)
