"""Destinations as fields: what the engine writes, where the user wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
    QgsProperty,
)

from .. import compat, transitions
from . import sources
from .fields import Call, Field


@dataclass(frozen=True)
class Output(Field):
    """A destination. `style` names how the layer looks; `suffixes` are the file types that the engine writes."""

    suffixes: Sequence[str] = ()
    created: bool = True
    style: str = ""

    def value(self, call: Call) -> Optional[str]:
        """The path, or None where it is not wanted. Asked once a run: each asking makes a new temporary name."""
        if call.unset(self.name):
            return None
        path = self.destination(call)
        return sources.absolute(path) if path else None

    def wanted(self, call: Call) -> Optional[str]:
        """The path as the user gave it, without settling anything; None for a temporary or no output."""
        value = call.parameters.get(self.name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = value.sink
        if isinstance(value, QgsProperty):
            value, _ = value.valueAsString(call.context.expressionContext(), "")
        if compat.is_unset(value) or value == QgsProcessing.TEMPORARY_OUTPUT:
            return None
        return str(value)

    def destination(self, call: Call) -> str:
        """The path that Processing settled on; "temporary output" is a real path by then."""
        return str(call.algorithm.parameterAsOutputLayer(call.parameters, self.name, call.context))


@dataclass(frozen=True)
class RasterOutput(Output):
    """A raster that the engine writes."""

    suffixes: Sequence[str] = ("tif", "tiff")

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterRasterDestination(
            self.name, self.label, optional=self.optional, createByDefault=self.created
        )


@dataclass(frozen=True)
class PolygonOutput(Output):
    """Polygons that the engine writes."""

    suffixes: Sequence[str] = ("gpkg", "geojson", "fgb", "parquet")

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterVectorDestination(
            self.name,
            self.label,
            compat.SOURCE_POLYGON,
            optional=self.optional,
            createByDefault=self.created,
        )


@dataclass(frozen=True)
class TableOutput(Output):
    """A table without shapes, which the plugin makes of the engine's results."""

    suffixes: Sequence[str] = tuple(transitions.DRIVERS)

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterVectorDestination(
            self.name, self.label, compat.SOURCE_TABLE, optional=self.optional, createByDefault=self.created
        )


@dataclass(frozen=True)
class FolderOutput(Output):
    """A folder that the engine fills."""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFolderDestination(
            self.name, self.label, optional=self.optional, createByDefault=self.created
        )

    def destination(self, call: Call) -> str:
        return str(call.algorithm.parameterAsFileOutput(call.parameters, self.name, call.context))


@dataclass(frozen=True)
class FileOutput(Output):
    """A file that is no layer: a report, a picture."""

    filter: str = ""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFileDestination(
            self.name, self.label, self.filter, optional=self.optional, createByDefault=self.created
        )

    def destination(self, call: Call) -> str:
        return str(call.algorithm.parameterAsFileOutput(call.parameters, self.name, call.context))
