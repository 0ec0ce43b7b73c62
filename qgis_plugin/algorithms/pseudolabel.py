"""`cdengine:pseudolabel`: classes for the ground that did not change, as an ensemble of models sees it."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict, List, Mapping, Optional

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputFolder,
    QgsProcessingOutputHtml,
)

from ..engine.events import Result
from . import checks, destinations, fields, learning, shared
from .base import EngineAlgorithm

# What a folder of pseudo labels has of itself.
KEPT = "job.json"
LAYOUTS = ("second", "senseearth", "index", "pairs")


class PseudoLabel(EngineAlgorithm):
    """A data set with classes of what changed in, labels with classes nearly everywhere out."""

    ID = "pseudolabel"
    TITLE = "Label unchanged areas (pseudo labels)"
    COMMAND = "pseudo-label"
    ICON = "pseudolabel.svg"
    GROUP = learning.GROUP
    SUMMARY = "Gives a data set classes where nothing changed, by a vote of several trained models."
    HELP = (
        "Labels of semantic change tell classes only where something changed. Models that were trained on them label "
        "the rest: where a model sees one class at both dates it votes for it, and the majority decides. What is "
        "labelled already stays as it is; what the models do not agree on stays unlabelled.",
        "A model trained on the result afterwards (Train a model, with these labels) has many times as many pixels to "
        "learn classes from, and is usually better.",
        "Take two or more models that differ: other architectures, sizes or seeds.",
        "The folder gets the labels, a report and a picture. The data set itself is not changed.",
    )
    TAGS = ("pseudo label", "self-training", "distillation", "semi-supervised", "ensemble", "semantic", "senseearth")
    FIELDS = (
        learning.data_folder(),
        learning.layout(LAYOUTS, "second"),
        fields.Text(
            "SPLIT",
            "Split",
            "Which part is labelled: the name of a split folder or of a list (train, val), or all.",
            "--split",
            default="train",
        ),
        fields.Models(
            "MODELS",
            "Models",
            "Your own models by name, or model files (.safetensors), separated by semicolons: trained models with "
            "classes, each of them a member of the ensemble.",
            "--model",
            wrapper="widgets.OwnModelsWidgetWrapper",
        ),
        fields.Choice("TTA", "Test-time augmentation", shared.TTA_HELP, "--tta", choices=shared.TTA, default="six"),
        fields.Number(
            "MIN_CONFIDENCE",
            "Least confidence of a vote",
            "From 0 to below 1. A model abstains where its probability of the class is smaller, at either date. 0: it "
            "votes wherever it sees one class at both dates.",
            "--min-confidence",
            advanced=True,
            default=0.0,
            most=0.999,
            decimals=3,
        ),
        fields.Switch(
            "LABEL_SHIFT",
            "Correct for how common the classes are",
            "Estimates how common each class is on unchanged ground, where roads or water may cover more than among "
            "the labels of what changed, and corrects the models' probabilities before they vote.",
            "--label-shift",
            advanced=True,
        ),
        learning.CLASSES,
        learning.CODING,
        *learning.BANDS,
        shared.DEVICE,
        *(field for field in shared.NETWORK if field.name == "PRECISION"),
        *(field for field in shared.TILING if field.name != "OVERLAP"),
        fields.Switch(
            "RESUME",
            "Resume an interrupted run",
            "Goes on where an earlier run with the same data, models, options and folder stopped.",
            "--resume",
            advanced=True,
        ),
        fields.Switch(
            "REPLACE",
            "Replace earlier pseudo labels",
            "Those in the same folder are lost.",
            advanced=True,
        ),
        destinations.FolderOutput(
            "OUTPUT", "Pseudo labels", "Folder for the labels, the report and the picture.", "--output"
        ),
    )
    REPLACES = ()
    CANCELLED = "Cancelled. To go on, run it again with the same folder and Resume."
    NUMBERS: ClassVar = {
        "N_PAIRS": ("Number of pairs", "pairs"),
        "LABELLED_SHARE": ("Share of the pixels that have a class now", "labelled_share_of_pixels"),
        "AGREEMENT": ("Agreement of the models, from 0 to 1", "agreement"),
        "SECONDS": ("Seconds that it took", "seconds"),
    }
    STAGES: ClassVar = {"load model": 3.0, "pseudo-label": 94.0, "pictures": 3.0}
    TITLES: ClassVar = {
        "load model": "Loading the models",
        "labels": "Looking at the labels",
        "pseudo-label": "Labelling unchanged areas",
        "pictures": "Drawing the pictures",
    }

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Adds what lies inside the folder."""
        super().initAlgorithm(configuration)
        self.addOutput(QgsProcessingOutputFolder("PSEUDO_LABELS", self.tr("Folder of the label images")))
        self.addOutput(QgsProcessingOutputHtml("REPORT", self.tr("Report")))
        self.addOutput(QgsProcessingOutputFile("PICTURE", self.tr("Picture of the labels")))

    def problem(self, call: fields.Call) -> str:
        """The data set, the models and the folder."""
        data = self.parameterAsFile(call.parameters, "DATA", call.context)
        if not os.path.exists(data):
            return f"Data set: {data} does not exist."
        output = next(field for field in self.FIELDS if field.name == "OUTPUT").wanted(call)
        if output is not None and os.path.realpath(fields.sources.absolute(output)) == os.path.realpath(data):
            return "Pseudo labels: this is the folder of the data set, which is to stay as it is: choose another one."
        return (
            super().problem(call)
            or learning.bands(call)
            or checks.members(call, "MODELS")
            or checks.tiles(call)
            or ("" if output is None else self._folder(call, fields.sources.absolute(output)))
        )

    def _folder(self, call: fields.Call, folder: str) -> str:
        """Hours of work are not replaced unless that is asked for."""
        resume, replace = (self.parameterAsBool(call.parameters, name, call.context) for name in ("RESUME", "REPLACE"))
        if resume and replace:
            return "Resume goes on with a run, Replace begins anew: tick one of them."
        if not os.path.isdir(folder) or not os.listdir(folder):
            return ""
        if not os.path.isfile(os.path.join(folder, KEPT)):
            return f"Pseudo labels: {folder} has other files in it: choose a new or an empty one."
        if not resume and not replace:
            return f"Pseudo labels: {folder} holds some already. Choose another folder, or tick Resume or Replace."
        return ""

    def arguments(self, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """Nothing is replaced unless that was asked for."""
        words = super().arguments(call, outputs)
        replace = self.parameterAsBool(call.parameters, "REPLACE", call.context)
        return [*words, "--overwrite"] if replace else words

    def results(self, result: Result, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """The folder of the labels, report and picture; the shares also as lines of the log."""
        shares = (
            ("labelled_share_of_unchanged", "of the unchanged pixels were labelled"),
            ("labelled_share_of_pixels", "of the pixels have a class now"),
            ("agreement", "agreement of models"),
        )
        for name, text in shares:
            value = result.stats.get(name)
            if isinstance(value, (int, float)):
                feedback.pushInfo(f"{100 * value:.1f} % {text}")
        found = {name: result.outputs.get(name.lower(), "") for name in ("PSEUDO_LABELS", "REPORT", "PICTURE")}
        return {**found, **super().results(result, feedback)}
