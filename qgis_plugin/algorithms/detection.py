"""What the algorithms that run the engine's `detect` share: fields in one order, checks, numbers, stages."""

from __future__ import annotations

from typing import ClassVar, Mapping, Sequence, Tuple

from . import checks, fields, shared
from .base import EngineAlgorithm


class Detection(EngineAlgorithm):
    """A pair of images, one field that says how they are compared, and the results."""

    COMMAND = "detect"
    # output → (what it is, its name in the engine's stats)
    NUMBERS: ClassVar[Mapping[str, Tuple[str, str]]] = {
        "CHANGED_AREA_M2": ("Changed area in square metres", "changed_area_m2"),
        "CHANGED_PERCENT": ("Changed part of the compared pixels in percent", "changed_percent"),
        "CHANGED_PIXELS": ("Changed pixels", "changed_px"),
        "N_CHANGES": ("Number of polygons", "polygons"),
        "THRESHOLD_USED": ("Threshold that was used", "threshold"),
    }
    # Shares of the time, from runs on the sample scenes; an unlisted stage gets a small one where it comes up.
    STAGES: ClassVar[Mapping[str, float]] = {
        "load model": 3.0,
        "detect": 65.0,
        "write": 22.0,
        "overviews": 5.0,
        "write polygons": 5.0,
    }
    TITLES: ClassVar[Mapping[str, str]] = {
        "load model": "Loading the model",
        "register": "Estimating the shift between the images",
        "statistics": "Statistics of the images",
        "irmad iterations": "Iterations of IR-MAD",
        "sfa iterations": "Iterations of slow feature analysis",
        "detect": "Detecting changes",
        "write": "Writing the results",
        "overviews": "Making overviews",
        "write polygons": "Writing the polygons",
        "quicklook": "Drawing the quick look",
        "report": "Writing the report",
        "read": "Reading the earlier result",
    }

    def problem(self, call: fields.Call) -> str:
        """The pair, bands, tiles and the model's file."""
        return (
            super().problem(call) or checks.pair(call) or checks.bands(call) or checks.tiles(call) or checks.model(call)
        )


def with_fields(chooser: fields.Field, trained: bool) -> Sequence[fields.Field]:
    """The fields of a detection between two images.

    Args:
        chooser: the model or the method.
        trained: whether it may be a trained model: those have options and outputs of their own.
    """
    return (
        shared.BEFORE,
        shared.AFTER,
        chooser,
        shared.MIN_AREA,
        *shared.COMPUTING,
        *(shared.NETWORK if trained else ()),
        *shared.TILING,
        shared.SIMPLIFY,
        shared.FILL_HOLES,
        *shared.WRITING,
        shared.CHANGE,
        shared.POLYGONS,
        shared.PROBABILITY,
        *(shared.SEMANTIC if trained else ()),
        shared.REPORT,
        shared.QUICKLOOK,
    )
