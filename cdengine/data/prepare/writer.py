"""Writes patches: GeoTIFF with its place and validity inside, or 8-bit PNG, with a world file on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from cdengine.errors import UsageError
from cdengine.raster.diskerrors import writing
from cdengine.raster.grid import Grid
from cdengine.raster.pair import SourceInfo
from cdengine.raster.quiet import opened

Array = np.ndarray[Any, np.dtype[Any]]
Format = Literal["tif", "png"]


def check_format(kind: Format, dates: dict[str, SourceInfo]) -> None:
    """Raises where PNG cannot hold the images.

    Raises:
        UsageError: more than 8 bits, or neither one nor three bands.
    """
    for date, info in dates.items():
        if kind == "png" and (info.dtype != np.uint8 or info.count not in (1, 3)):
            raise UsageError(
                f"--format png holds 8 bits and 1 or 3 bands, but {date} ({info.uri}) has {info.dtype.name} and "
                f"{info.count}; take tif, or choose bands"
            )


def write_image(path: Path, pixels: Array, valid: Array, grid: Grid, names: tuple[str, ...]) -> None:
    """Writes an image patch.

    Args:
        path: ends in .tif or .png.
        pixels: (C, h, w); where not valid they are written as 0.
        valid: (h, w) bool: a mask in the GeoTIFF, alpha in the PNG, neither where everything is valid.
        grid: of the patch.
        names: band descriptions.
    """
    whole = bool(valid.all())
    pixels = pixels if whole else np.where(valid, pixels, pixels.dtype.type(0))
    if path.suffix == ".png":
        layers = list(pixels) + ([] if whole else [valid.astype(np.uint8) * 255])
        _write_png(path, layers)
        return
    predictor = 3 if pixels.dtype.kind == "f" else 2
    with (
        writing(path),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False),
        _created(path, pixels, grid, predictor=predictor) as dataset,
    ):
        if len(pixels) != 3 or pixels.dtype != np.uint8:
            # else GDAL takes the fourth of four byte bands for alpha
            dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(pixels) - 1)
        dataset.write(pixels)
        for number, name in enumerate(names, 1):
            if name:
                dataset.set_band_description(number, name)
        if not whole:
            dataset.write_mask(valid)


def write_label(path: Path, label: Array, grid: Grid, nodata: int) -> None:
    """Writes a label patch (h, w) uint8, as it is."""
    if path.suffix == ".png":
        _write_png(path, [label])
        return
    with (
        writing(path),
        rasterio.Env(GDAL_PAM_ENABLED=False),
        _created(path, label[None], grid, predictor=1, nodata=nodata) as dataset,
    ):
        dataset.write(label[None])


def write_world(path: Path, grid: Grid) -> None:
    """Writes the six lines that place a picture, beside it (`x.pgw` for `x.png`)."""
    t = grid.transform
    centre = t @ (0.5, 0.5)
    with writing(path):
        lines = (t.a, t.d, t.b, t.e, *centre)
        path.with_suffix(".pgw").write_text("".join(f"{value:.15g}\n" for value in lines), encoding="ascii")
        if grid.crs is not None:
            path.with_suffix(".prj").write_text(grid.crs.to_wkt(version="WKT1_ESRI"), encoding="utf-8")


def _write_png(path: Path, layers: list[Array]) -> None:
    with writing(path):
        Image.fromarray(layers[0] if len(layers) == 1 else np.stack(layers, -1)).save(path, "PNG", compress_level=6)


def _created(path: Path, pixels: Array, grid: Grid, *, predictor: int, nodata: int | None = None) -> Any:  # noqa: ANN401
    place = {} if grid.crs is None and grid.transform.is_identity else {"transform": grid.transform, "crs": grid.crs}
    return opened(
        path,
        "w",
        driver="GTiff",
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype.name,
        compress="deflate",
        predictor=predictor,
        zlevel=6,
        interleave="pixel",
        nodata=nodata,
        **place,
    )
