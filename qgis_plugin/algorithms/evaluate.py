"""`cdengine:evaluate`: figures of a model, or of change maps made elsewhere, on pairs with labels."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict

from qgis.core import QgsProcessingFeedback

from ..engine.events import Result
from . import checks, destinations, fields, learning, shared
from .base import EngineAlgorithm


class Evaluate(EngineAlgorithm):
    """A data set with labels in, figures, pictures of the errors and label images out."""

    ID = "evaluate"
    TITLE = "Evaluate a model"
    COMMAND = "evaluate"
    ICON = "evaluate.svg"
    GROUP = learning.GROUP
    SUMMARY = "Measures how well a model, or change maps made elsewhere, agree with labels."
    HELP = (
        "The figures stand in the log, among the results, and in the file of figures: precision (how much of what was "
        "found is right), recall (how much of the change was found), F1 (both in one), IoU, kappa and average "
        "precision. The report shows where the model is wrong.",
        "Take a split that the model was not trained on, and that did not choose its threshold.",
        "With label images asked for, pairs without labels are labelled too.",
    )
    TAGS = ("accuracy", "f1", "iou", "confusion", "test", "validation", "metrics", "assessment")
    FIELDS = (
        learning.data_folder(),
        learning.layout(),
        fields.Text(
            "SPLIT",
            "Split",
            "Which part: the name of a split folder or of a list (train, val, test), or all.",
            "--split",
            default="test",
        ),
        fields.Models(
            "MODEL",
            "Model",
            "What Detect changes takes: a name, a method, or a file. Several, separated by semicolons, or a folder of "
            "training runs: mean and spread. Leave it empty to measure change maps made elsewhere.",
            "--model",
            optional=True,
            default=shared.DEFAULT,
            wrapper="widgets.ModelWidgetWrapper",
        ),
        fields.Switch(
            "ENSEMBLE",
            "Measure the models as one",
            "The mean of their probabilities is measured, in place of each model. Takes two or more.",
            "--ensemble",
            advanced=True,
        ),
        fields.Folder(
            "PREDICTIONS",
            "Change maps made elsewhere",
            "Folder of rasters named like the labels, with 0 and 1, 0 and 255, or probabilities.",
            "--predictions",
            optional=True,
        ),
        fields.Choice(
            "PROTOCOL",
            "Protocol",
            "whole: tiles are blended over each image, as in Detect changes. tiles256: tiles of 256 pixels, each by "
            "itself, as in many papers.",
            "--protocol",
            advanced=True,
            choices=("whole", "tiles256"),
            default="whole",
        ),
        shared.THRESHOLD,
        fields.Text(
            "THRESHOLD_FROM",
            "Find the threshold on split",
            "A split (not the one that is measured) on which the threshold with the best F1 is found.",
            "--threshold-from",
            advanced=True,
            optional=True,
        ),
        learning.CLASSES,
        learning.CODING,
        *learning.BANDS,
        shared.DEVICE,
        *(field for field in shared.NETWORK if field.name not in ("ENSEMBLE", "TIME_BUDGET")),
        *shared.TILING,
        destinations.FileOutput(
            "OUTPUT", "Figures", "All figures, of every image too (JSON).", "--output", optional=True,
            suffixes=("json",), filter="JSON (*.json)",
        ),
        destinations.FileOutput(
            "REPORT", "Report", "A web page with figures, and pictures of hits, misses and false alarms.", "--report",
            optional=True, suffixes=("html", "htm"), filter="HTML (*.html)",
        ),
        destinations.FileOutput(
            "CSV", "Table of the images", "Figures of every image as a table.", "--csv", advanced=True, optional=True,
            created=False, suffixes=("csv",), filter="CSV (*.csv)",
        ),
        destinations.FolderOutput(
            "LABELS", "Label images", "What the model says of every pair, as images.", "--save-predictions",
            advanced=True, optional=True, created=False,
        ),
    )  # fmt: skip
    NUMBERS: ClassVar = {
        "F1": ("F1 of change", "f1"),
        "PRECISION": ("Precision of change", "precision"),
        "RECALL": ("Recall of change", "recall"),
        "IOU": ("Intersection over union of change", "iou"),
        "OA": ("Overall accuracy", "oa"),
        "KAPPA": ("Kappa", "kappa"),
        "AP": ("Average precision", "ap"),
        "MIOU": ("Mean IoU (classes)", "miou"),
        "SEK": ("Separated kappa (classes)", "sek"),
        "FSCD": ("F of semantic change (classes)", "fscd"),
        "SCORE": ("Score (classes)", "score"),
        "N_PAIRS": ("Number of pairs", "pairs"),
    }
    STAGES: ClassVar = {"load model": 5.0, "labels": 5.0, "evaluate": 85.0, "pictures": 5.0}
    TITLES: ClassVar = {
        "load model": "Loading the model",
        "labels": "Looking at the labels",
        "evaluate": "Measuring",
        "pictures": "Drawing the report's pictures",
    }
    MOMENTS: ClassVar = {"step": "Model"}

    def problem(self, call: fields.Call) -> str:
        """Model or predictions, the folders, tiles and outputs."""
        model, predictions = call.unset("MODEL"), call.unset("PREDICTIONS")
        if model and predictions:
            return "Name a model, or a folder with change maps made elsewhere: there is nothing to measure."
        for name, label in (("DATA", "Data set"), ("PREDICTIONS", "Change maps made elsewhere")):
            path = "" if call.unset(name) else self.parameterAsFile(call.parameters, name, call.context)
            if path and not os.path.exists(path):
                return f"{label}: {path} does not exist."
        return super().problem(call) or checks.tiles(call)

    def words(self, field: fields.Field, call: fields.Call, outputs: Dict[str, str]) -> list[str]:
        """Predictions go before the model, which the dialog fills in by itself; they need none of its options."""
        of_model = field.name in ("MODEL", "ENSEMBLE", "TILE", "OVERLAP", "PROTOCOL", "LABELS", "THRESHOLD_FROM")
        if of_model and not call.unset("PREDICTIONS"):
            return []
        return super().words(field, call, outputs)

    def results(self, result: Result, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """The figures, also as lines of the log."""
        feedback.pushInfo("Figures over the pixels of all labelled pairs:")
        for name, value in result.stats.items():
            if isinstance(value, (int, float)) and name not in ("seconds",):
                feedback.pushInfo(f"  {name}: {value:.4g}")
        return super().results(result, feedback)
