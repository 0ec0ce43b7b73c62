"""An exported model (.onnx) as a detector, run by onnxruntime; torch is not needed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from cdengine.errors import DeviceError, ModelCorruptError, ModelNanError, ModelTaskError, ModelWeightsError
from cdengine.events import Reporter
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.expected import ExpectedInputs
from cdengine.models.card import DateInput
from cdengine.models.onnxfile import card_of_texts, read_texts, stride_of_texts
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

FULL = ("allocate memory", "out of memory", "BFCArena", "CUDA failure 2")
ERRORS_ONLY = 3  # onnxruntime's log level


class OnnxDetector:
    """Runs one exported model in fp32. `predict` may be called from several threads.

    The graph takes stored values and normalises them itself; pixels that are invalid, and rows and columns up to a
    multiple of the stride, hold the training mean, which the network sees as 0.

    Attributes:
        name, classes, margin, threshold, tile: from the model card.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto") -> None:
        """Loads the graph.

        Args:
            path: of a file that `export` has written.
            device: "auto" (CUDA where onnxruntime has it), "cpu", "cuda" or "cuda:N".

        Raises:
            DeviceError: onnxruntime has no such device.
            ModelCorruptError, ModelMetadataError, ModelWeightsError: the file is broken, or graph and card disagree.
        """
        path = Path(path)
        texts = read_texts(path)
        self._card = card = card_of_texts(texts, path)
        self._stride = stride_of_texts(texts, path)
        self.name, self.classes, self.margin = card.name, card.classes, card.margin
        self.threshold, self.tile = card.threshold, card.tile
        self.batch, self.concurrency = 1, 1
        self.device, providers = _providers(device)
        # The bytes, not the path: a graph that keeps tensors in other files of this machine is refused.
        payload = path.read_bytes()
        self._sha256 = hashlib.sha256(payload).hexdigest()
        self._session = _session(path, payload, providers)
        self._check_graph(path)
        self._expected = ExpectedInputs(card)

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Checks the bands.

        Raises:
            BandsError: a date has another number of bands than the model takes.
        """
        self._expected.begin(source, reporter)

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """Probabilities of a batch; shapes as in `Detector.predict`, any height and width.

        Raises:
            BatchTooLarge: the batch does not fit into memory.
            ModelNanError: values are not finite.
        """
        self._expected.look(before, after, valid)
        height, width = valid.shape[1:]
        try:
            inputs = {
                "before": self._input(before, valid, self._card.before),
                "after": self._input(after, valid, self._card.after),
            }
            found = self._run(inputs)
        except MemoryError as error:
            raise BatchTooLarge(f"{self.name}: {len(before)} tiles do not fit into memory") from error
        if not np.isfinite(found).all():
            raise ModelNanError(
                f"{self.name}: the network gives values that are not finite: "
                "the model is damaged or its inputs are not of the kind it was trained on"
            )
        return np.ascontiguousarray(found[..., :height, :width], dtype=np.float32)

    def describe(self) -> dict[str, str | float]:
        """Which model, run by what."""
        import onnxruntime

        return {
            "model_sha256": self._sha256,
            "architecture": self._card.architecture,
            "device": self.device,
            "precision": "fp32",
            "runtime": f"onnxruntime {onnxruntime.__version__}",
        }

    def _run(self, inputs: dict[str, Array]) -> Array:
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

        try:
            found: Array = self._session.run(["probability"], inputs)[0]
        except (Fail, RuntimeException) as error:
            if any(sign in str(error) for sign in FULL):
                raise MemoryError(str(error)) from error
            raise
        return found

    def _input(self, values: Array, valid: Array, date: DateInput) -> Array:
        """float32 (B, C, H', W') in stored units, the mean wherever there is no valid pixel."""
        count, bands, height, width = values.shape
        padded = (count, bands, height + -height % self._stride, width + -width % self._stride)
        filled = np.empty(padded, np.float32)
        filled[:] = (np.array(date.mean) / date.scale).astype(np.float32).reshape(1, -1, 1, 1)
        with np.errstate(over="ignore"):  # beyond float32 is beyond any statistic: the graph limits it
            np.copyto(filled[..., :height, :width], values, casting="same_kind", where=valid[:, None])
        return filled

    def _check_graph(self, path: Path) -> None:
        """Names and channels must be those of the card."""
        given = {item.name: item.shape for item in self._session.get_inputs()}
        outputs = {item.name: item.shape for item in self._session.get_outputs()}
        wanted = {"before": self._card.before.count, "after": self._card.after.count}
        if {name: shape[1:2] for name, shape in given.items()} != {name: [count] for name, count in wanted.items()}:
            raise ModelWeightsError(f"{path}: the graph takes {given}, its card says {wanted} bands; export it again")
        channels = 1 + 2 * len(self.classes)
        if list(outputs) != ["probability"] or outputs["probability"][1:2] != [channels]:
            raise ModelTaskError(
                f"{path}: the graph gives {outputs}, its card's {len(self.classes)} classes need {channels} channels "
                "of probability; export it again"
            )


def _providers(device: str) -> tuple[str, list[Any]]:
    """The device as in `--device`, and what onnxruntime calls it."""
    import onnxruntime

    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and not cuda):
        return "cpu", ["CPUExecutionProvider"]
    if device == "auto" or re.fullmatch(r"cuda(:\d{1,3})?", device):
        if not cuda:
            raise DeviceError(
                f"--device {device}: onnxruntime has no CUDA here: use --device cpu or a .safetensors file"
            )
        number = int(device.partition(":")[2] or 0)
        return f"cuda:{number}", [("CUDAExecutionProvider", {"device_id": number}), "CPUExecutionProvider"]
    raise DeviceError(f"--device {device[:40]}: exported models run on cpu or cuda: use --device auto or cpu")


def _session(path: Path, payload: bytes, providers: list[Any]) -> Any:  # noqa: ANN401 -- onnxruntime is not typed
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Told, since by default each thread is pinned to a core, which fails noisily where not all cores may be used.
    options.intra_op_num_threads = _cores()
    refusals = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    try:
        return onnxruntime.InferenceSession(payload, options, providers=providers)
    except refusals as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelCorruptError(f"{path}: onnxruntime refuses it ({first}); export the model again") from error


def _cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
