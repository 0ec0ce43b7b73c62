"""`cdengine:align`: one image onto the grid of the other."""

from __future__ import annotations

from typing import ClassVar

from . import checks, destinations, fields, shared
from .base import EngineAlgorithm


class Align(EngineAlgorithm):
    """AFTER on BEFORE's pixels, a residual shift removed on request."""

    ID = "align"
    TITLE = "Align images"
    COMMAND = "align"
    ICON = "align.svg"
    GROUP = ("steps", "Single steps")
    SUMMARY = "Puts the later image on the pixels of the earlier one, and can remove a residual shift between them."
    HELP = (
        "Detect changes does this by itself while it reads; this algorithm is for looking at the aligned image, or for "
        "using it elsewhere.",
    )
    TAGS = ("register", "coregistration", "shift", "warp")
    FIELDS = (
        shared.BEFORE,
        fields.Raster("AFTER", "Image after", "The image that is moved onto the other's pixels."),
        fields.Choice(
            "ALIGN",
            "Alignment",
            "auto: by georeference alone. register: a residual shift is estimated from the images and removed.",
            "--align",
            choices=("auto", "register"),
            default="register",
        ),
        fields.Choice(
            "GRID",
            "Grid of the output",
            "Whose pixels the output has: before, after, or finer (the smaller pixel of the two).",
            "--grid",
            advanced=True,
            choices=("before", "after", "finer"),
            default="before",
        ),
        fields.Choice(
            "RESAMPLING",
            "Resampling",
            "nearest keeps values as they are; bilinear and cubic interpolate.",
            "--resampling",
            advanced=True,
            choices=("nearest", "bilinear", "cubic"),
            default="bilinear",
        ),
        fields.Bands(
            "BANDS_AFTER",
            "Bands of the image after",
            "Which bands are written, in this order. Empty: all but alpha.",
            "--bands-after",
            advanced=True,
            optional=True,
            parent="AFTER",
        ),
        shared.ASSUME_CRS,
        shared.ALLOW_COARSE,
        shared.ALLOW_REMOTE,
        shared.COG,
        destinations.RasterOutput("OUTPUT", "Aligned", "The later image on the chosen grid.", "--output"),
    )
    NUMBERS: ClassVar = {
        "SHIFT_X": ("Shift removed in x, in pixels", "shift_x_px"),
        "SHIFT_Y": ("Shift removed in y, in pixels", "shift_y_px"),
    }
    STAGES: ClassVar = {"register": 35.0, "values": 15.0, "align": 50.0}
    TITLES: ClassVar = {"register": "Estimating the shift", "values": "Looking at the values", "align": "Aligning"}

    def problem(self, call: fields.Call) -> str:
        """The pair."""
        return super().problem(call) or checks.pair(call)
