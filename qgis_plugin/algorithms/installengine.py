"""`cdengine:installengine`: makes the plugin's own environment with the engine in it."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
)

from .. import compat, settings
from ..engine import install, locate, pins, process
from . import fields
from .base import EngineAlgorithm

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_ROOM_BYTES = 3 * 1024**3


class InstallEngine(EngineAlgorithm):
    """Not an engine command, but it shares the identity and the feedback of those that are."""

    ID = "installengine"
    TITLE = "Install the engine"
    COMMAND = ""
    ICON = "engine.svg"
    GROUP = ("setup", "Set up")
    SUMMARY = "Installs the change detection engine, with PyTorch, into an environment of its own in your QGIS profile."
    HELP = (
        "Needs Python 3.10 or newer on this computer (not QGIS's own), a network connection, and on Linux about 8 GB "
        "of disk for the build with graphics card support; the processor-only build is much smaller. Nothing is "
        "installed into QGIS.",
        "Packages come from the Python Package Index in fixed versions, and each file is checked against its hash. "
        "The processor-only build for Linux comes from PyTorch's own index, in a fixed version but without a hash.",
        "If a Python with cdengine is there already, you do not need this: name it in Settings > Options > "
        "Processing > Providers > Change detection > Engine Python.",
        "Running it again updates the engine; the old one stays in use until the new one works.",
    )
    CANCELLED = "Cancelled; nothing was installed."
    TAGS = ("install", "setup", "pytorch", "torch", "gpu", "cuda", "update")
    FIELDS = (
        fields.Choice(
            "BUILD",
            "Build of PyTorch",
            "default: on Linux with CUDA for NVIDIA cards. cpu: processor only, on Linux much smaller.",
            choices=("default", "cpu"),
            default="default",
        ),
        fields.Folder(
            "WHEELS",
            "Folder of wheels (install without network)",
            "Filled beforehand on a computer of the same kind with the same version of Python; the guide says how.",
            advanced=True,
            optional=True,
        ),
    )

    def flags(self) -> Any:  # noqa: ANN401 (the flags' type moved between versions)
        """Of no use in a model or a batch."""
        return (super().flags() | compat.ALG_HIDE_FROM_MODELER) & ~compat.ALG_SUPPORTS_BATCH

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Adds the one output."""
        super().initAlgorithm(configuration)
        self.addOutput(QgsProcessingOutputString("PYTHON", self.tr("Python of the engine")))

    def canExecute(self) -> Tuple[bool, str]:
        """Always: it is there for the case that no engine is."""
        return True, ""

    def prepareAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Reads settings and parameters."""
        self._surroundings = settings.surroundings()
        self._cpu = self.parameterAsEnumString(parameters, "BUILD", context) == "cpu" and pins.has_cpu_build()
        self._wheels = self.parameterAsFile(parameters, "WHEELS", context)
        return True

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """Installs, and says where."""
        here = self._surroundings

        def stage(title: str, done: float) -> None:
            feedback.setProgressText(title)
            feedback.setProgress(100.0 * done)

        try:
            packages = install.Packages(
                pins.bundled_wheel(settings.plugin_folder()),
                pins.steps(self._cpu),
                cpu_index=CPU_INDEX if self._cpu else "",
                wheels=self._wheels,
                room=CPU_ROOM_BYTES if self._cpu or self._wheels else install.ROOM_BYTES,
            )
            python = install.install(
                here.managed, packages, here.variables, feedback.pushConsoleInfo, stage, feedback.isCanceled
            )
        except (install.InstallFailed, pins.Damaged) as error:
            raise QgsProcessingException(str(error)) from error
        except process.EngineCancelled as error:
            raise QgsProcessingException(self.tr(self.CANCELLED)) from error
        self._tell_if_unused(python, feedback)
        return {"PYTHON": python}

    def _tell_if_unused(self, python: str, feedback: QgsProcessingFeedback) -> None:
        """A setting or a variable goes before the managed environment; then this installation changes nothing."""
        try:
            engine = self._surroundings.find()
        except locate.EngineMissing as error:
            feedback.pushWarning(str(error))
            return
        if engine.python != python:
            feedback.pushWarning(
                self.tr("Installed, but not used: {} names {}. Clear it to use the new one.").format(
                    engine.origin, engine.python
                )
            )
