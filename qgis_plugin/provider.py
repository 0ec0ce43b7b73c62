"""The Processing provider: lists the algorithms and the shipped models, nothing else."""

from __future__ import annotations

import glob
from typing import ClassVar, Dict, List

from osgeo import ogr
from qgis.core import Qgis, QgsMessageLog, QgsProcessingModelAlgorithm, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import settings, transitions
from .algorithms.align import Align
from .algorithms.detect import Detect
from .algorithms.detectpairs import DetectPairs
from .algorithms.detectwithoutmodel import DetectWithoutModel
from .algorithms.evaluate import Evaluate
from .algorithms.installengine import InstallEngine
from .algorithms.prepare import Prepare
from .algorithms.pseudolabel import PseudoLabel
from .algorithms.shared import MODEL
from .algorithms.train import Train
from .algorithms.vectorize import Vectorize

ALGORITHMS = (
    Detect,
    DetectWithoutModel,
    DetectPairs,
    Align,
    Vectorize,
    Prepare,
    Train,
    PseudoLabel,
    Evaluate,
    InstallEngine,
)


class Provider(QgsProcessingProvider):
    """Provider `cdengine`. Algorithms are there whether or not an engine is: models that use them must load."""

    def id(self) -> str:
        """Stable id."""
        return "cdengine"

    def name(self) -> str:
        """What the toolbox shows."""
        return "Change detection"

    def versionInfo(self) -> str:
        """The plugin's version."""
        return settings.version()

    def icon(self) -> QIcon:
        """Toolbox icon."""
        return QIcon(self.svgIconPath())

    def svgIconPath(self) -> str:
        """The icon as a file."""
        return settings.resource("icons", "provider.svg")

    def supportsNonFileBasedOutput(self) -> bool:
        """The engine writes files; memory layers and databases are not offered."""
        return False

    def supportedOutputRasterLayerExtensions(self) -> List[str]:
        """File types of rasters, the default first."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> List[str]:
        """File types of polygons, the default first."""
        # The engine writes Parquet anywhere; only some builds of QGIS can load it afterwards.
        return ["gpkg", "geojson", "fgb"] + (["parquet"] if ogr.GetDriverByName("Parquet") is not None else [])

    def supportedOutputTableExtensions(self) -> List[str]:
        """File types of tables, the default first."""
        return [
            suffix for suffix, (driver, _) in transitions.DRIVERS.items() if ogr.GetDriverByName(driver) is not None
        ]

    def loadAlgorithms(self) -> None:
        """Own algorithms first: the models refer to them."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
        for path in sorted(glob.glob(settings.resource("modeler", "*.model3"))):
            model = load_model(path)
            if model is not None:
                self.addAlgorithm(model)


class ShippedModel(QgsProcessingModelAlgorithm):
    """A model of the plugin. Its id is the name in the file, which has no spaces; people read another one."""

    TITLES: ClassVar[Dict[str, str]] = {
        "align_detect_vectorize": "Align, detect changes, make polygons",
        "detect_many_pairs": "Detect changes over many pairs and merge them",
    }

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.readable = self.fromFile(path)
        definition = self.parameterDefinition("MODEL") if self.readable else None
        if definition is not None:
            definition.setMetadata(MODEL.definition().metadata())  # suggestions, as in the algorithms

    def createInstance(self) -> QgsProcessingModelAlgorithm:
        """A fresh copy, of this class too."""
        return ShippedModel(self._path)

    def displayName(self) -> str:
        """What the toolbox and the dialog show."""
        return self.TITLES.get(self.name(), self.name())


def load_model(path: str) -> ShippedModel | None:
    """A shipped model, or None where this QGIS cannot read it: that is said in the log, and the rest still loads."""
    model = ShippedModel(path)
    if model.readable:
        return model
    QgsMessageLog.logMessage(f"{path} cannot be read as a model", "Change detection", Qgis.MessageLevel.Warning)
    return None
