"""Checks of parameters before anything starts; each returns a sentence for the user, or an empty string."""

from __future__ import annotations

import os
from typing import Optional, Sequence

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsRasterLayer,
    QgsRectangle,
)

from .. import settings
from ..engine.modelfolder import SUFFIX, SUFFIXES
from . import destinations, fields, sources

DATABASES = ("postgres:", "ogr:", "memory:", "spatialite:", "mssql:")


def rasters(call: fields.Call, all_fields: Sequence[fields.Field]) -> str:
    """Raster inputs must be files that GDAL opens."""
    for field in all_fields:
        if not isinstance(field, fields.Raster) or call.unset(field.name):
            continue
        layer = _layer(call, field.name)
        if layer is not None:
            problem = sources.raster_problem(layer, field.label)
            if problem:
                return problem
    return ""


def outputs(call: fields.Call, all_fields: Sequence[fields.Field]) -> str:
    """Destinations must be files of a type the engine writes, all different, and none of them an input."""
    inputs = {
        _same(sources.raster_path(call.algorithm, call.parameters, field.name, field.label, call.context)): field.label
        for field in all_fields
        if isinstance(field, fields.Raster) and not call.unset(field.name) and _layer(call, field.name) is not None
    }
    seen = {}
    for field in all_fields:
        if not isinstance(field, destinations.Output):
            continue
        path = field.wanted(call)
        if path is None:
            continue
        if path.lower().startswith(DATABASES):
            return f"{field.label}: the result is written to a file, so a database or memory layer cannot be taken."
        path = sources.absolute(path)
        suffix = os.path.splitext(path)[1].lower().lstrip(".")
        if field.suffixes and suffix not in field.suffixes:
            return f"{field.label}: {path} has to end in {' or '.join('.' + known for known in field.suffixes)}."
        if _same(path) in inputs:
            return f"{field.label} would overwrite the input {inputs[_same(path)]}: choose another file."
        if _same(path) in seen:
            return f"{field.label} and {seen[_same(path)]} are the same file: choose another one."
        seen[_same(path)] = field.label
    return ""


def pair(call: fields.Call, before: str = "BEFORE", after: str = "AFTER") -> str:
    """Two dates must be two rasters on the same ground, both with a CRS or both without."""
    first, second = _layer(call, before), _layer(call, after)
    if first is None or second is None:
        return ""
    if _same(first.source()) == _same(second.source()):
        return f"Before and after are the same raster ({first.source()}): choose two dates."
    if first.crs().isValid() != second.crs().isValid() and not _crs_given(call):
        without = "before" if second.crs().isValid() else "after"
        return (
            f"The image {without} has no coordinate reference system and the other one has: "
            "assign it first (Raster > Projections > Assign projection)."
        )
    if first.crs().isValid() and second.crs().isValid() and _apart(first, second, call):
        return (
            f"The images before ({first.name()}) and after ({second.name()}) share no ground: "
            "check their extents and CRS."
        )
    return ""


def _crs_given(call: fields.Call) -> bool:
    """Whether the user says what CRS an image without one has."""
    return call.algorithm.parameterDefinition("ASSUME_CRS") is not None and not call.unset("ASSUME_CRS")


def bands(call: fields.Call) -> str:
    """Chosen bands must exist and come in pairs."""
    chosen = {}
    for name, raster, label in (("BANDS_BEFORE", "BEFORE", "before"), ("BANDS_AFTER", "AFTER", "after")):
        field = fields.Bands(name, label, "", parent=raster)
        chosen[label] = field.numbers(call)
        layer = _layer(call, raster)
        if layer is not None:
            for number in chosen[label]:
                if not 1 <= number <= layer.bandCount():
                    return (
                        f"Bands of the image {label}: band {number} does not exist, the raster has {layer.bandCount()}."
                    )
    first, second = chosen["before"], chosen["after"]
    if first and second and len(first) != len(second):
        return f"The bands of the two images differ in number ({len(first)} and {len(second)}): choose as many of each."
    return ""


def tiles(call: fields.Call, default_tile: int = 512) -> str:
    """Tiles are multiples of 32 pixels, and overlap by less than their size."""
    tile: Optional[int] = None
    if not call.unset("TILE"):
        tile = call.algorithm.parameterAsInt(call.parameters, "TILE", call.context)
        if tile % 32:
            return f"Tile size: {tile} is not a multiple of 32; {round(tile / 32) * 32 or 32} would be."
    if not call.unset("OVERLAP"):
        overlap = call.algorithm.parameterAsInt(call.parameters, "OVERLAP", call.context)
        if overlap >= (tile or default_tile):
            return f"Tile overlap: {overlap} has to be smaller than the tile ({tile or default_tile})."
    return ""


def model(call: fields.Call) -> str:
    """A model that is named as a file must be there; names are the engine's to judge."""
    if call.algorithm.parameterDefinition("MODEL") is None:
        return ""
    name = call.algorithm.parameterAsString(call.parameters, "MODEL", call.context).strip()
    return _model_file(settings.model_argument(name), "Model")


def members(call: fields.Call, name: str) -> str:
    """The models of an ensemble: each is there, and there once."""
    definition = call.algorithm.parameterDefinition(name)
    label = definition.description()
    given = fields.Models(name, label, "").words(call)
    if not given:
        return f"{label}: choose at least one."
    twice = next((model for model in given if given.count(model) > 1), None)
    if twice is not None:
        return f"{label}: {twice} is listed twice, and would have two votes."
    return next((problem for problem in (_model_file(model, label) for model in given) if problem), "")


def _model_file(name: str, label: str) -> str:
    if (os.path.isabs(name) or name.lower().endswith(SUFFIXES)) and not os.path.isfile(name):
        return f"{label}: the file {name} does not exist."
    if os.path.isfile(name) and os.path.splitext(name)[1].lower() in (".pth", ".pt", ".ckpt"):
        return (
            f"{label}: {os.path.basename(name)} is not a model file of this engine ({SUFFIX}); "
            "weights from elsewhere are converted once by `cdengine import-weights`."
        )
    return ""


def _layer(call: fields.Call, name: str) -> Optional[QgsRasterLayer]:
    return call.algorithm.parameterAsRasterLayer(call.parameters, name, call.context)


def _same(path: str) -> str:
    """A path in the form in which equal files compare equal."""
    return os.path.normcase(os.path.realpath(path)) if os.path.exists(path) else os.path.normcase(path)


def _apart(first: QgsRasterLayer, second: QgsRasterLayer, call: fields.Call) -> bool:
    """Whether the two certainly share no ground; False wherever that is not certain."""
    there = _moved(second.extent(), second.crs(), first.crs(), call)
    back = _moved(first.extent(), first.crs(), second.crs(), call)
    if there is None or back is None:
        return False
    # Both ways, because one of two CRSs may be unable to express the other's extent (the date line, the poles).
    return not there.intersects(first.extent()) and not back.intersects(second.extent())


def _moved(
    extent: QgsRectangle,
    source: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
    call: fields.Call,
) -> Optional[QgsRectangle]:
    if source == target:
        return QgsRectangle(extent)
    transform = QgsCoordinateTransform(source, target, call.context.transformContext())
    try:
        moved = transform.transformBoundingBox(extent)
    except QgsCsException:
        return None
    return moved if moved.isFinite() and not moved.isEmpty() else None
