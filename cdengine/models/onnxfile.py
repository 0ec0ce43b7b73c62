"""The texts that lie in an ONNX file, the model card among them, read without onnx, onnxruntime or torch.

An ONNX file is one protobuf message (ModelProto of onnx.proto). Only its top level is walked: the graph with its
weights is one field and is stepped over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from cdengine.errors import ModelCorruptError, ModelError, ModelMetadataError, UnknownModelError
from cdengine.models.card import ModelCard, parse_card

SUFFIX = ".onnx"
CARD = "cdengine"
STRIDE = "cdengine_stride"
MAX_TEXT_BYTES = 1_000_000
MAX_FIELDS = 10_000
_IR_VERSION, _GRAPH, _PROPERTIES = 1, 7, 14  # field numbers of ModelProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def read_onnx_card(path: str | os.PathLike[str]) -> ModelCard:
    """The card of an exported model.

    Raises:
        UnknownModelError, ModelCorruptError, ModelMetadataError: see `read_texts` and `card.parse_card`.
    """
    return card_of_texts(read_texts(path), path)


def card_of_texts(texts: dict[str, str], path: str | os.PathLike[str]) -> ModelCard:
    """The card among a file's texts.

    Raises:
        ModelMetadataError: there is none, or it is malformed.
    """
    if CARD not in texts:
        raise ModelMetadataError(
            f"{path}: an ONNX file without a model card (metadata key {CARD!r}): make one with cdengine export"
        )
    return parse_card(texts[CARD], str(path))


def stride_of_texts(texts: dict[str, str], path: str | os.PathLike[str]) -> int:
    """What heights and widths must be multiples of.

    Raises:
        ModelMetadataError: it is missing or makes no sense.
    """
    text = texts.get(STRIDE, "")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 4096):
        raise ModelMetadataError(f"{path}: metadata key {STRIDE!r} is missing or no number; export the model again")
    return int(text)


def read_texts(path: str | os.PathLike[str]) -> dict[str, str]:
    """`metadata_props` of an ONNX file.

    Raises:
        UnknownModelError: no such file.
        ModelCorruptError: no ONNX file, truncated or damaged.
        ModelError: it may not be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _walk(file, size, path)
    except FileNotFoundError:
        raise UnknownModelError(f"{path}: there is no such model file") from None
    except IsADirectoryError:
        raise ModelCorruptError(f"{path}: is a folder: choose an .onnx file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None


def _walk(file: BinaryIO, size: int, path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    seen: set[int] = set()
    for _ in range(MAX_FIELDS):
        if file.tell() == size:
            break
        number, kind = divmod(_varint(file, path), 8)
        if not seen and (number, kind) != (_IR_VERSION, _VARINT):
            raise ModelCorruptError(f"{path}: not an ONNX file: choose a file that cdengine export has written")
        seen.add(number)
        if kind == _VARINT:
            _varint(file, path)
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if length is None:
            if kind != _BYTES:
                raise _damaged(path)
            length = _varint(file, path)
        if file.tell() + length > size:
            raise ModelCorruptError(f"{path}: truncated; copy or download it again")
        if number == _PROPERTIES and kind == _BYTES:
            key, value = _entry(file.read(length) if length <= MAX_TEXT_BYTES else b"", path)
            texts[key] = value
        else:
            file.seek(length, os.SEEK_CUR)
    else:
        raise _damaged(path)
    if _GRAPH not in seen:
        raise ModelCorruptError(f"{path}: an ONNX file without a graph; copy or download it again")
    return texts


def _entry(message: bytes, path: Path) -> tuple[str, str]:
    """Key (field 1) and value (field 2) of a StringStringEntryProto."""
    parts: dict[int, bytes] = {}
    at = 0
    while at < len(message):
        number, kind = divmod(message[at], 8)
        length, at = _varint_of(message, at + 1, path)
        if kind != _BYTES or at + length > len(message):
            raise _damaged(path)
        parts[number] = message[at : at + length]
        at += length
    try:
        return parts[1].decode(), parts.get(2, b"").decode()
    except (KeyError, UnicodeDecodeError):
        raise _damaged(path) from None


def _varint(file: BinaryIO, path: Path) -> int:
    """A number in base 128, least significant digits first, from the file."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ModelCorruptError(f"{path}: truncated; copy or download it again")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _damaged(path)


def _varint_of(message: bytes, at: int, path: Path) -> tuple[int, int]:
    """The same from bytes: the number, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _damaged(path)
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _damaged(path)


def _damaged(path: Path) -> ModelCorruptError:
    return ModelCorruptError(f"{path}: not a whole ONNX file; copy or download it again")
