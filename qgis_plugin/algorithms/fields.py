"""One parameter, said once: what the dialog shows, and what it becomes on the engine's command line.

A field knows its Processing definition and its words of argv; algorithms are lists of fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
)

from .. import compat, settings
from . import sources


def given(option: str, value: Optional[str]) -> List[str]:
    """Words that give the engine one value; none where there is no value."""
    if value is None:
        return []
    # One word: of two, the engine would take a value that begins with a minus for another option.
    return [f"{option}={value}"] if option else [value]


@dataclass(frozen=True)
class Call:
    """What a field reads its value from."""

    algorithm: QgsProcessingAlgorithm
    parameters: Dict[str, Any]
    context: QgsProcessingContext
    feedback: Optional[QgsProcessingFeedback] = None

    def unset(self, name: str) -> bool:
        """Whether the caller left the parameter out."""
        return compat.is_unset(self.parameters.get(name))


@dataclass(frozen=True)
class Field:
    """Common part: `option` is the engine's, empty for a positional argument."""

    name: str
    label: str
    help: str
    option: str = ""
    advanced: bool = False
    optional: bool = False

    def make(self) -> QgsProcessingParameterDefinition:
        """The bare Processing definition."""
        raise NotImplementedError

    def definition(self) -> QgsProcessingParameterDefinition:
        """The Processing definition with help and flags."""
        definition = self.make()
        definition.setHelp(self.help)
        if self.advanced:
            definition.setFlags(definition.flags() | compat.FLAG_ADVANCED)
        return definition

    def value(self, call: Call) -> Optional[str]:
        """The value as the engine wants it, or None to leave the option out."""
        raise NotImplementedError

    def argv(self, call: Call) -> List[str]:
        """Words of the command line."""
        return given(self.option, self.value(call))


@dataclass(frozen=True)
class Raster(Field):
    """An input raster: a layer, a file, or anything GDAL opens."""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterRasterLayer(self.name, self.label, optional=self.optional)

    def value(self, call: Call) -> Optional[str]:
        if self.optional and call.unset(self.name):
            return None
        return sources.raster_path(call.algorithm, call.parameters, self.name, self.label, call.context)


@dataclass(frozen=True)
class Polygons(Field):
    """An input layer of polygons; selections, filters and memory layers are honoured."""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFeatureSource(
            self.name, self.label, [compat.SOURCE_POLYGON], optional=self.optional
        )

    def value(self, call: Call) -> Optional[str]:
        if call.unset(self.name):
            return None
        return sources.vector_path(call.algorithm, call.parameters, self.name, self.label, call.context, call.feedback)


@dataclass(frozen=True)
class Layer(Field):
    """An input raster, or polygons."""

    def make(self) -> QgsProcessingParameterDefinition:
        kinds = [compat.SOURCE_RASTER, compat.SOURCE_POLYGON]
        return QgsProcessingParameterMapLayer(self.name, self.label, optional=self.optional, types=kinds)

    def value(self, call: Call) -> Optional[str]:
        if call.unset(self.name):
            return None
        layer = call.algorithm.parameterAsLayer(call.parameters, self.name, call.context)
        given = call.algorithm, call.parameters, self.name, self.label, call.context
        return (
            sources.raster_path(*given)
            if isinstance(layer, QgsRasterLayer)
            else sources.vector_path(*given, call.feedback)
        )


@dataclass(frozen=True)
class Text(Field):
    """A string that the engine understands as it is; `wrapper` is the dialog's class for suggestions."""

    default: Optional[str] = None
    wrapper: str = ""
    lines: bool = False

    def make(self) -> QgsProcessingParameterDefinition:
        definition = QgsProcessingParameterString(
            self.name, self.label, self.default, multiLine=self.lines, optional=self.optional
        )
        if self.wrapper:
            # Resolved by the dialog, when there is one: no widget is imported headless.
            package = __package__.rsplit(".", 1)[0]
            definition.setMetadata({"widget_wrapper": {"class": f"{package}.{self.wrapper}"}})
        return definition

    def value(self, call: Call) -> Optional[str]:
        text = call.algorithm.parameterAsString(call.parameters, self.name, call.context).strip()
        return text or None


@dataclass(frozen=True)
class Model(Text):
    """A model: one of the user's folder by its name, or whatever the engine knows it by."""

    def value(self, call: Call) -> Optional[str]:
        named = super().value(call)
        return None if named is None else settings.model_argument(named)


@dataclass(frozen=True)
class Words(Text):
    """Several strings, separated by semicolons, as one option with several values."""

    def words(self, call: Call) -> List[str]:
        """The strings, empty for none. Scripts may give a list, and qgis_process makes one of a repeated parameter."""
        given = call.parameters.get(self.name)
        if isinstance(given, (list, tuple)):
            return [str(word).strip() for word in given if str(word).strip()]
        return [word.strip() for word in (self.value(call) or "").split(";") if word.strip()]

    def argv(self, call: Call) -> List[str]:
        words = self.words(call)
        return [self.option, *words] if words else []


@dataclass(frozen=True)
class Models(Words):
    """Several models."""

    def words(self, call: Call) -> List[str]:
        return [settings.model_argument(word) for word in super().words(call)]


@dataclass(frozen=True)
class Choice(Field):
    """One of several words."""

    choices: Tuple[str, ...] = ()
    default: Optional[str] = None

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterEnum(
            self.name,
            self.label,
            list(self.choices),
            allowMultiple=False,
            defaultValue=self.default,
            optional=self.optional,
            usesStaticStrings=True,
        )

    def value(self, call: Call) -> Optional[str]:
        return call.algorithm.parameterAsEnumString(call.parameters, self.name, call.context) or None


@dataclass(frozen=True)
class Number(Field):
    """A number; left out where not given. `whole` for integers."""

    default: Optional[float] = None
    least: float = 0.0
    most: Optional[float] = None
    whole: bool = False
    decimals: int = 2

    def make(self) -> QgsProcessingParameterDefinition:
        kind = compat.NUMBER_INTEGER if self.whole else compat.NUMBER_DOUBLE
        definition = QgsProcessingParameterNumber(self.name, self.label, kind, self.default, self.optional)
        definition.setMinimum(self.least)
        if self.most is not None:
            definition.setMaximum(self.most)
        if not self.whole:
            definition.setMetadata({"widget_wrapper": {"decimals": self.decimals}})
        return definition

    def value(self, call: Call) -> Optional[str]:
        if call.unset(self.name) and self.default is None:
            return None
        if self.whole:
            return str(call.algorithm.parameterAsInt(call.parameters, self.name, call.context))
        return repr(call.algorithm.parameterAsDouble(call.parameters, self.name, call.context))


@dataclass(frozen=True)
class Switch(Field):
    """A yes or no; `option` is given where yes."""

    default: bool = False

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterBoolean(self.name, self.label, self.default)

    def value(self, call: Call) -> Optional[str]:
        return self.option if call.algorithm.parameterAsBool(call.parameters, self.name, call.context) else None

    def argv(self, call: Call) -> List[str]:
        value = self.value(call)
        return [value] if value else []


@dataclass(frozen=True)
class Bands(Field):
    """Band numbers of a raster parameter, in the order given."""

    parent: str = ""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterBand(
            self.name, self.label, None, self.parent, optional=self.optional, allowMultiple=True
        )

    def numbers(self, call: Call) -> List[int]:
        """The chosen bands, empty for all."""
        if call.unset(self.name):
            return []
        return [int(number) for number in call.algorithm.parameterAsInts(call.parameters, self.name, call.context)]

    def value(self, call: Call) -> Optional[str]:
        return ",".join(str(number) for number in self.numbers(call)) or None


@dataclass(frozen=True)
class Crs(Field):
    """A coordinate reference system."""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterCrs(self.name, self.label, optional=self.optional)

    def value(self, call: Call) -> Optional[str]:
        if call.unset(self.name):
            return None
        crs = call.algorithm.parameterAsCrs(call.parameters, self.name, call.context)
        return (crs.authid() or crs.toWkt()) if crs.isValid() else None


@dataclass(frozen=True)
class Folder(Field):
    """An input folder."""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFile(self.name, self.label, compat.FILE_FOLDER, optional=self.optional)

    def value(self, call: Call) -> Optional[str]:
        path = call.algorithm.parameterAsFile(call.parameters, self.name, call.context)
        return sources.absolute(path) if path else None


@dataclass(frozen=True)
class File(Field):
    """An input file that is no layer."""

    filter: str = ""

    def make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFile(
            self.name, self.label, compat.FILE_FILE, optional=self.optional, fileFilter=self.filter
        )

    def value(self, call: Call) -> Optional[str]:
        path = call.algorithm.parameterAsFile(call.parameters, self.name, call.context)
        return sources.absolute(path) if path else None
