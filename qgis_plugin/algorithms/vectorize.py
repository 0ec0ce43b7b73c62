"""`cdengine:vectorize`: a change or class raster as polygons."""

from __future__ import annotations

from typing import ClassVar

from . import destinations, fields, shared
from .base import EngineAlgorithm


class Vectorize(EngineAlgorithm):
    """Polygons of a raster, whole across the seams of its reading."""

    ID = "vectorize"
    TITLE = "Change raster to polygons"
    COMMAND = "vectorize"
    ICON = "vectorize.svg"
    GROUP = ("steps", "Single steps")
    SUMMARY = "Turns a change or class raster into polygons with their areas in square metres."
    HELP = (
        "Areas are measured on the ellipsoid, whatever the coordinate system. With the probability raster given, each "
        "polygon also has its mean probability.",
    )
    TAGS = ("polygonize", "vector", "area")
    FIELDS = (
        fields.Raster("INPUT", "Change raster", "0 is background; every other value becomes polygons."),
        fields.Raster(
            "PROBABILITY",
            "Change probability",
            "A raster on the same pixels; its mean is written to each polygon.",
            "--probability",
            optional=True,
        ),
        fields.Text(
            "VALUES",
            "Values",
            "Which values become polygons, separated by commas. Empty: all but 0 and nodata.",
            "--values",
            advanced=True,
            optional=True,
        ),
        shared.MIN_AREA,
        fields.Number(
            "SIMPLIFY",
            "Simplify outlines by (m)",
            "Largest distance an outline may move. 0 keeps pixel edges.",
            "--simplify",
            default=0.0,
        ),
        fields.Number(
            "FILL_HOLES",
            "Fill holes up to (m²)",
            "Holes inside polygons, smaller than this, are filled.",
            "--fill-holes",
            default=0.0,
        ),
        destinations.PolygonOutput(
            "OUTPUT", "Polygons", "GeoPackage, GeoJSON, FlatGeobuf or GeoParquet.", "--output", style="polygons"
        ),
    )
    NUMBERS: ClassVar = {
        "CHANGED_AREA_M2": ("Area of the polygons in square metres", "area_m2"),
        "N_CHANGES": ("Number of polygons", "polygons"),
    }
    STAGES: ClassVar = {"polygons": 85.0, "write polygons": 15.0}
    TITLES: ClassVar = {"polygons": "Tracing polygons"}
