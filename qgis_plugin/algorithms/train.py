"""`cdengine:train`: pairs with labels in, a model for Detect changes out."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict, List, Mapping, Optional

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingOutputString,
    QgsProcessingUtils,
)

from .. import settings
from ..engine import modelfolder
from ..engine.events import Result
from . import fields, learning, trainfields
from .base import EngineAlgorithm
from .evaluate import Evaluate
from .pseudolabel import PseudoLabel

# What a run folder keeps of itself: of one model, of a chain.
KEPT = ("config.yaml", "chain.yaml")


class Train(EngineAlgorithm):
    """A run folder with the model, its figures and a report; the model joins the user's own."""

    ID = "train"
    TITLE = "Train a model"
    COMMAND = "train"
    ICON = "train.svg"
    GROUP = learning.GROUP
    SUMMARY = "Trains a network on pairs of images with labels of what changed, and makes a model for Detect changes."
    HELP = (
        "The data set is a folder of patches, as Prepare training data makes it of your rasters and labels. Its "
        "validation split chooses the best epoch and the threshold.",
        "The log tells the figures of every epoch. The run folder gets the model (model.safetensors), the table of "
        "figures, sample pictures, events for TensorBoard and a report. The figures of the result are those of the "
        "validation split.",
        "The finished model is put into your folder of models, and stands in Detect changes under its name from then "
        "on.",
        "A recipe with a section chain trains several models in a row: teachers, pseudo labels of what did not change, "
        "students that learn from both, and a comparison of them all. The best student is the model then, and its "
        "figures are those of the split in chain.evaluation.split (none: the validation split).",
        "A graphics card makes this many times faster. A run that was cancelled goes on with Resume.",
    )
    TAGS = ("deep learning", "network", "learning", "fit", "fine-tune", "supervised")
    FIELDS = trainfields.FIELDS
    # What a recipe can also say, by its key there; with Resume only what may differ on another machine is told.
    SETTINGS = trainfields.SETTINGS
    REPLACES = ()
    CANCELLED = "Cancelled. To go on, run it again with the same run folder and Resume."
    NUMBERS: ClassVar = {
        "F1": ("F1 of the model", "f1"),
        "IOU": ("IoU of the model", "iou"),
        "PRECISION": ("Precision of the model", "precision"),
        "RECALL": ("Recall of the model", "recall"),
        "SCORE": ("Score of the model (classes)", "score"),
        "MIOU": ("Mean IoU of the model (classes)", "miou"),
        "SEK": ("Separated kappa of the model (classes)", "sek"),
        "FSCD": ("F of semantic change of the model (classes)", "fscd"),
        "AP": ("Average precision of the model", "ap"),
        "THRESHOLD_USED": ("Threshold of the model", "threshold"),
        "BEST_EPOCH": ("Epoch that the model is from", "epoch"),
    }
    # A recipe of a chain trains several models, each with these stages, and does the jobs of STEPS.
    STAGES: ClassVar = {"labels": 1.0, "statistics": 2.0, "change shares": 2.0, "epoch": 95.0}
    STEPS: ClassVar = {"pseudo labels": PseudoLabel.STAGES, "evaluation": Evaluate.STAGES}
    TITLES: ClassVar = {
        **Evaluate.TITLES,
        **PseudoLabel.TITLES,
        "statistics": "Statistics of the images",
        "change shares": "Shares of change",
        "pseudo labels": "Looking at the pseudo labels",
    }

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Adds what is not a destination: files inside the run folder, and the model's name."""
        super().initAlgorithm(configuration)
        self.addOutput(QgsProcessingOutputFile("MODEL", self.tr("Model file")))
        self.addOutput(QgsProcessingOutputString("MODEL_NAME", self.tr("Name of the model in Detect changes")))
        self.addOutput(QgsProcessingOutputHtml("REPORT", self.tr("Report")))

    def problem(self, call: fields.Call) -> str:
        """The data set, the run folder, bands and settings."""
        resume = self.parameterAsBool(call.parameters, "RESUME", call.context)
        if call.unset("DATA") and call.unset("RECIPE") and not resume:
            return "Data set: name its folder (or a recipe that names it)."
        for name, label in (("DATA", "Data set"), ("RECIPE", "Recipe"), ("WEIGHTS", "Model to start from"),
                            ("PSEUDO_LABELS", "Pseudo labels")):  # fmt: skip
            if not call.unset(name):
                path = self.field(name).value(call) or ""
                if not os.path.exists(path) and (name != "RECIPE" or os.path.isabs(path)):
                    return f"{label}: {path} does not exist."
        return (
            super().problem(call)
            or learning.bands(call)
            or self._run_folder(call, resume)
            or ("" if resume or self._recipe_decides("NAME", call) else self._name(call))
            or _settings(call)
        )

    def _name(self, call: fields.Call) -> str:
        """Neither is a model of the user's."""
        name = self.field("NAME").value(call)
        keep, replace = (
            self.parameterAsBool(call.parameters, word, call.context) for word in ("ADD_TO_MODELS", "REPLACE")
        )
        if keep and not replace and name in [model.label for model in settings.own_models()]:
            return f"Name of the model: your models have a {name!r} already. Choose another name, or tick Replace."
        return ""

    def _run_folder(self, call: fields.Call, resume: bool) -> str:
        """A run of days is not replaced unless that is asked for."""
        folder = self.field("RUN").wanted(call)
        if folder is None:
            return "Resume: name the run folder that is to go on." if resume else ""
        folder = fields.sources.absolute(folder)
        is_run = any(os.path.isfile(os.path.join(folder, name)) for name in KEPT)
        if resume and not is_run:
            return f"Run folder: {folder} holds no run that could go on ({KEPT[0]} is missing)."
        if resume or not os.path.isdir(folder) or not os.listdir(folder):
            return ""
        if not is_run:
            return f"Run folder: {folder} has other files in it: choose a new or an empty one."
        if not self.parameterAsBool(call.parameters, "REPLACE", call.context):
            return f"Run folder: {folder} holds a run. Choose another one, or tick Resume or Replace."
        return ""

    def field(self, name: str) -> Any:  # noqa: ANN401 (a field of whatever kind)
        """The field of a name."""
        return next(field for field in self.FIELDS if field.name == name)

    def prepareAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Also reads where models are put."""
        self._models = settings.models_folder()
        self._keep = self.parameterAsBool(parameters, "ADD_TO_MODELS", context)
        self._replace = self.parameterAsBool(parameters, "REPLACE", context)
        return super().prepareAlgorithm(parameters, context, feedback)

    def arguments(self, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """A new run has a recipe, an empty one if need be; one that goes on has its own."""
        words = super().arguments(call, outputs)
        if self.parameterAsBool(call.parameters, "RESUME", call.context):
            return [*words, *fields.given("--resume", outputs["RUN"])]
        words += fields.given("--output", outputs["RUN"])
        if call.unset("RECIPE"):
            recipe = QgsProcessingUtils.generateTempFilename("recipe.yaml")
            with open(recipe, "w", encoding="utf-8") as file:
                file.write("{}\n")
            words += fields.given("--config", recipe)
        replace = self.parameterAsBool(call.parameters, "REPLACE", call.context)
        return [*words, "--overwrite"] if replace else words

    def words(self, field: fields.Field, call: fields.Call, outputs: Mapping[str, str]) -> List[str]:
        """Settings become `--set=KEY=VALUE`; the run folder is told in `arguments`."""
        resume = self.parameterAsBool(call.parameters, "RESUME", call.context)
        if field.name in trainfields.OWN or (resume and field.name not in trainfields.OF_THE_MACHINE):
            return []
        if field.name == "SETTINGS":
            return [f"--set={line}" for line in trainfields.lines(field, call)]
        if field.name in self.SETTINGS:
            if self._recipe_decides(field.name, call):
                return []
            return fields.given("--set", trainfields.setting(field, self.SETTINGS[field.name], call))
        if field.name == "DEVICE" and trainfields.left_alone(field, call):
            return []  # the recipe's or the run's own; auto where they say nothing
        return super().words(field, call, outputs)

    def _recipe_decides(self, name: str, call: fields.Call) -> bool:
        """Whether the user named a recipe, and left this field as it was."""
        return not call.unset("RECIPE") and trainfields.left_alone(self.field(name), call)

    def results(self, result: Result, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """The model's file and name; the model is copied to the user's own."""
        path = result.outputs.get("model", "")
        found = {"MODEL": path, "MODEL_NAME": path, "REPORT": result.outputs.get("report", "")}
        if self._keep:
            try:
                own = modelfolder.add(path, self._models, self._replace)
            except (OSError, modelfolder.NoCard) as error:
                raise QgsProcessingException(
                    f"The model is at {path}, but cannot be put into {self._models}: {error}"
                ) from error
            found["MODEL_NAME"] = own.label
            feedback.pushInfo(f"Detect changes knows the model as {own.label} from now on ({own.path}).")
        return {**found, **super().results(result, feedback)}


def _settings(call: fields.Call) -> str:
    field = trainfields.SETTINGS_FIELD
    wrong = next((line for line in trainfields.lines(field, call) if "=" not in line), None)
    return "" if wrong is None else f"{field.label}: {wrong!r} has to be KEY=VALUE."
