"""Opening rasters that were checked before, or that the engine itself wrote: they may have no place on earth."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning


def opened(path: str | PathLike[str], mode: str = "r", **options: Any) -> Any:  # noqa: ANN401 (rasterio is untyped)
    """rasterio.open without the warning about a missing geotransform: pairs in pixel space are welcome."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **options)
