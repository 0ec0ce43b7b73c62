"""Trained weights for the backbones inside a network: from a local file, or by explicit wish from timm's hub.

Nothing here runs when a model file is loaded; only a training configuration asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from cdengine.errors import ModelWeightsError
from cdengine.models.backbones import OWN_NAMES, Backbone
from cdengine.models.container import read_header


def load_backbone(module: nn.Module, path: str | os.PathLike[str]) -> int:
    """Loads weights of timm's naming, as timm's own files on its hub have them, into every backbone of a network.

    Tensors that the backbone is without (a classifier, stages that were not built) are left aside. The first
    convolution is adapted to the number of bands: see `adapt_bands`. Files of a `Backbone` or of a whole network that
    this package saved are understood as well, as are prefixes like "model." or "backbone.".

    Args:
        module: a network with one or more `Backbone`.
        path: of a .safetensors file.

    Returns:
        Number of tensors that were set.

    Raises:
        UnknownModelError, NotSafetensorsError, ModelCorruptError: see `container.read_header`.
        ModelWeightsError: the network has no backbone, or the file is of another one.
    """
    read_header(path)
    return _set_all(module, safetensors.torch.load_file(os.fspath(path)), str(path))


def fetch_backbone(module: nn.Module) -> int:
    """The same with the weights that timm offers for the backbone, fetched over the network or from its cache.

    Raises:
        ModelWeightsError: there are none, or they cannot be fetched.
    """
    names = {part.timm_name for part in module.modules() if isinstance(part, Backbone)}
    own = {part.name for part in module.modules() if isinstance(part, Backbone)} & set(OWN_NAMES)
    if own:
        raise ModelWeightsError(f"timm offers no weights for {', '.join(sorted(own))}: give a file, or take resnet18")
    if len(names) != 1:
        raise ModelWeightsError("the network has no backbone whose weights timm offers: set model.pretrained to null")
    (name,) = names
    try:
        weights = timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0][:160]
        raise ModelWeightsError(
            f"weights of {name} cannot be fetched ({first}): set model.pretrained to a .safetensors file of them, or "
            "to null"
        ) from error
    return _set_all(module, weights, f"timm's weights of {name}")


def adapt_bands(kernel: Tensor, bands: int) -> Tensor:
    """A first convolution's weights for another number of bands.

    Bands repeat in turn (red, green, blue, red, …) and are scaled by the old number over the new one, so that images
    of equal brightness give activations as large as before.

    Args:
        kernel: (C, old bands, h, w).
        bands: wanted.

    Returns:
        (C, bands, h, w).
    """
    old = kernel.shape[1]
    if old == bands:
        return kernel
    if bands == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, torch.arange(bands) % old] * (old / bands)


def _set_all(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> int:
    backbones = [part for part in module.modules() if isinstance(part, Backbone)]
    if not backbones:
        raise ModelWeightsError(f"{source}: the network has no timm backbone: set model.pretrained to null")
    return sum(_set(backbone, weights, source) for backbone in backbones)


def _set(backbone: Backbone, weights: Mapping[str, Tensor], source: str) -> int:
    expected = backbone.features.state_dict()
    found: dict[str, Tensor] = {}
    prefix = _prefix(list(expected), weights)
    for name, value in expected.items():
        given = next((weights[prefix + alias] for alias in _aliases(name) if prefix + alias in weights), None)
        if given is None:
            raise ModelWeightsError(f"{source}: has no {name}: not the weights of {backbone.name}")
        if given.ndim == 4 and given.shape[1] != value.shape[1] and given.shape[0] == value.shape[0]:
            given = adapt_bands(given, value.shape[1])
        if given.shape != value.shape:
            raise ModelWeightsError(
                f"{source}: {name} is {list(given.shape)} in place of {list(value.shape)}: not of {backbone.name}"
            )
        if not bool(torch.isfinite(given).all()):
            raise ModelWeightsError(f"{source}: {name} is not finite; copy or download the file again")
        found[name] = given
    backbone.features.load_state_dict(found)
    return len(found)


def _prefix(names: list[str], weights: Mapping[str, Tensor]) -> str:
    """What stands before every name in the file: nothing, "model.", "encoder.backbone.features." and the like."""
    for alias in _aliases(names[0]):
        for given in weights:
            if given == alias or given.endswith("." + alias):
                return given.removesuffix(alias)
    return ""


def _aliases(name: str) -> list[str]:
    """A tensor's name here, and as timm's files have it: flattening turned "stages.0" into "stages_0"."""
    head, dot, rest = name.partition(".")
    parts = head.split("_")
    dotted = [name]
    for cut in range(1, len(parts)):
        if all(part.isdigit() for part in parts[cut:]):
            dotted.append("_".join(parts[:cut]) + "." + ".".join(parts[cut:]) + dot + rest)
    without = [alias.removeprefix("model.") for alias in dotted if alias.startswith("model.")]
    return dotted + without
