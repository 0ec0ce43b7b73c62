"""Layers of QGIS → paths that the engine can open."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from osgeo import ogr
from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsRasterLayer,
)

# What the engine's vector reader opens as it is; anything else is exported to a GeoPackage first.
VECTOR_SUFFIXES = ["gpkg", "geojson", "fgb", "shp"]


def absolute(path: str) -> str:
    """A path that means the same in the engine's working folder; GDAL's virtual paths stay as they are."""
    if path.startswith("/vsi") or "://" in path:
        return path
    return os.path.abspath(path) if not os.path.isabs(path) else path


def is_virtual(value: object) -> bool:
    """Whether it is a path of GDAL's virtual file systems, which QGIS 3.22 refuses as a parameter."""
    return isinstance(value, str) and value.startswith("/vsi")


def raster_path(
    algorithm: QgsProcessingAlgorithm,
    parameters: Dict[str, Any],
    name: str,
    label: str,
    context: QgsProcessingContext,
) -> str:
    """Source of a raster parameter as GDAL names it.

    Raises:
        QgsProcessingException: no such layer, or one that is not a file (a web service, a database).
    """
    layer = algorithm.parameterAsLayer(parameters, name, context)
    if not isinstance(layer, QgsRasterLayer):
        raise QgsProcessingException(algorithm.invalidRasterError(parameters, name))
    problem = raster_problem(layer, label)
    if problem:
        raise QgsProcessingException(problem)
    source = layer.source()
    # A plain relative file name; drivers' own names (NETCDF:"file":var) are left alone.
    return os.path.abspath(source) if os.path.exists(source) else source


def raster_problem(layer: QgsRasterLayer, label: str) -> str:
    """Why the engine cannot read this layer, with the remedy; empty where it can."""
    if layer.providerType() != "gdal":
        return (
            f"{label}: the layer {layer.name()} comes from {layer.providerType()}, not from a raster file. "
            "Export it first (right-click, Export, Save As, GeoTIFF, Raw data) and take the exported layer."
        )
    if "|option:" in layer.source():
        return (
            f"{label}: the layer {layer.name()} is opened with special GDAL options. "
            "Save it as a GeoTIFF first and take that."
        )
    return ""


def vector_path(
    algorithm: QgsProcessingAlgorithm,
    parameters: Dict[str, Any],
    name: str,
    label: str,
    context: QgsProcessingContext,
    feedback: Optional[QgsProcessingFeedback],
) -> str:
    """A file with exactly the features of the parameter: selection and filter applied, memory layers written out.

    Raises:
        QgsProcessingException: no such layer.
    """
    path, layer = algorithm.parameterAsCompatibleSourceLayerPathAndLayerName(
        parameters, name, context, VECTOR_SUFFIXES, "gpkg", feedback
    )
    if path and layer and _layer_count(path) > 1:
        # The engine takes a file; of one with several layers it gets a copy of the right one.
        path, _ = algorithm.parameterAsCompatibleSourceLayerPathAndLayerName(
            parameters, name, context, ["copy"], "gpkg", feedback
        )
    if not path:
        raise QgsProcessingException(f"{label}: " + algorithm.invalidSourceError(parameters, name))
    return absolute(path)


def _layer_count(path: str) -> int:
    dataset = ogr.Open(path)
    return 0 if dataset is None else int(dataset.GetLayerCount())
