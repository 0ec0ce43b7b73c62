"""From the name that a user gives to a detector: shipped model, model file or training-free method."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdengine.errors import UnknownModelError
from cdengine.events import Reporter
from cdengine.inference.allocator import keep_freed
from cdengine.inference.augment import Augmented
from cdengine.inference.detector import Detector
from cdengine.inference.ensemble import Ensemble
from cdengine.inference.modelnames import labels, refuse_twins
from cdengine.inference.options import DetectOptions
from cdengine.methods.table import METHODS
from cdengine.models.container import read_card
from cdengine.models.onnxfile import SUFFIX as EXPORTED
from cdengine.models.shipped import SHIPPED, model_path
from cdengine.raster.pair import SourceInfo

if TYPE_CHECKING:
    from cdengine.inference.network import NetworkDetector
    from cdengine.inference.onnx import OnnxDetector

MODEL_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".pkl", ".onnx", ".bin")
DEFAULT_RGB = "rgb-vhr-v1" if "rgb-vhr-v1" in SHIPPED else "cva"
DEFAULT_OTHER = "irmad"
RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Choice:
    """Detector names resolved, before anything heavy is loaded.

    Attributes:
        names: what was asked for, "default" replaced.
        files: the model files among them.
        labels: what people call each, see `modelnames.labels`.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """For tags and the report."""
        return " + ".join(self.labels)


def wants_default(options: DetectOptions) -> bool:
    """Whether model and bands are both left to cdengine."""
    named = options.model != "default" or options.ensemble
    return not named and options.bands_before is None and options.bands_after is None


def default_bands(before: SourceInfo, after: SourceInfo) -> dict[str, list[str]]:
    """Which bands of a pair the default RGB model is shown.

    Args:
        before: what BEFORE delivers with all its bands.
        after: likewise.

    Returns:
        Keywords of `Pair.open` that select bands described as red, green and blue; none where a date has neither those
        nor exactly three bands, and for a date whose bands stay as they are.
    """
    chosen = {}
    for key, date in (("bands_before", before), ("bands_after", after)):
        names = tuple(name.casefold() for name in date.names)
        if all(names.count(name) == 1 for name in RGB):
            if names != RGB:
                chosen[key] = list(RGB)
        elif date.count != len(RGB):
            return {}
    return chosen


def resolve(options: DetectOptions, bands: int, reporter: Reporter) -> Choice:
    """Checks that every name means something.

    Args:
        options: `model` and `ensemble`.
        bands: number of bands that both dates have, 0 where it differs.
        reporter: is told what "default" stands for.

    Raises:
        UnknownModelError: neither a method, a shipped model, nor a file.
        ModelError: a file that is no model; see `container.read_card`.
        UsageError: a model is named twice.
    """
    names, files = [], []
    rgb = bands == 3
    asked = (options.model, *options.ensemble) if options.model != "default" else options.ensemble or ("default",)
    for name in asked:
        if name == "default":
            name = DEFAULT_RGB if rgb else DEFAULT_OTHER
            why = "RGB imagery" if rgb else "not three-band RGB imagery"
            if not rgb and bands == 1:
                why += "; for radar, log-ratio serves better"
            reporter.info(f"model: {name} ({why})")
        if name not in METHODS and name not in SHIPPED:
            files.append(_file(name))
        names.append(name)
    if len(names) > 1:
        refuse_twins(names, "--ensemble")
    return Choice(tuple(names), tuple(files), tuple(labels(names)))


def _file(name: str) -> Path:
    path = Path(name)
    if os.path.isfile(path):  # Path.is_file raises on names longer than names can be
        read_card(path)  # a bad file is refused before anything is written, and before torch is imported
        return path
    known = ["default", *METHODS, *SHIPPED]
    if path.suffix.lower() in MODEL_SUFFIXES or path.parent != Path("."):
        raise UnknownModelError(f"{name}: no such model file; or use one of {', '.join(known)}")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}, or a model file (.safetensors, .onnx)"
    raise UnknownModelError(f"unknown model {name!r}: {hint}")


def build(choice: Choice, options: DetectOptions, reporter: Reporter) -> Detector:
    """Loads what was chosen and wraps ensemble and test-time augmentation round it."""
    if options.device not in ("auto", "cpu") and all(name in METHODS for name in choice.names):
        from cdengine.inference.device import choose_device

        choose_device(options.device)  # asked for by name: an absent one is an error even where it would not be used
        reporter.warning(f"--device {options.device}: training-free methods run on the CPU")
    members: list[Detector] = [_member(name, options, reporter) for name in choice.names]
    detector = members[0] if len(members) == 1 else Ensemble(members, choice.labels)
    return detector if options.tta == "none" else Augmented(detector, options.tta)


def _member(name: str, options: DetectOptions, reporter: Reporter) -> Detector:
    if name in METHODS:
        return METHODS[name]()
    if Path(name).suffix.lower() == EXPORTED:
        return _exported(Path(name), options, reporter)
    return _network(model_path(name), options, reporter)


def _exported(path: Path, options: DetectOptions, reporter: Reporter) -> OnnxDetector:
    with reporter.stage("load model", 1, "model") as stage:
        # Here, not above: other models need no onnxruntime.
        from cdengine.inference.onnx import OnnxDetector

        if options.precision not in ("auto", "fp32"):
            reporter.warning(f"--precision {options.precision}: exported models compute in fp32")
        detector = OnnxDetector(path, options.device)
        reporter.info(f"device: {detector.device} by onnxruntime, fp32")
        stage.advance()
    return detector


def _network(path: Path, options: DetectOptions, reporter: Reporter) -> NetworkDetector:
    keep_freed()
    with reporter.stage("load model", 1, "model") as stage:
        # Here, not above: training-free methods need no torch, and it takes seconds to import.
        from cdengine.inference.device import choose_device, choose_precision
        from cdengine.inference.network import NetworkDetector
        from cdengine.models.modelfile import load_model

        device = choose_device(options.device)
        precision = choose_precision(options.precision, device)
        reporter.info(f"device: {device.label}, {device.name} ({device.reason}), {precision}")
        detector = NetworkDetector(load_model(path), device, precision)
        stage.advance()
    return detector
