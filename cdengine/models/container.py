"""The safetensors container, checked from its header alone before a byte of weights is read. Loads no torch.

Stricter than the format where a stranger's file could hurt: header at most 1 MB (the format: 100 MB), at most 10,000
tensors, no key twice, and offsets that tile the data without holes, overlaps or rest.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdengine.errors import (
    ModelCorruptError,
    ModelError,
    ModelMetadataError,
    NotSafetensorsError,
    UnknownModelError,
)
from cdengine.models.card import ModelCard, parse_card
from cdengine.models.fields import unique_keys
from cdengine.models.onnxfile import SUFFIX as ONNX
from cdengine.models.onnxfile import read_onnx_card

METADATA_KEY = "cdengine"
MAX_HEADER_BYTES = 1_000_000
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# Formats that run code when they are loaded: refused by name before the file is touched.
_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib")
_REMEDY = "copy or download it again"


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies: `begin` and `end` count from the start of the data part."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What the first part of the file says.

    Attributes:
        tensors: by name, in the order of the data.
        metadata: the file's texts.
        data_start: byte at which the data part begins.
    """

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]
    data_start: int


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """The card of a model file or of an exported one (.onnx): fast, in little memory and without torch.

    Raises:
        UnknownModelError: no such file.
        NotSafetensorsError, ModelCorruptError: the container.
        ModelMetadataError: the card.
    """
    return read_onnx_card(path) if Path(path).suffix.lower() == ONNX else card_of(read_header(path), path)


def card_of(header: Header, path: str | os.PathLike[str]) -> ModelCard:
    """The card that lies in a header."""
    if METADATA_KEY not in header.metadata:
        raise ModelMetadataError(
            f"{path}: holds weights but no model card (metadata key {METADATA_KEY!r}): "
            "make a model file of it with import-weights"
        )
    return parse_card(header.metadata[METADATA_KEY], str(path))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Reads and checks the header of a safetensors file.

    Raises:
        UnknownModelError: no such file.
        NotSafetensorsError: something else; it was not opened further.
        ModelCorruptError: truncated, damaged or beyond the limits above.
    """
    path = Path(path)
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise NotSafetensorsError(
            f"{path}: {path.suffix} files can run code when opened and are never loaded: "
            "convert published weights with import-weights"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
            length = _header_length(path, start, size)
            text = start[8:] + file.read(length - 1)
    except FileNotFoundError:
        raise UnknownModelError(f"{path}: there is no such model file") from None
    except IsADirectoryError:
        raise NotSafetensorsError(f"{path}: is a folder: choose a .safetensors file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    tensors, metadata = _parse(path, text)
    _check_layout(path, tensors, size - 8 - length)
    return Header(tensors, metadata, 8 + length)


def _header_length(path: Path, start: bytes, size: int) -> int:
    """Length of the JSON, from the first eight bytes (little-endian); the ninth must open an object."""
    if len(start) < 9 or start[8:9] != b"{":
        kind = "a pickle or PyTorch file" if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04") else "another format"
        raise NotSafetensorsError(
            f"{path}: not a safetensors file ({kind if start else 'it is empty'}), so it was not opened: "
            "choose a .safetensors file"
        )
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ModelCorruptError(
            f"{path}: header claims {length:,} bytes, at most {MAX_HEADER_BYTES:,} are read; {_REMEDY}"
        )
    if 8 + length > size:
        raise ModelCorruptError(
            f"{path}: truncated: header ends at byte {8 + length:,}, the file at {size:,}; {_REMEDY}"
        )
    return length


def _parse(path: Path, text: bytes) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=unique_keys)
    except RecursionError:
        raise ModelCorruptError(f"{path}: header is nested too deeply; {_REMEDY}") from None
    except ValueError as error:  # also of the decoding
        raise ModelCorruptError(f"{path}: header is not valid JSON ({error}); {_REMEDY}") from None
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(item, str) for item in metadata.values()):
        raise ModelMetadataError(f"{path}: __metadata__ must map names to texts; export the model again")
    if len(values) > MAX_TENSORS:
        raise ModelCorruptError(f"{path}: header lists {len(values):,} tensors, at most {MAX_TENSORS:,} are read")
    tensors = {name: _entry(path, name, value) for name, value in values.items()}
    return dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end))), metadata


def _entry(path: Path, name: str, value: Any) -> TensorEntry:  # noqa: ANN401 -- whatever JSON gave
    wrong = ModelCorruptError(f"{path}: tensor {name[:80]!r}: dtype, shape or offsets make no sense; {_REMEDY}")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise wrong
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not (isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list)):
        raise wrong
    counts = all(type(item) is int and 0 <= item < 2**63 for item in [*shape, *offsets])
    if dtype not in ITEM_BYTES or len(shape) > MAX_DIMENSIONS or len(offsets) != 2 or not counts:
        raise wrong
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise wrong
    return TensorEntry(dtype, tuple(shape), begin, end)


def _check_layout(path: Path, tensors: dict[str, TensorEntry], data_bytes: int) -> None:
    """Tensors must follow one another from byte 0 to the end of the file."""
    at = 0
    for name, entry in tensors.items():
        if entry.begin != at:
            fault = "overlaps the one before" if entry.begin < at else "leaves a hole before it"
            raise ModelCorruptError(f"{path}: tensor {name[:80]!r} {fault} (byte {entry.begin:,}); {_REMEDY}")
        at = entry.end
    if at != data_bytes:
        fact = "truncated" if at > data_bytes else "has bytes behind its last tensor"
        raise ModelCorruptError(f"{path}: {fact}: tensors take {at:,} bytes, the file has {data_bytes:,}; {_REMEDY}")
