"""QGIS 3.22 to 4.x with one source: enum members that moved, and calls that came later.

Everywhere else enums are written in their scoped form (`Class.Enum.Member`), which all versions understand. Here are
the ones whose class changed between versions: looked up by name, old place first.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from qgis import core


def _first(*paths: str) -> Any:  # noqa: ANN401 (an enum member of whatever class this version has)
    for path in paths:
        try:
            return reduce(getattr, path.split("."), core)
        except AttributeError:
            continue
    raise AttributeError(f"this QGIS has none of {', '.join(paths)}")


FLAG_ADVANCED = _first("QgsProcessingParameterDefinition.Flag.FlagAdvanced", "Qgis.ProcessingParameterFlag.Advanced")
ALG_HIDE_FROM_MODELER = _first(
    "QgsProcessingAlgorithm.Flag.FlagHideFromModeler", "Qgis.ProcessingAlgorithmFlag.HideFromModeler"
)
ALG_SUPPORTS_BATCH = _first(
    "QgsProcessingAlgorithm.Flag.FlagSupportsBatch", "Qgis.ProcessingAlgorithmFlag.SupportsBatch"
)
NUMBER_DOUBLE = _first("QgsProcessingParameterNumber.Type.Double", "Qgis.ProcessingNumberParameterType.Double")
NUMBER_INTEGER = _first("QgsProcessingParameterNumber.Type.Integer", "Qgis.ProcessingNumberParameterType.Integer")
SOURCE_RASTER = _first("QgsProcessing.SourceType.TypeRaster", "Qgis.ProcessingSourceType.Raster")
SOURCE_POLYGON = _first("QgsProcessing.SourceType.TypeVectorPolygon", "Qgis.ProcessingSourceType.VectorPolygon")
SOURCE_TABLE = _first("QgsProcessing.SourceType.TypeVector", "Qgis.ProcessingSourceType.Vector")
FILE_FILE = _first("QgsProcessingParameterFile.Behavior.File", "Qgis.ProcessingFileParameterBehavior.File")
FILE_FOLDER = _first("QgsProcessingParameterFile.Behavior.Folder", "Qgis.ProcessingFileParameterBehavior.Folder")


def is_unset(value: object) -> bool:
    """Whether a parameter value means "not given": None, an empty string, or QGIS's NULL of any version."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    is_null = getattr(value, "isNull", None)
    return bool(is_null()) if callable(is_null) else False
