"""The fields of `train`, and what each of them is in a recipe."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import List, Optional, Tuple

from . import destinations, fields, learning, shared

ARCHITECTURES = (
    "fc-ef", "fc-siam-conc", "fc-siam-diff", "snunet", "stanet", "bit", "changeformer", "changer", "tinycd",
    "lightcdnet", "changestar", "btc", "bisrnet", "senseearth",
)  # fmt: skip
SETTINGS_FIELD = fields.Text(
    "SETTINGS",
    "Further settings",
    "Anything that a recipe can say, one KEY=VALUE a line (or separated by semicolons), such as "
    "optimiser.weight_decay=0.05 or loss.dice=2.",
    advanced=True,
    optional=True,
    lines=True,
)


def _number(name: str, label: str, text: str, *, least: float = 1, most: Optional[float] = None) -> fields.Number:
    return fields.Number(name, label, text, advanced=True, optional=True, least=least, most=most, whole=True)


class Recipe(fields.File):
    """A file, or the name of a recipe that the engine brings, which it looks up."""

    def value(self, call: fields.Call) -> Optional[str]:
        path = super().value(call)
        named = call.algorithm.parameterAsFile(call.parameters, self.name, call.context)
        return named if path and not os.path.exists(path) and not os.path.isabs(named) else path


# field → key of the recipe
SETTINGS = {
    "DATA": "data.root",
    "LAYOUT": "data.layout",
    "NAME": "name",
    "ARCHITECTURE": "model.architecture",
    "EPOCHS": "trainer.epochs",
    "WEIGHTS": "model.weights",
    "TRAIN_SPLIT": "data.train",
    "VALIDATION_SPLIT": "data.validation",
    "PSEUDO_LABELS": "data.pseudo_labels",
    "CLASSES": "data.classes",
    "BANDS_BEFORE": "data.bands_before",
    "BANDS_AFTER": "data.bands_after",
    "BATCH_SIZE": "data.batch_size",
    "CROP": "data.augmentation.crop",
    "LEARNING_RATE": "optimiser.learning_rate",
    "EARLY_STOPPING": "trainer.early_stopping",
    "SEED": "seed",
    "PRECISION": "trainer.precision",
    "WORKERS": "data.workers",
}
_ALL: Tuple[fields.Field, ...] = (
    learning.data_folder(optional=True, more="Needed unless a recipe names it, or a run is resumed."),
    learning.layout(),
    fields.Text("NAME", "Name of the model", "What it is called in Detect changes.", default="my model"),
    fields.Choice(
        "ARCHITECTURE",
        "Architecture",
        "The network. fc-siam-diff, tinycd and lightcdnet are small and fast; btc, changer, bit and changeformer are "
        "larger and stronger; bisrnet and senseearth also tell the classes of both dates.",
        choices=ARCHITECTURES,
        default="fc-siam-diff",
    ),
    fields.Number("EPOCHS", "Epochs", "Passes over the data set.", default=100, least=1, most=1e6, whole=True),
    Recipe(
        "RECIPE",
        "Recipe",
        "A file of settings (YAML), for all that this dialog does not ask, or the name of one that comes with the "
        "engine: starter.yaml, oscd.yaml, senseearth/chain.yaml. What you change here goes before it; what you leave "
        "as it is, the recipe decides. With a section chain it trains several models in a row: teachers, pseudo "
        "labels, students.",
        "--config",
        advanced=True,
        optional=True,
        filter="YAML (*.yaml *.yml)",
    ),
    fields.Model(
        "WEIGHTS",
        "Model to start from",
        "One of your models, or a model file, of the same architecture: its weights are trained further.",
        advanced=True,
        optional=True,
        wrapper="widgets.OwnModelWidgetWrapper",
    ),
    fields.Text("TRAIN_SPLIT", "Training split", "Empty: train.", advanced=True, optional=True),
    fields.Text(
        "VALIDATION_SPLIT",
        "Validation split",
        "Chooses the best epoch and the threshold. holdout: every fifth training pair; tenth: every tenth by name, as "
        "SenseEarth2020 does. Empty: val.",
        advanced=True,
        optional=True,
    ),
    fields.Folder(
        "PSEUDO_LABELS",
        "Pseudo labels",
        "Folder that Label unchanged areas made of the training split: classes are learnt from it too.",
        advanced=True,
        optional=True,
    ),
    learning.CLASSES,
    *learning.BANDS,
    _number("BATCH_SIZE", "Windows in a batch", "Fewer need less memory. Empty: 8.", most=65536),
    _number("CROP", "Size of the windows (pixels)", "A multiple of 32. Empty: the recipe's, or the usual.", least=32,
            most=8192),
    fields.Number("LEARNING_RATE", "Learning rate", "The highest one. Empty: 0.0005.", advanced=True, optional=True,
                  most=1000, decimals=7),
    _number("EARLY_STOPPING", "Stop early after (epochs)", "Without a better figure. Empty or 0: never.", least=0),
    _number("SEED", "Seed", "The same seed gives the same model on one device. Empty: 0.", least=0, most=2**31 - 1),
    shared.DEVICE,
    fields.Choice("PRECISION", "Arithmetic of the network", "Empty: bf16 where the graphics card is fast with it.",
                  advanced=True, optional=True, choices=("auto", "fp32", "bf16")),
    _number("WORKERS", "Reading processes", "0 reads in the main one. Empty: 2.", least=0, most=256),
    SETTINGS_FIELD,
    fields.Switch("RESUME", "Resume the run of the run folder", "Goes on where it stopped, with its own settings; only "
                  "the data set's place, the device and the number of reading processes may differ.", advanced=True),
    fields.Switch("REPLACE", "Replace an earlier run and model", "Those of the same run folder and name are lost.",
                  advanced=True),
    fields.Switch("ADD_TO_MODELS", "Add the model to your models", "Detect changes then lists it by its name.",
                  default=True),
    destinations.FolderOutput("RUN", "Run folder", "A new or empty folder for the model, its figures and the report."),
)  # fmt: skip

# Settings are told by their key, whatever option the field has elsewhere.
FIELDS = tuple(replace(field, option="") if field.name in SETTINGS else field for field in _ALL)
# Told by the algorithm itself.
OWN = ("RUN", "RESUME", "REPLACE", "ADD_TO_MODELS")
BANDS = ("BANDS_BEFORE", "BANDS_AFTER")
OF_THE_MACHINE = ("DATA", "WORKERS", "DEVICE")


def setting(field: fields.Field, key: str, call: fields.Call) -> Optional[str]:
    """`KEY=VALUE` with the value as YAML, or None where it was left out."""
    value = field.value(call)
    if value is None:
        return None
    if isinstance(field, fields.Words):
        return f"{key}={json.dumps(field.words(call), ensure_ascii=False)}"
    if field.name in BANDS:
        return f"{key}=[{value}]"
    # JSON is YAML: quoted, a name such as 010 or no stays a name.
    return f"{key}={value if isinstance(field, fields.Number) else json.dumps(value, ensure_ascii=False)}"


def left_alone(field: fields.Field, call: fields.Call) -> bool:
    """Whether the user left a field as it was, so that a recipe decides."""
    default = getattr(field, "default", None)
    value = field.value(call)
    return value is None or (default is not None and value == str(default))


def lines(field: fields.Field, call: fields.Call) -> List[str]:
    """The further settings."""
    return [line.strip() for line in (field.value(call) or "").replace(";", "\n").splitlines() if line.strip()]
