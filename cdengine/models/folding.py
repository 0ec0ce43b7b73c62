"""Batch normalisation folded into the convolution before it: the same function with one pass over memory less."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cdengine.models.logits import Logits

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
SIDE = 64  # of the random image on which the folded network must agree, in pixels; more where the stride asks for it
AGREE = 1e-3  # largest difference of logits relative to their size; rounding gives about 1e-6


def folded(module: nn.Module, bands: Sequence[int], stride: int = 32) -> nn.Module:
    """A copy of a network in eval mode whose batch normalisations are folded where that is possible.

    With w, b of the convolution and γ, β, μ, σ² of the normalisation: w' = w γ / √(σ² + ε),
    b' = (b - μ) γ / √(σ² + ε) + β (Jacob et al. 2018, arXiv 1712.05877, eq. 14).

    Which normalisation follows which convolution is seen in a run on a random image, so that any network will do. The
    result is compared with the original on that image; where a convolution's output is also used by another way, they
    differ, and the original is given back.

    Args:
        module: in eval mode, on the CPU, float32.
        bands: of the two dates.
        stride: sides of images must be multiples of it.

    Returns:
        The folded copy, or `module` itself where nothing can be folded.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
        return module
    generator = torch.Generator().manual_seed(0)
    side = -(-SIDE // stride) * stride
    before, after = (torch.randn(1, count, side, side, generator=generator) for count in bands)
    with torch.no_grad():  # not inference_mode: tensors made there can never be differentiated or traced
        pairs, expected = _pairs(module, before, after)
        if not pairs:
            return module
        copied = copy.deepcopy(module)
        for convolution, norm in pairs:
            _fold(copied, convolution, norm)
        found = _heads(copied(before, after))
    limit = AGREE * max(1.0, float(torch.cat([head.flatten() for head in expected]).abs().max()))
    same = all(bool(((a - b).abs() <= limit).all()) for a, b in zip(found, expected, strict=True))
    return copied.requires_grad_(False) if same else module


def _pairs(module: nn.Module, before: Tensor, after: Tensor) -> tuple[list[tuple[str, str]], list[Tensor]]:
    """Names of convolutions and of the normalisations that always follow them, and the network's answer."""
    made: list[tuple[Tensor, str]] = []  # keeps outputs alive: an id may not be given twice
    by_id: dict[int, str] = {}
    sources: dict[str, set[str]] = {}
    hooks = []

    def note_output(name: str) -> None:
        def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            made.append((output, name))
            by_id[id(output)] = name

        hooks.append(modules[name].register_forward_hook(hook))

    def note_input(name: str) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            sources.setdefault(name, set()).add(by_id.get(id(inputs[0]), ""))

        hooks.append(modules[name].register_forward_pre_hook(hook))

    modules = dict(module.named_modules())
    for name, layer in modules.items():
        if isinstance(layer, CONVOLUTIONS):
            note_output(name)
        elif isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats and layer.running_mean is not None:
            note_input(name)
    try:
        answer = _heads(module(before, after))
    finally:
        for handle in hooks:
            handle.remove()
    found = [(next(iter(names)), norm) for norm, names in sources.items() if len(names) == 1 and "" not in names]
    once = [convolution for convolution, _ in found]
    return [pair for pair in found if once.count(pair[0]) == 1], answer


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    before, after = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(before, CONVOLUTIONS) and isinstance(after, nn.BatchNorm2d)
    fused = fuse_conv_bn_eval(before, after, transpose=isinstance(before, nn.ConvTranspose2d))
    _put(module, convolution, fused)
    # timm's BatchNormAct2d is a normalisation that has its activation inside
    rest = [getattr(after, name) for name in ("drop", "act") if hasattr(after, name)]
    _put(module, norm, nn.Sequential(*rest))


def _put(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)


def _heads(output: Tensor | Logits) -> list[Tensor]:
    return list(output) if isinstance(output, Logits) else [output]
