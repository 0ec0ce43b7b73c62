"""`cdengine:detectpairs`: detect over many pairs, matched by their file names in two folders."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict, List, Mapping, Tuple

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingMultiStepFeedback,
    QgsProcessingOutputMultipleLayers,
)

from .. import styling
from ..engine.process import EngineFailed
from . import checks, destinations, fields, sources
from .base import make_folder
from .detect import Detect
from .detection import Detection

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg", ".jpeg")
# A pair that cannot be used is reported and left out; anything else (model, device, disk) would fail for every pair.
BAD_INPUT = 3
PER_PAIR = {"BEFORE", "AFTER", "BANDS_BEFORE", "BANDS_AFTER"}

Pair = Tuple[str, str, str]  # name, before, after

# Text in place of the box with a raster's bands: here are many rasters.
BANDS = [
    fields.Text(
        f"BANDS_{date}",
        f"Bands of the images {date.lower()}",
        "Which bands are compared, by number or name, separated by commas, such as 4,3,2. Empty: all.",
        f"--bands-{date.lower()}",
        advanced=True,
        optional=True,
    )
    for date in ("BEFORE", "AFTER")
]


class DetectPairs(Detection):
    """One engine run per pair; a pair that cannot be used does not stop the others."""

    ID = "detectpairs"
    TITLE = "Detect changes over many pairs"
    ICON = "pairs.svg"
    SUMMARY = "Detects changes in every pair of images of the same file name in two folders."
    HELP = (
        "before/tile_01.tif goes with after/tile_01.tif; the suffix may differ. Images without a partner are named "
        "in the log and left out. For each pair, NAME_change.tif and NAME_changes.gpkg are written to the results "
        "folder, and NAME_probability.tif on request.",
        "A pair that cannot be used (damaged, no common ground) is reported, and the others go on; the number of "
        "failed pairs is among the results. The run fails where no pair could be used.",
        "For pairs that are named differently, use Detect changes with Execute as batch process.",
    )
    TAGS = ("batch", "folder", "many", "series", "tiles")
    FIELDS = (
        fields.Folder("BEFORE_FOLDER", "Folder with the images before", "GeoTIFF, VRT, JPEG 2000, PNG or JPEG files."),
        fields.Folder(
            "AFTER_FOLDER", "Folder with the images after", "Files of the same names as in the other folder."
        ),
        *(
            field
            for field in Detect.FIELDS
            if not isinstance(field, destinations.Output) and field.name not in PER_PAIR
        ),
        *BANDS,
        fields.Switch("SAVE_PROBABILITY", "Save the probability rasters too", "One more raster for each pair.", "-"),
        destinations.FolderOutput("RESULTS", "Results", "Folder for the results of all pairs.", "-"),
    )
    NUMBERS: ClassVar = {
        "N_PAIRS": ("Number of pairs found", ""),
        "N_FAILED": ("Number of pairs that could not be used", ""),
        "CHANGED_AREA_M2": ("Changed area of all pairs in square metres", ""),
        "N_CHANGES": ("Number of changed areas in all pairs", ""),
    }
    PER_RUN = ("BEFORE_FOLDER", "AFTER_FOLDER", "SAVE_PROBABILITY", "RESULTS")

    def initAlgorithm(self, configuration: Dict[str, Any] | None = None) -> None:
        """Adds the lists of results, which a model can merge or mosaic."""
        super().initAlgorithm(configuration)
        self.addOutput(QgsProcessingOutputMultipleLayers("CHANGE_LAYERS", self.tr("Change rasters")))
        self.addOutput(QgsProcessingOutputMultipleLayers("POLYGON_LAYERS", self.tr("Changed areas")))

    def problem(self, call: fields.Call) -> str:
        """Folders, tiles and the model's file."""
        folders = []
        for name, label in (("BEFORE_FOLDER", "before"), ("AFTER_FOLDER", "after")):
            path = self.parameterAsFile(call.parameters, name, call.context)
            if not os.path.isdir(path):
                return f"Folder with the images {label}: {path} is not a folder."
            folders.append(path)
        if os.path.realpath(folders[0]) == os.path.realpath(folders[1]):
            return (
                "The images before and after lie in the same folder: pairs are matched by name, so each needs its own."
            )
        try:
            found, _ = match(*folders)
        except ValueError as error:
            return str(error)
        if not found:
            return f"No file of {folders[0]} has a partner of the same name in {folders[1]} ({', '.join(SUFFIXES)})."
        return checks.tiles(call) or checks.model(call)

    def destinations(self, call: fields.Call) -> Dict[str, str]:
        """The folder itself is made here: the engine makes none."""
        found = super().destinations(call)
        make_folder(found["RESULTS"])
        return found

    def arguments(self, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """The options that all pairs share."""
        words: List[str] = []
        for field in self.FIELDS:
            if field.name not in self.PER_RUN:
                words += field.argv(call)
        first, second = (self.parameterAsFile(call.parameters, name, call.context) for name in self.PER_RUN[:2])
        self._pairs, self._alone = match(sources.absolute(first), sources.absolute(second))
        self._save_probability = self.parameterAsBool(call.parameters, "SAVE_PROBABILITY", call.context)
        return [*words, "--overwrite"]

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """One pair after the other."""
        for path in self._alone:
            feedback.pushWarning(self.tr("{} has no partner and is left out.").format(path))
        python = self.ready_engine(feedback)
        steps = QgsProcessingMultiStepFeedback(len(self._pairs), feedback)
        folder, failed, reasons = self._outputs["RESULTS"], 0, []
        changes: List[str] = []
        polygons: List[str] = []
        area, count = 0.0, 0.0
        for number, (name, before, after) in enumerate(self._pairs):
            steps.setCurrentStep(number)
            feedback.pushInfo(f"[{number + 1}/{len(self._pairs)}] {name}")
            outputs = self._paths(folder, name)
            words = [word for option, path in outputs.items() for word in fields.given(option, path)]
            try:
                result = self.run_engine(python, [self.COMMAND, before, after, *words, *self._arguments], steps)
            except EngineFailed as error:
                if error.exit_code != BAD_INPUT:
                    raise QgsProcessingException(f"{name}: {error}") from error
                failed += 1
                reasons.append(str(error))
                feedback.reportError(f"{name}: {error}")
                continue
            changes.append(outputs["--output"])
            polygons.append(outputs["--polygons"])
            area += result.stats.get("changed_area_m2") or 0.0
            count += result.stats.get("polygons") or 0
            for option, style in (("--output", "change"), ("--polygons", "polygons"), ("--probability", "probability")):
                if option in outputs:
                    styling.write_style(outputs[option], style)
        if not changes:
            raise QgsProcessingException(self.tr("None of the {} pairs could be used. {}").format(failed, reasons[0]))
        return {
            "RESULTS": folder,
            "CHANGE_LAYERS": changes,
            "POLYGON_LAYERS": polygons,
            "N_PAIRS": len(self._pairs),
            "N_FAILED": failed,
            "CHANGED_AREA_M2": area,
            "N_CHANGES": count,
        }

    def _paths(self, folder: str, name: str) -> Dict[str, str]:
        paths = {
            "--output": os.path.join(folder, f"{name}_change.tif"),
            "--polygons": os.path.join(folder, f"{name}_changes.gpkg"),
        }
        if self._save_probability:
            paths["--probability"] = os.path.join(folder, f"{name}_probability.tif")
        return paths


def match(before: str, after: str) -> Tuple[List[Pair], List[str]]:
    """Pairs of the same stem in two folders, sorted by name, and the files without a partner.

    Raises:
        ValueError: two images of one folder have the same stem.
    """
    first, second = _images(before), _images(after)
    pairs = [(stem, first[stem], second[stem]) for stem in sorted(first) if stem in second]
    alone = [path for stem, path in first.items() if stem not in second]
    alone += [path for stem, path in second.items() if stem not in first]
    return pairs, sorted(alone)


def _images(folder: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in SUFFIXES or name.startswith("."):
            continue
        if stem in found:
            raise ValueError(
                f"{os.path.basename(found[stem])} and {name} in {folder} have the same name: keep one of them."
            )
        found[stem] = os.path.join(folder, name)
    return found
