"""Published weights (.pth state dicts, .safetensors without a card) into a network of the zoo, by the names of tensors.

The only place where a file in pickle format is opened, and then for tensors alone (`weights_only`): anything in it that
would run code is refused by torch before it runs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.serialization
from torch import Tensor, nn

from cdengine.errors import ModelError, ModelWeightsError, UnknownModelError
from cdengine.models.card import ModelCard
from cdengine.models.modelfile import save_model
from cdengine.models.published_names import Naming, namings
from cdengine.models.zoo import build

LEAST = 0.95  # of the network's tensors must be in the file
# What wrappers and toolboxes put before a name, and under which key a checkpoint keeps its weights.
PREFIXES = ("module.", "model.", "backbone.", "network.", "net.", "netG.", "_orig_mod.")
KEYS = ("state_dict", "model_state_dict", "model_G_state_dict", "model", "network", "net", "params", "weights")
# Raised for what is no tensor. By this way, since nothing in this package imports pickle itself.
UnpicklingError: type[Exception] = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]
_COUNTER = "num_batches_tracked"  # no weight: nothing reads it, and older files are without it


@dataclass(frozen=True)
class Imported:
    """What became of the tensors.

    Attributes:
        matched: names of the network's tensors that the file gave.
        missing: names of those that keep their random start, with the reason where the file has one that does not fit.
        unused: names in the file that nothing was found for.
        naming: whose names the file has; "" where they are the network's own.
        arguments: of the network that was built.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    naming: str
    arguments: Mapping[str, Any]

    @property
    def share(self) -> float:
        """Of the network's tensors that the file gave, 0 to 1."""
        return len(self.matched) / max(1, len(self.matched) + len(self.missing))


def import_weights(path: str | os.PathLike[str], output: str | os.PathLike[str], card: ModelCard) -> Imported:
    """Makes a model file of published weights.

    Args:
        path: a state dict, alone or inside a checkpoint.
        output: the model file to write, ending in .safetensors.
        card: of the model; where the published code implies arguments of the network, they are added.

    Returns:
        What matched and what did not.

    Raises:
        UnknownModelError: no such file.
        ModelError: it holds more than tensors, or none.
        ModelArchitectureError: the card names an architecture or arguments that cannot be built.
        ModelWeightsError: under 95 % of the network's tensors are in the file; nothing is written.
        OutputFolderError: the output cannot be written.
    """
    given = read_tensors(path)
    module, imported = fit(given, card)
    if imported.share < LEAST:
        raise ModelWeightsError(f"{path}: {_why(imported, card.architecture)}")
    save_model(output, module, replace(card, arguments=dict(imported.arguments)))
    return imported


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a state dict by their names in the file.

    Raises:
        UnknownModelError, ModelError: see `import_weights`.
    """
    path = Path(path)
    if not path.exists():
        raise UnknownModelError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot be read ({_first_line(error)}): download it again") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the file's format
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(
            f"{path}: holds Python objects besides tensors, which could run code and are never loaded "
            f"({_first_line(error)}): where you trust it, load it elsewhere and save its state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: is no file of weights that torch can read ({_first_line(error)})") from error
    tensors = _tensors_in(content)
    if tensors is None:
        raise ModelError(f"{path}: holds no state dict (looked under {', '.join(KEYS)}): save the state_dict() alone")
    return tensors


def fit(given: Mapping[str, Tensor], card: ModelCard) -> tuple[nn.Module, Imported]:
    """A network with the given tensors in it, under whichever known naming gives most of them.

    Args:
        given: names and tensors of the file.
        card: tells the architecture and its arguments.

    Returns:
        The network, and what matched.
    """
    arguments = card.constructor_arguments()
    candidates: list[Naming | None] = [None, *namings(card.architecture, arguments)]
    best: tuple[nn.Module, dict[str, Tensor], Imported] | None = None
    for naming in candidates:
        implied = {} if naming is None else naming.arguments
        module = build(card.architecture, {**arguments, **implied})
        expected = {name: value for name, value in module.state_dict().items() if not name.endswith(_COUNTER)}
        for spelled in _spellings(given):
            found, missing, unused = _match(expected, spelled, naming)
            source = naming.source if naming else ""
            imported = Imported(tuple(found), missing, unused, source, {**card.arguments, **implied})
            if best is None or imported.share > best[2].share:
                best = module, found, imported
    assert best is not None
    module, found, imported = best
    module.load_state_dict(found, strict=False)
    return module, imported


def _tensors_in(content: Any) -> dict[str, Tensor] | None:  # noqa: ANN401 -- whatever the file holds
    if not isinstance(content, Mapping):
        return None
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        return tensors
    for key in KEYS:
        inner = _tensors_in(content.get(key))
        if inner:
            return inner
    return None


def _spellings(given: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tensors under their names as they stand, and with prefixes taken off one after another."""
    spellings = [dict(given)]
    stripped = dict(given)
    while True:
        prefix = next((one for one in PREFIXES if any(name.startswith(one) for name in stripped)), None)
        if prefix is None:
            return spellings
        stripped = {name.removeprefix(prefix): value for name, value in stripped.items()}
        spellings.append(stripped)


def _match(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], naming: Naming | None
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """The tensors that fit, under our names and in our shapes; what is missing; what was not used."""
    translate = _translation(naming)
    found: dict[str, Tensor] = {}
    misfits: dict[str, str] = {}
    unused = []
    for theirs, tensor in given.items():
        ours, turned = translate(theirs)
        if theirs.endswith(_COUNTER):
            continue
        if ours not in expected:
            unused.append(theirs)
            continue
        kernel = tensor.transpose(0, 1).flip(2, 3) if turned and tensor.ndim == 4 else tensor
        shaped = _shaped(kernel, expected[ours], folding=naming is not None)
        if shaped is None:
            there = "" if theirs == ours else f"{theirs}, "
            misfits[ours] = f"{ours} ({there}{list(tensor.shape)} in place of {list(expected[ours].shape)})"
        else:
            found[ours] = shaped
    missing = tuple(misfits.get(name, name) for name in expected if name not in found)
    return found, missing, tuple(unused)


def _translation(naming: Naming | None) -> Callable[[str], tuple[str, bool]]:
    """From a published tensor's name to ours, and whether it is a kernel that must be turned round."""

    def translate(name: str) -> tuple[str, bool]:
        if naming is None:
            return name, False
        layer, _, tensor = name.rpartition(".")
        own = naming.layers.get(layer)
        return f"{own}.{naming.tensors.get(tensor, tensor)}", layer in naming.turned and tensor == "weight"

    return translate


def _shaped(tensor: Tensor, like: Tensor, *, folding: bool) -> Tensor | None:
    """The tensor in the wanted shape; None where that is not possible.

    With `folding`, a head of two classes becomes one of a single logit: (unchanged, changed) with a softmax gives the
    same probability as their difference with a sigmoid.
    """
    if folding and tensor.shape != like.shape and tensor.ndim and tensor.shape[0] == 2 and like.shape[:1] == (1,):
        tensor = tensor[1:] - tensor[:1]
    if [size for size in tensor.shape if size > 1] != [size for size in like.shape if size > 1]:
        return None
    return tensor.reshape(like.shape).to(like.dtype)


def _why(imported: Imported, architecture: str) -> str:
    """One line for people whose file does not fit."""
    total = len(imported.matched) + len(imported.missing)
    text = f"{len(imported.matched)} of {total} tensors of {architecture} are in it, 95 % are needed"
    for what, names in (("missing", imported.missing), ("unknown", imported.unused)):
        if names:
            rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
            text += f"; {what}: {', '.join(names[:3])}{rest}"
    return text + ": choose another --architecture, or its arguments with --set"


def _first_line(error: BaseException) -> str:
    """What torch says first, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
