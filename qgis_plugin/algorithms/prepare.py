"""`cdengine:prepare`: layers of images and labels in, a data set for training out."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict, Optional

from qgis.core import QgsProcessingFeedback, QgsProcessingOutputFile

from ..engine.events import Result
from . import checks, destinations, fields, learning, shared
from .base import EngineAlgorithm

CUT, CONVERT = ("pairs", "single"), ("second", "senseearth", "hiucd")


class Prepare(EngineAlgorithm):
    """Patches that keep their place on the ground, in splits that lie apart."""

    ID = "prepare"
    TITLE = "Prepare training data"
    COMMAND = "prepare"
    ICON = "prepare.svg"
    GROUP = learning.GROUP
    SUMMARY = "Cuts images and labels of what changed into a data set of patches that Train a model takes."
    HELP = (
        "Labels are polygons of what changed, or a raster with 0 where nothing did. Say with the labelled area which "
        "ground was looked at: outside of it nothing is learnt.",
        "Patches go to the splits train, val and test by blocks of ground with a gap between them, so that neighbours "
        "never stand on both sides.",
        "Several scenes at once: a table (CSV) with the columns before, after, label, and where wanted split and aoi.",
        "The folder gets A, B and label, an index, and a picture of the split.",
    )
    TAGS = ("training data", "patches", "tiles", "chips", "labels", "data set", "split")
    FIELDS = (
        fields.Choice(
            "RECIPE",
            "What is prepared",
            "pairs: two dates with labels of change. single: one date with labels of land cover. second, senseearth, "
            "hiucd: the download of that data set, brought to one form.",
            choices=(*CUT, *CONVERT),
            default="pairs",
        ),
        fields.Raster(
            "BEFORE", "Image before", "The earlier image; for single: the image. Its grid is that of the patches.",
            optional=True,
        ),
        fields.Raster("AFTER", "Image after", "The later image, aligned while it is read.", optional=True),
        fields.Layer(
            "LABEL", "Labels", "Polygons of what changed, or a raster of it; for single: of land cover.", "--label",
            optional=True,
        ),
        fields.Polygons(
            "AOI", "Labelled area", "Polygons of the ground that was looked at; the rest is left out. Empty: all.",
            "--aoi", optional=True,
        ),
        fields.Layer(
            "BEFORE_CLASSES", "Land cover before", "Polygons or a raster, for models that tell classes.",
            "--before-classes", advanced=True, optional=True,
        ),
        fields.Layer(
            "AFTER_CLASSES", "Land cover after", "The same for the second date.", "--after-classes", advanced=True,
            optional=True,
        ),
        fields.Text(
            "CLASSES", "Classes", "Names with their values, such as water=1,forest=2. Empty: one for each value.",
            "--classes", advanced=True, optional=True,
        ),
        fields.Text(
            "CLASS_FIELD", "Field with the class", "Attribute of the polygons of land cover.", "--class-field",
            advanced=True, optional=True,
        ),
        fields.Text(
            "LABEL_CODING", "Values of a raster of change",
            "0/1, 0/255, or such as unchanged=1,changed=2,ignored=0. Empty: found out.", "--label-coding",
            advanced=True, optional=True,
        ),
        fields.File(
            "SCENES", "Table of scenes", "In place of the images and labels above: a table that names many.",
            advanced=True, optional=True, filter="Tables (*.csv *.parquet)",
        ),
        fields.Folder(
            "DOWNLOAD", "Folder of the download", "For second, senseearth and hiucd.", advanced=True, optional=True
        ),
        fields.Number("PATCH", "Size of a patch (pixels)", "From 16 to 8192.", "--patch", default=256, least=16,
                      most=8192, whole=True),
        fields.Text("SPLITS", "Shares of the splits", "Empty: train=0.7,val=0.15,test=0.15.", "--splits",
                    advanced=True, optional=True),
        fields.Number("BLOCK", "Size of a block (pixels)", "What lies in one block goes to one split. Empty: 1 to 4 "
                      "patches.", "--block", advanced=True, optional=True, least=16, whole=True),
        fields.Number("BUFFER", "Gap between splits (pixels)", "Empty: a quarter of a patch.", "--buffer",
                      advanced=True, optional=True, most=8192, whole=True),
        fields.Number("MIN_VALID", "Least valid share of a patch", "Patches with more nodata or unlabelled ground are "
                      "left out.", "--min-valid", advanced=True, default=0.5, most=1.0),
        fields.Number("KEEP_UNCHANGED", "Share of unchanged patches that is kept", "Of the training split; the others "
                      "keep all.", "--keep-unchanged", advanced=True, default=1.0, most=1.0),
        fields.Choice("FORMAT", "Format of the patches", "tif keeps place and every data type; png: 8 bits, 1 or 3 "
                      "bands.", "--format", advanced=True, choices=("tif", "png"), default="tif"),
        fields.Switch("WORLD_FILES", "World files beside PNG patches", "They keep the place.", "--world-files",
                      advanced=True),
        fields.Switch("RGB_LABELS", "Write classes as colours", "For second and senseearth: in place of numbers with a "
                      "colour table.", "--rgb-labels", advanced=True),
        *(field for field in shared.COMPUTING if field.name in ("BANDS_BEFORE", "BANDS_AFTER", "ALIGN")),
        fields.Number("SEED", "Seed", "Of the splits and of what is left out.", "--seed", advanced=True, default=0,
                      whole=True),
        destinations.FolderOutput("OUTPUT", "Data set", "Folder for the patches.", "--output"),
    )  # fmt: skip
    NUMBERS: ClassVar = {
        "N_PATCHES": ("Number of patches", "patches"),
        "N_TRAIN": ("Patches for training", "train_patches"),
        "N_VAL": ("Patches for validation", "val_patches"),
        "N_TEST": ("Patches for testing", "test_patches"),
        "N_INVALID": ("Patches left out as invalid or unlabelled", "left_out_invalid"),
        "N_UNCHANGED": ("Unchanged patches left out", "left_out_unchanged"),
    }
    STAGES: ClassVar = {"survey of labels": 15.0, "patches": 80.0, "picture": 5.0}
    TITLES: ClassVar = {
        "survey of labels": "Looking at the labels",
        "label values": "Looking at the values of the labels",
        "patches": "Cutting patches",
        "picture": "Drawing the splits",
    }

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Adds files inside the data set."""
        super().initAlgorithm(configuration)
        self.addOutput(QgsProcessingOutputFile("PICTURE", self.tr("Picture of the splits")))

    def problem(self, call: fields.Call) -> str:
        """What the recipe needs, and nothing else."""
        recipe = self.parameterAsEnumString(call.parameters, "RECIPE", call.context)
        given = {name for name in ("BEFORE", "AFTER", "LABEL", "SCENES", "DOWNLOAD") if not call.unset(name)}
        if recipe in CONVERT:
            wrong = given != {"DOWNLOAD"} and f"{recipe} takes the folder of the download, and no images or tables."
        elif "SCENES" in given:
            wrong = given != {"SCENES"} and "A table of scenes goes without images, labels and a download."
        elif recipe == "single":
            wrong = given != {"BEFORE", "LABEL"} and "single takes one image (as the image before) and its labels."
        else:
            classes = not call.unset("BEFORE_CLASSES")
            wrong = (given - {"LABEL"} != {"BEFORE", "AFTER"} or not (classes or "LABEL" in given)) and (
                "pairs takes an image before, an image after, and labels."
            )
        if wrong:
            return f"What is prepared: {wrong}"
        for name, label in (("SCENES", "Table of scenes"), ("DOWNLOAD", "Folder of the download")):
            path = "" if call.unset(name) else self.parameterAsFile(call.parameters, name, call.context)
            if path and not os.path.exists(path):
                return f"{label}: {path} does not exist."
        return super().problem(call) or checks.pair(call) or checks.bands(call)

    def results(self, result: Result, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """The counts, also as lines of the log, and the picture."""
        for name, value in result.stats.items():
            if name.endswith("_patches"):
                share = result.stats.get(name.replace("_patches", "_change_share"))
                changed = f", {100 * share:.2g} % of their pixels changed" if isinstance(share, float) else ""
                feedback.pushInfo(f"{name[: -len('_patches')]}: {value} patches{changed}")
        return {"PICTURE": result.outputs.get("picture", ""), **super().results(result, feedback)}
