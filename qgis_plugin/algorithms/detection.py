"""What the algorithms that run the engine's `detect` share: fields in one order, checks, numbers, stages."""

from __future__ import annotations

import contextlib
import os
from typing import ClassVar, List, Mapping, Sequence, Tuple

from qgis.core import QgsProcessingException, QgsProcessingFeedback

from .. import transitions
from ..engine.events import Result
from . import checks, destinations, fields, shared
from .base import EngineAlgorithm


class Detection(EngineAlgorithm):
    """A pair of images, one field that says how they are compared, and the results."""

    COMMAND = "detect"
    # output → (what it is, its name in the engine's stats)
    NUMBERS: ClassVar[Mapping[str, Tuple[str, str]]] = {
        "CHANGED_AREA_M2": ("Changed area in square metres", "changed_area_m2"),
        "CHANGED_PERCENT": ("Changed part of the compared pixels in percent", "changed_percent"),
        "CHANGED_PIXELS": ("Changed pixels", "changed_px"),
        "N_CHANGES": ("Number of polygons", "polygons"),
        "THRESHOLD_USED": ("Threshold that was used", "threshold"),
    }
    # Shares of the time, from runs on the sample scenes; an unlisted stage gets a small one where it comes up.
    STAGES: ClassVar[Mapping[str, float]] = {
        "load model": 3.0,
        "detect": 65.0,
        "write": 22.0,
        "overviews": 5.0,
        "write polygons": 5.0,
    }
    TITLES: ClassVar[Mapping[str, str]] = {
        "load model": "Loading the model",
        "register": "Estimating the shift between the images",
        "statistics": "Statistics of the images",
        "irmad iterations": "Iterations of IR-MAD",
        "sfa iterations": "Iterations of slow feature analysis",
        "detect": "Detecting changes",
        "write": "Writing the results",
        "overviews": "Making overviews",
        "write polygons": "Writing the polygons",
        "quicklook": "Drawing the quick look",
        "report": "Writing the report",
        "read": "Reading the earlier result",
    }

    def problem(self, call: fields.Call) -> str:
        """The pair, bands, tiles and the model's file."""
        return (
            super().problem(call) or checks.pair(call) or checks.bands(call) or checks.tiles(call) or checks.model(call)
        )

    def arguments(self, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """A table of transitions is counted from their raster, which is made for it where it is not wanted itself."""
        words = super().arguments(call, outputs)
        table = outputs.get(shared.TRANSITION_TABLE)
        self._helper = "" if table is None or shared.TRANSITIONS in outputs else helper_raster(table)
        return words + (fields.given("--transitions", self._helper) if self._helper else [])

    def words(self, field: fields.Field, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """The engine is not told of the table."""
        return [] if isinstance(field, destinations.TableOutput) else super().words(field, call, outputs)

    def finish(self, result: Result, feedback: QgsProcessingFeedback) -> None:
        """Counts the transitions, tells them, and writes their table."""
        raster = self._outputs.get(shared.TRANSITIONS) or self._helper
        if not raster:
            return
        table = self._outputs.get(shared.TRANSITION_TABLE)
        feedback.setProgressText(self.tr("Counting the transitions"))
        try:
            self._transitions = transitions.read(raster, feedback.isCanceled)
            if table is not None:
                transitions.write(table, self._transitions, result.stats)
        except (transitions.NoTransitions, OSError) as error:
            if feedback.isCanceled():
                raise QgsProcessingException(self.tr("Cancelled while the transitions were counted.")) from error
            if table is not None:
                raise QgsProcessingException(f"The table of transitions cannot be made: {error}") from error
            feedback.pushWarning(f"The transitions keep the engine's own legend: {error}")
        finally:
            if self._helper:
                remove_raster(self._helper)
        if self._transitions:
            feedback.pushInfo(self.tr("What changed into what:"))
            for line in transitions.told(self._transitions, result.stats):
                feedback.pushInfo(line)


def helper_raster(table: str) -> str:
    """Where the transitions lie while their table is made; always the same, so that a run can be resumed."""
    folder, name = os.path.split(table)
    return os.path.join(folder, f".{os.path.splitext(name)[0]}.transitions.tif")


def remove_raster(path: str) -> None:
    """Removes a raster and GDAL's sidecar."""
    for name in (path, f"{path}.aux.xml"):
        with contextlib.suppress(OSError):
            os.remove(name)


def with_fields(chooser: fields.Field, trained: bool) -> Sequence[fields.Field]:
    """The fields of a detection between two images.

    Args:
        chooser: the model or the method.
        trained: whether it may be a trained model: those have options and outputs of their own.
    """
    return (
        shared.BEFORE,
        shared.AFTER,
        chooser,
        shared.MIN_AREA,
        *shared.COMPUTING,
        *(shared.NETWORK if trained else ()),
        *shared.TILING,
        shared.SIMPLIFY,
        shared.FILL_HOLES,
        *shared.WRITING,
        shared.CHANGE,
        shared.POLYGONS,
        shared.PROBABILITY,
        *(shared.SEMANTIC if trained else ()),
        shared.REPORT,
        shared.QUICKLOOK,
    )
