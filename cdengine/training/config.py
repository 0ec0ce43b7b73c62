"""What a training run is told: typed data classes, filled from a YAML recipe and `--set`, checked before any work."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from cdengine.data.transforms import Augmentation
from cdengine.errors import ConfigError
from cdengine.models.shipped import SHIPPED
from cdengine.training.strict import apply_sets, fill, read_yaml


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        architecture: a name of `cdengine models`.
        arguments: of its constructor, band and class counts apart.
        weights: a model file, or the name of a shipped model, to start from; its architecture must be this one.
        pretrained: first weights of the backbone: a local file in timm's naming, a model file or shipped model that has
            this backbone, or "timm" to fetch timm's own.
    """

    architecture: str = "fc-siam-diff"
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    pretrained: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """The pairs and how they are shown.

    Attributes:
        root: folder of the data set (or the file of layout `index`).
        layout: how it lies there: pairs, second, senseearth, hiucd, gold, index.
        train: split that is learnt from.
        validation: split that chooses the best epoch and the threshold; "holdout" keeps every fifth training pair,
            "tenth" every tenth by name, the first included, as SenseEarth2020 does.
        batch_size: windows per step and process.
        workers: processes that read ahead; 0 reads in the main one.
        bands_before: 1-based bands of the first date; none: all.
        bands_after: the same for the second date.
        classes: names of the land-cover classes, where neither layout nor data set tells them.
        coding: of change labels: 0/1, 0/255, soft, …; none: found out.
        ground_sample_distance: metres per pixel, for the card; none where unknown.
        balance: share of the windows that are drawn from pairs in proportion to the extent of their change.
        augmentation: how windows are cut and varied.
        pseudo_labels: folder that `pseudo-label` made of the training split: classes where its labels name none, which
            change nothing else; none: what did not change has no class.
    """

    root: str
    layout: str = "pairs"
    train: str = "train"
    validation: str = "val"
    batch_size: int = 8
    workers: int = 2
    bands_before: list[int] = field(default_factory=list)
    bands_after: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    coding: str | None = None
    ground_sample_distance: float | None = None
    balance: float = 0.5
    augmentation: Augmentation = field(default_factory=Augmentation)
    pseudo_labels: str | None = None


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses that are added up, and their shapes; with no weight given: bce 1, dice 1.

    Attributes:
        bce: binary cross-entropy of the change.
        dice: Dice loss of the change.
        focal: focal loss of the change.
        lovasz: Lovász hinge of the change.
        tversky: Tversky loss of the change.
        ohem: cross-entropy of the hardest pixels.
        contrastive: batch-balanced contrastive loss, for `stanet`.
        classes: cross-entropy of the classes of both dates (of networks that tell classes).
        classes_lovasz: Lovász-softmax of the classes of both dates.
        similarity: classes of both dates alike where nothing changed, unlike where it did.
        class_weights: of the classes in `classes`, in their order; none: all alike.
        positive_weight: of changed pixels in bce; "auto" from their share in the training set.
        focal_gamma: how fast easy pixels lose weight.
        tversky_beta: weight of misses; false alarms have 1 minus it.
        ohem_share: share of the pixels that count as hard.
        margin: distance that changed pixels should reach in the contrastive loss.
    """

    bce: float = 0.0
    dice: float = 0.0
    focal: float = 0.0
    lovasz: float = 0.0
    tversky: float = 0.0
    ohem: float = 0.0
    contrastive: float = 0.0
    classes: float = 1.0
    classes_lovasz: float = 0.0
    similarity: float = 0.0
    class_weights: list[float] = field(default_factory=list)
    positive_weight: float | Literal["auto"] = "auto"
    focal_gamma: float = 2.0
    tversky_beta: float = 0.7
    ohem_share: float = 0.25
    margin: float = 2.0

    def completed(self) -> LossConfig:
        """With the default weights written out where none was given."""
        given = any(getattr(self, name) for name in CHANGE_LOSSES)
        return self if given else dataclasses.replace(self, bce=1.0, dice=1.0)


CHANGE_LOSSES = ("bce", "dice", "focal", "lovasz", "tversky", "ohem", "contrastive")


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights move.

    Attributes:
        name: adamw, adam or sgd.
        learning_rate: the highest one.
        head_factor: learning rate of everything but the backbone, as a multiple.
        weight_decay: not applied to norms and biases.
        momentum: of sgd.
        schedule: cosine, poly or constant, after the warm-up.
        warmup: share of all steps in which the learning rate rises from 0.
        power: of poly.
        clip: largest norm of the gradient; 0 does not clip.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 5e-4
    head_factor: float = 1.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warmup: float = 0.05
    power: float = 0.9
    clip: float = 1.0


@dataclass(frozen=True)
class TrainerConfig:
    """How long and on what.

    Attributes:
        epochs: passes over the data.
        epoch_batches: batches that count as an epoch; none: as many as the training windows fill.
        accumulate: batches whose gradients make one step.
        ema: decay of the averaged weights, which are the ones that are validated and saved; 0 keeps none.
        early_stopping: epochs without a better validation figure after which the run ends; 0 never.
        monitor: the validation figure that chooses the best epoch.
        precision: auto, fp32 or bf16.
        device: auto, cpu, cuda, cuda:N or mps.
        devices: processes on this machine (DDP); under torchrun: those of one node.
        deterministic: also on CUDA, at some cost of speed; a CPU is deterministic anyway.
        pictures: validation pairs in each epoch's picture.
    """

    epochs: int = 100
    epoch_batches: int | None = None
    accumulate: int = 1
    ema: float = 0.999
    early_stopping: int = 0
    monitor: Literal["f1", "ap", "iou", "kappa", "miou", "sek", "fscd", "score"] = "f1"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    devices: int = 1
    deterministic: bool = False
    pictures: int = 4


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
        data: the pairs.
        name: of the model, on its card and in lists.
        output: the run folder; none: runs/NAME.
        seed: same seed, same result on one device.
        procedure: supervised, or single-temporal (pairs are made of labelled images of one date).
        license: of the weights, as an SPDX expression where there is one.
        citation: what to cite.
        model: the network.
        loss: what is minimised.
        optimiser: how.
        trainer: how long and on what.
    """

    data: DataConfig
    name: str = "model"
    output: str | None = None
    seed: int = 0
    procedure: Literal["supervised", "single-temporal"] = "supervised"
    license: str = ""
    citation: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def to_dict(self) -> dict[str, Any]:
        """All values, defaults included, as plain ones."""
        return asdict(self)


INFINITY = float("inf")
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "data.batch_size": (1, 65536),
    "data.workers": (0, 256),
    "data.balance": (0, 1),
    "data.ground_sample_distance": (1e-6, 1e6),
    "data.augmentation.crop": (32, 8192),
    "data.augmentation.change_crops": (0, 1),
    "data.augmentation.exchange": (0, 1),
    "data.augmentation.shift": (0, 64),
    **{f"loss.{name}": (0, 1e6) for name in CHANGE_LOSSES},
    "loss.classes": (0, 1e6),
    "loss.classes_lovasz": (0, 1e6),
    "loss.similarity": (0, 1e6),
    "loss.focal_gamma": (0, 10),
    "loss.tversky_beta": (0, 1),
    "loss.ohem_share": (0.001, 1),
    "loss.margin": (1e-6, 1e6),
    "optimiser.learning_rate": (0, 1e3),
    "optimiser.head_factor": (1e-3, 1e3),
    "optimiser.weight_decay": (0, 1e3),
    "optimiser.momentum": (0, 0.9999),
    "optimiser.warmup": (0, 1),
    "optimiser.power": (0.01, 100),
    "optimiser.clip": (0, INFINITY),
    "trainer.epochs": (1, 1_000_000),
    "trainer.epoch_batches": (1, 100_000_000),
    "trainer.accumulate": (1, 65536),
    "trainer.ema": (0, 0.999999),
    "trainer.early_stopping": (0, 1_000_000),
    "trainer.devices": (1, 1024),
    "trainer.pictures": (0, 64),
}


def load_config(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> TrainConfig:
    """Reads a recipe, puts `KEY=VALUE` settings in, and checks every value.

    Raises:
        ConfigError: one line that names the file and the key.
    """
    config = fill(TrainConfig, apply_sets(read_yaml(path), list(sets)), str(path))
    check(config, str(path))
    return completed(config)


def completed(config: TrainConfig) -> TrainConfig:
    """The same run with every default that depends on other values written out, so that its file stands alone."""
    output = config.output or str(Path("runs") / config.name)
    return dataclasses.replace(config, loss=config.loss.completed(), output=output)


def check(config: TrainConfig, where: str = "configuration") -> None:
    """Looks at values and what they mean together.

    Raises:
        ConfigError: a value lies outside its range, or two contradict each other.
    """
    for key, (low, high) in RANGES.items():
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        if value is not None and not low <= value <= high:
            above = f"from {low:g} to {high:g}" if high < INFINITY else f"{low:g} or more"
            raise ConfigError(f"{where}: {key}: must be {above}, not {value}")
    crop = config.data.augmentation.crop
    if crop % 32:
        raise ConfigError(f"{where}: data.augmentation.crop: must be a multiple of 32, not {crop}")
    if len(config.data.classes) == 1:
        raise ConfigError(f"{where}: data.classes: name two classes or more, or none for plain change")
    if not all(0 < weight <= 1e6 for weight in config.loss.class_weights):
        raise ConfigError(f"{where}: loss.class_weights: must be numbers above 0, not {config.loss.class_weights}")
    weight = config.loss.positive_weight
    if weight != "auto" and not 0 < weight <= 1e6:
        raise ConfigError(f"{where}: loss.positive_weight: must be auto or a number above 0, not {weight}")
    if not config.name.strip() or any(letter in config.name for letter in "/\\\0"):
        raise ConfigError(f"{where}: name: must be a file name, not {config.name!r}")


def portable(config: TrainConfig) -> TrainConfig:
    """The same run with its files named in full, so that it can go on from any folder."""

    def full(path: str | None) -> str | None:
        return path if path is None or path in ("timm", *SHIPPED) else str(Path(path).absolute())

    model = dataclasses.replace(
        config.model, weights=full(config.model.weights), pretrained=full(config.model.pretrained)
    )
    pseudo = config.data.pseudo_labels
    data = dataclasses.replace(
        config.data,
        root=str(Path(config.data.root).absolute()),
        pseudo_labels=pseudo if pseudo is None else str(Path(pseudo).absolute()),
    )
    return dataclasses.replace(config, data=data, model=model)


def dump_config(config: TrainConfig, heading: str) -> str:
    """The complete configuration as YAML that `load_config` takes, with a comment on top."""
    body = yaml.dump(config.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"# {heading}\n{body}"


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 might read as another type; writes floats so that both read floats."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    return dumper.represent_scalar(
        "tag:yaml.org,2002:float", text if "." in text or "e" not in text else text.replace("e", ".0e")
    )


_Dumper.add_representer(float, _float)


def first_difference(one: TrainConfig, other: TrainConfig, apart: Sequence[str] = ()) -> str | None:
    """Dotted key of the first value in which two runs differ, `apart` left out; None where they agree."""
    for key, value in _flat(one):
        if key not in apart and dict(_flat(other)).get(key) != value:
            return key
    return None


def _flat(item: Any, path: str = "") -> list[tuple[str, Any]]:  # noqa: ANN401 -- data classes and plain values
    if not dataclasses.is_dataclass(item):
        return [(path, item)]
    pairs = []
    for entry in dataclasses.fields(item):
        pairs += _flat(getattr(item, entry.name), f"{path}.{entry.name}" if path else entry.name)
    return pairs
