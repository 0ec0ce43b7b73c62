"""Which pixels of one raster are data. One rule, in this order, for every file.

1. A mask band (internal or .msk): 0 is out. It was made on purpose, so nodata is not looked at where there is one.
2. Otherwise nodata, band by band: a pixel that equals its band's nodata in any selected band is out.
3. The alpha band, unless it was selected as data: 0 is out, any other value is in.
4. NaN and infinities are out, always.

The rules 3 and 4 are added to whichever of 1 and 2 applies. Rules 1 to 3 agree with GDAL's own masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio import DatasetReader
from rasterio.enums import MaskFlags

from cdengine.raster.bands import alpha_band, tagged_alpha

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Validity:
    """What decides over the pixels of a raster's selected bands.

    Attributes:
        nodata: per selected band; None where it has none, or one that its dtype cannot hold.
        mask: a mask band exists for the whole dataset.
        alpha: number of the alpha band, None where there is none or it is selected as data.
        notes: what the user should know (nodata values that were ignored).
    """

    nodata: tuple[float | None, ...]
    mask: bool
    alpha: int | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: DatasetReader, bands: Sequence[int], label: str) -> Validity:
        """Reads the raster's declarations; no pixels, apart from a look at an alpha band."""
        flags = set(dataset.mask_flag_enums[bands[0] - 1])
        mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        alpha, tagged = alpha_band(dataset), tagged_alpha(dataset)
        nodata, notes = [], []
        if tagged is not None and alpha is None:
            use = "it is used as data" if tagged in bands else "it masks nothing"
            notes.append(f"{label}: band {tagged} is tagged as alpha but varies like an image band: {use}")
        for band in bands:
            value, dtype = dataset.nodatavals[band - 1], np.dtype(dataset.dtypes[band - 1])
            if value is not None and not _holds(dtype, value):
                notes.append(f"{label}: nodata {value:g} of band {band} cannot occur in {dtype.name}; ignored")
                value = None
            nodata.append(None if mask else value)
        return cls(tuple(nodata), mask, None if alpha in bands else alpha, tuple(notes))

    def of_pixels(self, pixels: Array, alpha: Array | None, mask: Array | None) -> Array:
        """The validity of pixels that were read.

        Args:
            pixels: (C, h, w) of the selected bands.
            alpha: (h, w) of the alpha band, where `alpha` says there is one.
            mask: (h, w) of the mask band, where `mask` says there is one.

        Returns:
            (h, w) bool, True where every selected band is data.
        """
        valid = np.ones(pixels.shape[1:], dtype=bool)
        for band, nodata in zip(pixels, self.nodata, strict=True):
            if band.dtype.kind == "f":
                valid &= np.isfinite(band)
            if nodata is not None and not math.isnan(nodata):
                # compared in the band's own type: -3.4e38 written as a double is not the float32 in the file
                valid &= band != np.asarray(nodata).astype(band.dtype)
        if mask is not None:
            valid &= mask != 0
        if alpha is not None:
            valid &= alpha != 0
        return valid


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    if not math.isfinite(value) or value != math.floor(value):
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max)
