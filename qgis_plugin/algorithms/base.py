"""What every algorithm shares: fields → parameters → engine command; events → feedback; errors → exceptions."""

from __future__ import annotations

import os
import shlex
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QUrl
from qgis.PyQt.QtGui import QIcon

from .. import settings, styling, transitions
from ..engine import locate, process
from ..engine.events import Result
from . import checks, destinations, fields, sources
from .narrator import Narrator


class EngineAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is one engine command. Subclasses are descriptions: class attributes and fields.

    Nothing of a run is kept on the registry's instance: Processing works on copies made by `createInstance`.
    """

    ID: ClassVar[str]
    TITLE: ClassVar[str]
    COMMAND: ClassVar[str]
    SUMMARY: ClassVar[str]
    HELP: ClassVar[Sequence[str]] = ()
    TAGS: ClassVar[Sequence[str]] = ()
    ICON: ClassVar[str] = "provider.svg"
    GROUP: ClassVar[Tuple[str, str]] = ("changes", "Changes")
    FIELDS: ClassVar[Sequence[fields.Field]] = ()
    # output name → (label, name in the engine's stats)
    NUMBERS: ClassVar[Mapping[str, Tuple[str, str]]] = {}
    # What a rerun needs to be told of outputs that are there already.
    REPLACES: ClassVar[Sequence[str]] = ("--overwrite",)
    CANCELLED: ClassVar[str] = "Cancelled; no output was written."
    STAGES: ClassVar[Mapping[str, float]] = {}
    TITLES: ClassVar[Mapping[str, str]] = {}
    MOMENTS: ClassVar[Mapping[str, str]] = {}
    # Of a command that does other jobs in a row: name of the job → its stages.
    STEPS: ClassVar[Mapping[str, Mapping[str, float]]] = {}

    # What changed into what in this run, where that is known; its colours are those of the polygons too.
    _transitions: Sequence[transitions.Transition] = ()

    # ------------------------------------------------------------ identity
    def createInstance(self) -> QgsProcessingAlgorithm:
        """A fresh copy."""
        return type(self)()

    def name(self) -> str:
        """Stable id."""
        return self.ID

    def displayName(self) -> str:
        """What the toolbox shows."""
        return self.tr(self.TITLE)

    def group(self) -> str:
        """Toolbox group."""
        return self.tr(self.GROUP[1])

    def groupId(self) -> str:
        """Stable id of the group."""
        return self.GROUP[0]

    def tags(self) -> List[str]:
        """Words that the toolbox's search finds it by."""
        return [*self.TAGS, "change", "detection", "difference", "before", "after", "remote sensing"]

    def icon(self) -> QIcon:
        """Toolbox icon."""
        return QIcon(settings.resource("icons", self.ICON))

    def svgIconPath(self) -> str:
        """The icon in the modeler."""
        return settings.resource("icons", self.ICON)

    def shortDescription(self) -> str:
        """One sentence."""
        return self.tr(self.SUMMARY)

    def shortHelpString(self) -> str:
        """Help beside the dialog; plain text in a terminal, where tags would be shown as they are."""
        paragraphs = [self.tr(self.SUMMARY), *(self.tr(text) for text in self.HELP)]
        if QgsApplication.platform() == "qgis_process":
            return "\n\n".join(paragraphs)
        return "".join(f"<p>{text}</p>" for text in paragraphs)

    def helpUrl(self) -> str:
        """This algorithm's place in the user guide, which the built plugin brings."""
        guide = settings.resource("help.html")
        return f"{QUrl.fromLocalFile(guide).toString()}#{self.ID}" if os.path.isfile(guide) else ""

    def tr(self, text: str) -> str:
        """Translates a text of the user interface."""
        return QCoreApplication.translate("cdengine", text)

    # ------------------------------------------------------------ parameters
    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Declares parameters and outputs."""
        for field in self.FIELDS:
            self.addParameter(field.definition())
        for name, (label, _) in self.NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, self.tr(label)))

    def canExecute(self) -> Tuple[bool, str]:
        """Whether an engine is named at all; asked whenever the toolbox shows the algorithm, so nothing is started."""
        try:
            settings.surroundings().find()
        except locate.EngineMissing as error:
            return False, str(error)
        return True, ""

    def checkParameterValues(self, parameters: Dict[str, Any], context: QgsProcessingContext) -> Tuple[bool, str]:
        """Everything that can be said before the run: the engine, then QGIS's checks, then ours across parameters."""
        possible, reason = self.canExecute()  # qgis_process and processing.run of 3.22 do not ask it themselves
        if not possible:
            return False, reason
        parameters = self.with_virtual_layers(parameters, context)
        good, message = super().checkParameterValues(parameters, context)
        if not good:
            return False, message
        message = self.problem(fields.Call(self, parameters, context))
        return (False, message) if message else (True, "")

    def problem(self, call: fields.Call) -> str:
        """What is wrong with the parameters together; empty for nothing. Subclasses add to it."""
        return checks.rasters(call, self.FIELDS) or checks.outputs(call, self.FIELDS)

    def with_virtual_layers(self, parameters: Dict[str, Any], context: QgsProcessingContext) -> Dict[str, Any]:
        """The parameters with /vsi… paths as layers: QGIS 3.22 takes such a path for a missing file."""
        replaced = dict(parameters)
        for field in self.FIELDS:
            path = parameters.get(field.name)
            if isinstance(field, fields.Raster) and sources.is_virtual(path):
                layer = QgsRasterLayer(str(path), field.label)
                if layer.isValid():
                    context.temporaryLayerStore().addMapLayer(layer)
                    replaced[field.name] = layer.id()
        return replaced

    # ------------------------------------------------------------ the run
    def prepareAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """On the main thread: layers become paths, settings are read; the run itself touches neither."""
        # A child of a model is not asked checkParameterValues, so the checks that a run depends on are made again.
        call = fields.Call(self, self.with_virtual_layers(parameters, context), context, feedback)
        message = self.problem(call)
        if message:
            raise QgsProcessingException(message)
        self._surroundings = settings.surroundings()
        self._outputs = self.destinations(call)
        self._arguments = self.arguments(call, self._outputs)
        self._title = self.layer_title(call)
        self._dressers = styling.dressers(self._outputs)
        return True

    def arguments(self, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """The command and its options."""
        named: List[str] = []
        positional: List[str] = []
        for field in self.FIELDS:
            words = self.words(field, call, outputs)
            (named if field.option else positional).extend(words)
        return [self.COMMAND, *positional, *named, *self.REPLACES]

    def words(self, field: fields.Field, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """One field's part of the command."""
        if isinstance(field, destinations.Output):
            return fields.given(field.option, outputs.get(field.name))
        return field.argv(call)

    def destinations(self, call: fields.Call) -> Dict[str, str]:
        """Output parameter → path, for those that are wanted; their folders are made."""
        found: Dict[str, str] = {}
        for field in self.FIELDS:
            if isinstance(field, destinations.Output):
                path = field.value(call)
                if path is not None:
                    make_folder(os.path.dirname(path))
                    found[field.name] = path
        return found

    def layer_title(self, call: fields.Call) -> str:
        """What tells this run's layers from another's; empty where nothing does."""
        names = []
        for field in self.FIELDS:
            if isinstance(field, fields.Raster) and field.name in ("BEFORE", "AFTER"):
                layer = self.parameterAsRasterLayer(call.parameters, field.name, call.context)
                names.append(layer.name() if layer is not None else "")
        return " → ".join(names) if len(names) == 2 and all(names) else ""

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """Runs the engine, on whatever thread Processing chose; styles and names what came out."""
        python = self.ready_engine(feedback)
        try:
            result = self.run_engine(python, self._arguments, feedback)
        except process.EngineFailed as error:
            raise QgsProcessingException(str(error)) from error
        self.finish(result, feedback)
        self.dress(context)
        return {**self._outputs, **self.results(result, feedback)}

    def finish(self, result: Result, feedback: QgsProcessingFeedback) -> None:
        """What the plugin itself makes of the engine's outputs, before they are styled. Subclasses have their own."""

    def results(self, result: Result, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """What the run gave apart from its outputs: numbers. Subclasses add to it."""
        return {name: result.stats.get(stat) for name, (_, stat) in self.NUMBERS.items()}

    def dress(self, context: QgsProcessingContext) -> None:
        """Gives layers their looks: a style file beside each, and a name where Processing is going to load it."""
        for field in self.FIELDS:
            if isinstance(field, destinations.Output) and field.style and field.name in self._outputs:
                name = self.tr(field.label) + (f": {self._title}" if self._title else "")
                looks = styling.Looks(field.style, name, self._transitions)
                styling.dress(self._outputs[field.name], looks, context, self._dressers[field.name])

    def ready_engine(self, feedback: QgsProcessingFeedback) -> str:
        """The interpreter, once it has answered.

        Raises:
            QgsProcessingException: no engine, with what to do.
        """
        here = self._surroundings
        feedback.setProgressText(self.tr("Starting the engine"))
        try:
            engine = here.find()
            report = locate.probe(engine, here.variables, here.cache, feedback.isCanceled)
        except locate.EngineMissing as error:
            raise QgsProcessingException(str(error)) from error
        except process.EngineCancelled as error:
            raise QgsProcessingException(self.tr(self.CANCELLED)) from error
        feedback.pushDebugInfo(f"{engine.python} ({engine.origin})")
        for problem in report.problems:
            feedback.pushWarning(f"The engine reports {problem}")
        return engine.python

    def run_engine(self, python: str, arguments: Sequence[str], feedback: QgsProcessingFeedback) -> Result:
        """One engine process from start to end.

        Raises:
            EngineFailed: with the engine's own message and exit code.
            QgsProcessingException: it was cancelled.
        """
        command = [python, "-m", "cdengine", *arguments, "--progress", "json", "--cancel-on-stdin-close"]
        feedback.pushCommandInfo(shlex.join(command))
        narrator = Narrator(feedback, self.STAGES, self.TITLES, self.MOMENTS, self.STEPS)
        try:
            result = process.run(
                command, self._surroundings.variables, narrator, feedback.isCanceled, feedback.pushConsoleInfo
            )
        except process.EngineCancelled as error:
            # An error, or qgis_process would report success.
            raise QgsProcessingException(self.tr(self.CANCELLED)) from error
        finally:
            narrator.tell_figures()
        narrator.finish()
        return result


def make_folder(path: str) -> None:
    """Makes an output's folder, as QGIS does for its own outputs.

    Raises:
        QgsProcessingException: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise QgsProcessingException(
            f"The output folder {path} cannot be made ({error.strerror}): choose another one."
        ) from error
