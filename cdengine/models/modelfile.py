"""Writing and loading a trained model: one safetensors file with its card inside. No pickle, no code from the file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from cdengine.errors import ModelWeightsError, OutputFolderError
from cdengine.models.card import ModelCard, parse_card
from cdengine.models.container import METADATA_KEY, Header, TensorEntry, card_of, read_header
from cdengine.models.zoo import build, build_meta

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CHUNK = 16 * 2**20


@dataclass(frozen=True)
class LoadedModel:
    """A trained network, ready to run.

    Attributes:
        module: on the CPU, float32, in eval mode.
        card: what the file says about it.
        sha256: of the file's bytes, hexadecimal.
    """

    module: nn.Module
    card: ModelCard
    sha256: str


def save_model(path: str | os.PathLike[str], module: nn.Module, card: ModelCard, half: bool = False) -> None:
    """Writes weights and card; the file appears under its name only when whole.

    Args:
        path: ends in .safetensors.
        module: as `zoo.build(card.architecture, card.constructor_arguments())` gives it, with trained weights.
        card: checked as on loading.
        half: store weights in half precision, for half the size and a relative rounding of 5e-4.

    Raises:
        ModelMetadataError: the card would not load.
        ModelWeightsError: the weights are not finite or do not belong to the card's architecture.
        OutputFolderError: the folder is missing or may not be written to.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise OutputFolderError(f"{path}: the name of a model file must end in .safetensors")
    parse_card(card.to_json(), str(path))
    # Clones, because two names for one storage (tied weights) are not allowed in the container.
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    found = {name: (str(value.dtype), tuple(value.shape)) for name, value in weights.items()}
    expected = _expected(build_meta(card.architecture, card.constructor_arguments()))
    _compare(path, {name: shape for name, (_, shape) in found.items()}, expected)
    if half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in weights.items():
        _check_finite(path, [name], [value])
    payload = safetensors.torch.save(weights, {METADATA_KEY: card.to_json()})
    _write_whole(path, payload)


def load_model(path: str | os.PathLike[str]) -> LoadedModel:
    """Loads a model file.

    The header, the card, the architecture and every tensor's shape are checked before a network is built or a weight
    is read. Weights stored in half precision become float32.

    Raises:
        UnknownModelError, NotSafetensorsError, ModelCorruptError, ModelMetadataError: see `container.read_card`.
        ModelArchitectureError: the card names an architecture or arguments that cannot be built.
        ModelWeightsError: tensors are missing, superfluous, mis-shaped or not finite.
    """
    path = Path(path)
    header = read_header(path)
    card = card_of(header, path)
    arguments = card.constructor_arguments()
    expected = _expected(build_meta(card.architecture, arguments))
    _compare(path, {name: entry.shape for name, entry in header.tensors.items()}, expected)
    module = build(card.architecture, arguments)
    weights, sha256 = _read_weights(path, header)
    for name, value in module.state_dict().items():
        if value.is_floating_point() != weights[name].is_floating_point():
            raise ModelWeightsError(f"{path}: tensor {name} is {header.tensors[name].dtype}, expected {value.dtype}")
    _check_finite(path, weights.keys(), weights.values())
    module.load_state_dict(weights)
    return LoadedModel(module.eval().requires_grad_(False), card, sha256)


def _expected(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _compare(path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    """Names the first five tensors that differ from what the architecture has."""
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is superfluous" for name in found if name not in expected]
    faults += [
        f"{name} is {list(shape)} in place of {list(expected[name])}"
        for name, shape in found.items()
        if name in expected and expected[name] != shape
    ]
    if faults:
        rest = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ModelWeightsError(f"{path}: the weights do not fit the architecture: {'; '.join(faults[:5])}{rest}")


def _check_finite(path: Path, names: Iterable[str], values: Iterable[Tensor]) -> None:
    wrong = [name for name, value in zip(names, values, strict=True) if not bool(torch.isfinite(value).all())]
    if wrong:
        rest = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ModelWeightsError(f"{path}: weights that are not finite: {', '.join(wrong[:5])}{rest}; train again")


def _read_weights(path: Path, header: Header) -> tuple[dict[str, Tensor], str]:
    """Every tensor, in one pass over the file that also hashes it."""
    digest, weights = hashlib.sha256(), {}
    with path.open("rb") as file:
        digest.update(file.read(header.data_start))
        for name, entry in header.tensors.items():
            payload = bytearray(entry.end - entry.begin)
            if file.readinto(payload) != len(payload):
                raise ModelWeightsError(f"{path}: was cut short while it was read; copy it again")
            digest.update(payload)
            weights[name] = _tensor(entry, payload)
    return weights, digest.hexdigest()


def _tensor(entry: TensorEntry, payload: bytearray) -> Tensor:
    if not payload:
        return torch.empty(entry.shape, dtype=_DTYPES[entry.dtype])
    return torch.frombuffer(payload, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)


def _write_whole(path: Path, payload: bytes) -> None:
    """Temporary name in the same folder, fsync, rename."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputFolderError(f"{path}: cannot write into {path.parent} ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the model from others
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputFolderError(f"{path}: cannot be written ({error.strerror})") from None
