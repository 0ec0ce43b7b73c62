"""A trained model as ONNX or as a program of torch.export, for every batch and size, checked against torch.

The graph takes stored pixel values and gives probabilities: normalisation and sigmoid lie inside, so that whoever
runs it needs to know nothing but the bands. Invalid pixels are the caller's: they should hold the training mean.
"""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdengine.errors import ModelArchitectureError, ModelError, ModelNanError
from cdengine.events import Reporter
from cdengine.models.card import DateInput
from cdengine.models.logits import Logits
from cdengine.models.modelfile import LoadedModel
from cdengine.models.normalise import LIMIT
from cdengine.models.onnxfile import CARD, STRIDE

# The first opset in which every operator of the zoo has its present meaning (GridSample: 16, Resize with antialias: 18,
# GridSample's modes by their present names: 20); onnxruntime runs it from 1.17 on.
OPSET = 20
TOLERANCE = 1e-4  # of probabilities; rounding gives about 1e-6
SIZES = 4  # random batches that are compared
INPUTS = ("before", "after")
OUTPUT = "probability"
Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        kind: "onnx" or "torch.export".
        opset: of ONNX, else None.
        difference: largest difference of a probability from torch's.
        shapes: (batch, height, width) that were compared.
    """

    path: Path
    kind: str
    opset: int | None
    difference: float
    shapes: tuple[tuple[int, int, int], ...]


class Deployable(nn.Module):
    """Stored values of both dates (float32) to probabilities (B, 1 + 2 K, H, W): change, classes before, after."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.module = copy.deepcopy(model.module).float().eval().requires_grad_(False)
        for name, date in zip(INPUTS, (model.card.before, model.card.after), strict=True):
            gain, offset = _affine(date)
            self.register_buffer(f"{name}_gain", gain)
            self.register_buffer(f"{name}_offset", offset)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Heights and widths are multiples of the network's stride."""
        first = _normalise(before, self.get_buffer("before_gain"), self.get_buffer("before_offset"))
        second = _normalise(after, self.get_buffer("after_gain"), self.get_buffer("after_offset"))
        given = self.module(first, second)
        if isinstance(given, Logits):
            change = torch.sigmoid(given.change)
            return torch.cat([change, given.before.softmax(1), given.after.softmax(1)], 1)
        return torch.sigmoid(given)


def export_onnx(model: LoadedModel, path: str | os.PathLike[str], reporter: Reporter) -> Exported:
    """Writes an ONNX file with the card inside and compares it with torch by onnxruntime.

    Args:
        model: as loaded.
        path: written directly; the caller gives it its name when this returns.
        reporter: sees three steps: tracing, writing, comparing.

    Raises:
        ModelArchitectureError: the network cannot be expressed as a graph for every size.
        ModelError: the graph gives other values than torch.
    """
    import onnxruntime

    path = Path(path)
    with reporter.stage("export", 3, "steps") as stage:
        deployable = Deployable(model)
        traced = _traced(model, deployable)
        stage.advance()
        with _quiet(), _refusing(model):
            program = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                verbose=False,
            )
        assert program is not None
        _describe(program.model, model)
        program.save(str(path), external_data=False)
        stage.advance()
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

        def run(before: Array, after: Array) -> Array:
            found: Array = session.run([OUTPUT], dict(zip(INPUTS, (before, after), strict=True)))[0]
            return found

        difference, shapes = _compare(model, deployable, run, reporter)
        stage.advance()
    return Exported(path, "onnx", OPSET, difference, shapes)


def export_program(model: LoadedModel, path: str | os.PathLike[str], reporter: Reporter) -> Exported:
    """Writes a program of torch.export (.pt2) with the card as the extra file "cdengine"; see `export_onnx`."""
    path = Path(path)
    with reporter.stage("export", 3, "steps") as stage:
        deployable = Deployable(model)
        traced = _traced(model, deployable)
        stage.advance()
        with _quiet():
            torch.export.save(traced, path, extra_files={CARD: model.card.to_json(), STRIDE: str(_stride(model))})
        stage.advance()
        module = traced.module()

        def run(before: Array, after: Array) -> Array:
            with torch.no_grad():
                found: Array = module(torch.from_numpy(before), torch.from_numpy(after)).numpy()
            return found

        difference, shapes = _compare(model, deployable, run, reporter)
        stage.advance()
    return Exported(path, "torch.export", None, difference, shapes)


def _stride(model: LoadedModel) -> int:
    return int(getattr(model.module, "stride", 32))


def _affine(date: DateInput) -> tuple[Tensor, Tensor]:
    """Gain and offset: x * gain + offset is what `Normaliser` makes of x."""
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (date.mean, date.std))
    return (date.scale / std).float(), (-mean / std).float()


def _normalise(image: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    values = image * gain + offset
    return torch.where(torch.isnan(values), 0.0, values).clamp(-LIMIT, LIMIT)


def _traced(model: LoadedModel, deployable: Deployable) -> torch.export.ExportedProgram:
    """The graph with batch, height and width left open; the latter in steps of the stride."""
    stride = _stride(model)
    batch, rows, columns = (torch.export.Dim(name, min=1, max=4096) for name in ("batch", "rows", "columns"))
    open_sizes = {0: batch, 2: stride * rows, 3: stride * columns}
    # Unequal, and greater than one, so that no size is taken for a constant or for another one.
    steps = max(2, -(-96 // stride))
    card = model.card
    samples = tuple(
        torch.randn(2, date.count, steps * stride, (steps + 2) * stride) for date in (card.before, card.after)
    )
    with _quiet(), _refusing(model), torch.no_grad():
        traced = torch.export.export(deployable, samples, dynamic_shapes=(open_sizes, open_sizes))
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # tells where the sources lie on this machine
    return traced


def _describe(graph_model: Any, model: LoadedModel) -> None:  # noqa: ANN401 -- onnx_ir has no stable types
    """The card goes in; the exporter's notes on every node go out."""
    for node in graph_model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    graph_model.graph.metadata_props.clear()
    graph_model.metadata_props.clear()
    graph_model.metadata_props[CARD] = model.card.to_json()
    graph_model.metadata_props[STRIDE] = str(_stride(model))
    graph_model.doc_string = "Stored pixel values of two dates to probabilities: change, then classes of each date."


def _compare(
    model: LoadedModel, deployable: Deployable, run: Run, reporter: Reporter
) -> tuple[float, tuple[tuple[int, int, int], ...]]:
    """Largest difference of probabilities over random batches of random sizes.

    Deep networks round by about the tolerance where weights are hardly trained, torch's as well as the graph's, each in
    its own order. So a graph that seems to be off is held to what double precision gives, with the same tolerance.

    Raises:
        ModelError: it is larger than the tolerance.
        ModelNanError: values are not finite.
    """
    worst, shapes = 0.0, []
    for before, after in _samples(model):
        reporter.check()
        shapes.append((len(before), *before.shape[2:]))
        with torch.no_grad():
            expected = deployable(torch.from_numpy(before), torch.from_numpy(after)).numpy()
        found = run(before, after)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise ModelNanError(f"{model.card.name}: exported, it gives {found.shape} or values that are not finite")
        differs = float(np.abs(found - expected).max())
        worst = max(worst, differs)
        if differs > TOLERANCE:
            exact = _in_double(deployable, before, after)
            if float(np.abs(found - exact).max()) > TOLERANCE:
                raise ModelError(
                    f"{model.card.name}: exported, probabilities differ from torch's by {differs:.2g} "
                    f"(allowed {TOLERANCE:g})"
                )
    return worst, tuple(shapes)


def _samples(model: LoadedModel) -> Iterator[tuple[Array, Array]]:
    """Random batches of random sizes, the same ones each time: stored values (B, bands, H, W) of both dates."""
    random, stride = np.random.default_rng(20260101), _stride(model)
    most = max(2, 192 // stride)
    for _ in range(SIZES):
        batch, rows, columns = (int(random.integers(1, high + 1)) for high in (3, most, most))
        shape = batch, rows * stride, columns * stride
        yield _like(model.card.before, shape, random), _like(model.card.after, shape, random)


def _in_double(deployable: Deployable, before: Array, after: Array) -> Array:
    """What the network gives without the rounding of single precision."""
    images = (torch.from_numpy(image).double() for image in (before, after))
    with torch.no_grad():
        exact: Array = copy.deepcopy(deployable).double()(*images).numpy()
    return exact


def _like(date: DateInput, shape: tuple[int, int, int], random: np.random.Generator) -> Array:
    """Stored values as the training statistics have them."""
    batch, height, width = shape
    mean, std = (np.array(values).reshape(1, -1, 1, 1) / date.scale for values in (date.mean, date.std))
    noise = random.standard_normal((batch, date.count, height, width))
    stored: Array = (mean + std * noise).astype(np.float32)
    return stored


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings and log lines, which are about its own inside."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _refusing(model: LoadedModel) -> Iterator[None]:
    """Turns the exporter's ways to fail into one line."""
    failures = (torch.onnx.OnnxExporterError, torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError)
    try:
        yield
    except failures as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelArchitectureError(
            f"{model.card.architecture} with these arguments cannot be exported for every size: {first}"
        ) from error
