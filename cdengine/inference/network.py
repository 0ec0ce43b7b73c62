"""A trained network as a detector: NumPy in, NumPy out, and what may go wrong on a device turned into errors."""

from __future__ import annotations

import copy
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdengine.errors import DeviceLostError, ModelNanError, ModelTaskError
from cdengine.events import Reporter
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.device import Device
from cdengine.inference.expected import ExpectedInputs
from cdengine.models.folding import folded
from cdengine.models.logits import Logits
from cdengine.models.modelfile import LoadedModel
from cdengine.models.normalise import Normaliser
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# torch reads these dtypes everywhere; the others are brought to float32 on the host.
DIRECT = {np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "float16", "float32")}
# What drivers say when the device is in a state in which nothing may be tried again, and when memory ran out.
LOST = (
    "illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "misaligned address",
    "uncorrectable ECC error",
    "hardware stack error",
    "GPU is lost",
    "has fallen off the bus",
)
FULL = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "failed to allocate")
MAX_BATCH = 16  # a modern GPU is full with this many tiles of 512 px


class NetworkDetector:
    """Runs one trained model. `predict` may be called from several threads.

    Attributes:
        name, classes, margin, threshold, tile: from the model card.
        batch: tiles per call when none was asked for; on CUDA known after `prepare`.
        concurrency: calls worth running at once: two on CUDA, so that one copies while the other computes; two on a
            CPU of several cores, each with half of them, for a network on all cores leaves them idle between and at
            the end of its layers (measured on two cores: 15 % of the time).
    """

    def __init__(self, model: LoadedModel, device: Device, precision: str = "fp32") -> None:
        """Moves the model to the device.

        Args:
            model: as loaded.
            device: see `device.choose_device`.
            precision: "fp32", "bf16" or "fp16": arithmetic of convolutions and matrix products.
        """
        card = model.card
        self.name, self.classes, self.margin = card.name, card.classes, card.margin
        self.threshold, self.tile = card.threshold, card.tile
        self._cores = torch.get_num_threads()
        shared = device.kind == "cuda" or (device.kind == "cpu" and self._cores > 1)
        self.batch, self.concurrency = 1, 2 if shared else 1
        self._card, self._sha256, self._device, self._precision = card, model.sha256, device, precision
        if device.kind == "cuda":
            # fp32 is asked for where accuracy matters; TF32 would keep ten bits of the mantissa.
            torch.backends.cudnn.allow_tf32 = False
        self._stride = int(getattr(model.module, "stride", 32))
        module = folded(model.module.eval(), (card.before.count, card.after.count), self._stride)
        self._module = module.to(device.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._lowered = _lowered(self._module, DTYPES[precision])
        self._before = Normaliser(card.before).to(device.torch_device)
        self._after = Normaliser(card.after).to(device.torch_device)
        self._staging = _Staging(device)
        self._lock = threading.Lock()
        self._redone = 0
        self._expected = ExpectedInputs(card)

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Checks the bands, and on CUDA finds the batch that fits.

        Raises:
            BandsError: a date has another number of bands than the model takes.
        """
        self._expected.begin(source, reporter)
        if self._device.kind == "cuda":
            self.batch = self._fitting_batch()

    def enter_thread(self, threads: int) -> None:
        """Gives the calling thread its share of the cores, as one of `threads` that call `predict` at a time."""
        if self._device.kind == "cpu":
            torch.get_num_threads()  # torch sets up a new thread at its first look, which would undo what follows
            torch.set_num_threads(max(1, self._cores // threads))
            # torch also takes the number for all threads to come; a thread of no other use puts that back.
            other = threading.Thread(target=torch.set_num_threads, args=(self._cores,))
            other.start()
            other.join()

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """Probabilities of a batch; shapes as in `Detector.predict`, any height and width.

        Raises:
            BatchTooLarge: the batch does not fit into memory.
            DeviceLostError: the accelerator failed.
            ModelNanError: values are not finite, in fp32 as well.
        """
        self._expected.look(before, after, valid)
        try:
            with torch.inference_mode(), self._staging.stream():
                return self._predict(before, after, valid)
        except (MemoryError, RuntimeError) as error:
            failure = _memory_failure(error)
        # Behind the except block: its traceback would keep the tensors of the failed try alive.
        if self._device.kind == "cuda":
            torch.cuda.synchronize(self._device.torch_device)
            torch.cuda.empty_cache()
        raise BatchTooLarge(f"{self.name}: {len(before)} tiles do not fit into memory ({failure})")

    def describe(self) -> dict[str, str | float]:
        """Which model, on what, and how many tiles had to be done again in fp32."""
        facts: dict[str, str | float] = {
            "model_sha256": self._sha256,
            "architecture": self._card.architecture,
            "device": self._device.label,
            "precision": self._precision,
        }
        return {**facts, "tiles_redone_in_fp32": float(self._redone)} if self._redone else facts

    def _predict(self, before: Array, after: Array, valid: Array) -> Array:
        height, width = valid.shape[1:]
        mask = self._staging.put("valid", valid)
        first = self._input("before", self._before, before, mask)
        second = self._input("after", self._after, after, mask)
        logits = self._logits(first, second, self._precision)
        finite = torch.isfinite(logits).flatten(1).all(1)
        if not bool(finite.all()):
            again = torch.nonzero(~finite).flatten()
            logits[again] = self._again(first[again], second[again])
        return self._staging.fetch(self._probability(logits)[..., :height, :width])

    def _input(self, date: str, normaliser: Normaliser, values: Array, mask: Tensor) -> Tensor:
        """Normalised, with rows and columns up to a multiple of the stride that hold 0 as invalid pixels do."""
        height, width = (-(-side // self._stride) * self._stride for side in values.shape[-2:])
        padded = self._staging.kept(date, (*values.shape[:2], height, width))
        normaliser(self._staging.put(date, values), mask, padded[..., : values.shape[-2], : values.shape[-1]])
        return padded

    def _logits(self, before: Tensor, after: Tensor, precision: str) -> Tensor:
        """float32 (B, K, H, W): change, then classes before, then after."""
        if precision == "fp32":
            given = self._module(before, after)
        else:
            # No cache of cast weights: it is shared by threads, whose streams would not wait for each other.
            with torch.autocast(self._device.kind, DTYPES[precision], cache_enabled=False):
                given = self._lowered(before, after)
        heads = given if isinstance(given, Logits) else (given,)
        logits = torch.cat([head.float() for head in heads], 1)
        if logits.shape[1] != 1 + 2 * len(self.classes):
            raise ModelTaskError(
                f"{self.name}: the network gives {logits.shape[1]} channels, its card's {len(self.classes)} classes "
                f"need {1 + 2 * len(self.classes)}: export the model again"
            )
        return logits

    def _again(self, before: Tensor, after: Tensor) -> Tensor:
        """Tiles whose logits are not finite, in fp32: fp16 overflows at 65,504."""
        logits = self._logits(before, after, "fp32")
        if not bool(torch.isfinite(logits).all()):
            raise ModelNanError(
                f"{self.name}: the network gives values that are not finite, in fp32 as well: "
                "the model is damaged or its inputs are not of the kind it was trained on"
            )
        with self._lock:
            self._redone += len(logits)
        return logits

    def _probability(self, logits: Tensor) -> Tensor:
        change = torch.sigmoid(logits[:, :1])
        if not self.classes:
            return change
        before, after = logits[:, 1:].chunk(2, 1)
        return torch.cat([change, before.softmax(1), after.softmax(1)], 1)

    def _fitting_batch(self) -> int:
        """Tiles that take at most 80 % of the free memory with every concurrent call; a power of two."""
        device, side = self._device.torch_device, self.tile
        start = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        before, after = (
            np.zeros((1, date.count, side, side), np.uint8) for date in (self._card.before, self._card.after)
        )
        try:
            with torch.inference_mode(), self._staging.stream():
                self._predict(before, after, np.zeros((1, side, side), bool))
        except torch.OutOfMemoryError:
            return 1  # the runner will say so, with its remedy
        each = max(torch.cuda.max_memory_allocated(device) - start, 1)
        torch.cuda.empty_cache()  # what this thread's stream keeps is of no use to the threads that compute
        free = torch.cuda.mem_get_info(device)[0]
        fits = int(0.8 * free / (each * self.concurrency))
        return int(2 ** max(0, min(fits, MAX_BATCH).bit_length() - 1))


class _Staging:
    """The way of arrays to the device and back: per calling thread a stream and pinned buffers, used again and again.

    Pinning a fresh buffer for every batch costs more than it saves, so buffers are kept and only grow. On a CPU the
    arrays are used where they are.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._cuda = device.kind == "cuda"
        self._local = threading.local()

    def stream(self) -> AbstractContextManager[Any]:
        """The calling thread's own stream, so that its copies overlap with another thread's kernels."""
        if not self._cuda:
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device.torch_device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.stream)

    def put(self, key: str, array: Array) -> Tensor:
        """The array on the device with its values in a dtype that torch computes with; `key` names the buffer."""
        # Unsigned 16-bit numbers, the commonest of satellite imagery, cross as the int16 of the same bits.
        wrapped = array.dtype == np.uint16
        if wrapped:
            array = array.view(np.int16)
        elif array.dtype not in DIRECT and array.dtype != np.bool_:
            with np.errstate(over="ignore"):  # beyond float32 is beyond any statistic: `Normaliser` limits it
                array = array.astype(np.float32)
        tensor = self._pinned(key, array) if self._cuda else _as_tensor(array)
        tensor = tensor.to(self._device.torch_device, non_blocking=self._cuda)
        return tensor.to(torch.int32).bitwise_and_(0xFFFF) if wrapped else tensor

    def kept(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """The thread's own float32 tensor of a shape, zeros at first, channels last; the next call gives it again."""
        tensors: dict[str, Tensor] = self._local.__dict__.setdefault("tensors", {})
        if key not in tensors or tensors[key].shape != shape:
            tensors[key] = torch.zeros(shape, device=self._device.torch_device).to(memory_format=torch.channels_last)
        return tensors[key]

    def fetch(self, tensor: Tensor) -> Array:
        """A device tensor as an array of its own; waits for the thread's stream, which also frees its buffers."""
        if not self._cuda:
            return np.ascontiguousarray(tensor.cpu().numpy())
        buffer = self._buffer("result", tensor.dtype, tensor.numel()).view(tensor.shape)
        buffer.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self._device.torch_device).synchronize()
        return np.array(buffer.numpy())

    def _pinned(self, key: str, array: Array) -> Tensor:
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        buffer = self._buffer(key, dtype, array.size).view(array.shape)
        np.copyto(buffer.numpy(), array)
        return buffer

    def _buffer(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """The first `count` items of the thread's pinned buffer for `key`."""
        buffers: dict[tuple[str, torch.dtype], Tensor] = self._local.__dict__.setdefault("buffers", {})
        buffer = buffers.get((key, dtype))
        if buffer is None or buffer.numel() < count:
            buffer = buffers[key, dtype] = torch.empty(count, dtype=dtype, pin_memory=True)
        return buffer[:count]


def _as_tensor(array: Array) -> Tensor:
    # torch warns of arrays that may not be written to, although nothing here writes.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _lowered(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy whose convolutions and linear layers hold their weights in `dtype`.

    Autocast would cast them again at every call, to the same values.
    """
    if dtype == torch.float32:
        return module
    lowered = copy.deepcopy(module)
    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
    for layer in lowered.modules():
        if isinstance(layer, layers):
            layer.to(dtype)
    return lowered


def _memory_failure(error: Exception) -> str:
    """The first line of an error that a smaller batch may cure; raises what it cannot cure.

    Raises:
        DeviceLostError: the accelerator is in a state in which nothing may be tried again.
    """
    said = str(error)
    first = (said.splitlines() or [type(error).__name__])[0][:160]
    if any(fault in said for fault in LOST):
        raise DeviceLostError(
            f"the accelerator failed ({first}): run again with --resume, or with --device cpu"
        ) from error
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(fault in said for fault in FULL):
        return first
    raise error
