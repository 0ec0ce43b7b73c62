"""`cdengine:detect`: the main job, with a trained model or a training-free method."""

from __future__ import annotations

from . import shared
from .detection import Detection, with_fields


class Detect(Detection):
    """Two images in, change raster and polygons out."""

    ID = "detect"
    TITLE = "Detect changes"
    ICON = "detect.svg"
    SUMMARY = "Finds what changed between two images of one place, as a raster and as polygons with their areas."
    HELP = (
        "The two images may differ in coordinate system, pixel size and extent: the later one is aligned onto the "
        "earlier one while it is read. What lies outside their common area, or outside the area of interest, is "
        "nodata in the outputs.",
        "Memory stays the same however large the images are. A run can be cancelled at any time; nothing is then "
        "written under the outputs' names.",
        "The work is done by the engine, a program of its own: see Install the engine, or the setting Engine Python.",
    )
    TAGS = ("damage", "deforestation", "building", "bi-temporal", "deep learning", "model")
    FIELDS = with_fields(shared.MODEL, trained=True)
