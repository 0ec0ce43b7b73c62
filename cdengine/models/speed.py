"""The reference network of the benchmark, and how fast a network runs when everything lies in memory already."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdengine.events import Reporter
from cdengine.models.card import DateInput, ModelCard
from cdengine.models.logits import Logits
from cdengine.models.modelfile import LoadedModel
from cdengine.models.normalise import Normaliser
from cdengine.models.zoo import build

Tiles = np.ndarray[Any, np.dtype[Any]]
RGB = DateInput(("red", "green", "blue"), (0.47,) * 3, (0.14,) * 3, scale=1 / 255)  # of the benchmark's textures
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def reference_network(before: Tiles, after: Tiles, share: float, seed: int = 20260101) -> tuple[nn.Module, ModelCard]:
    """FC-Siam-diff on ResNet-18 with random weights that mark about `share` of the pixels, in patches.

    Untrained weights cost what trained ones cost, but their answer must not look like noise, or each pixel would turn
    into a polygon. Hence decoder kernels that are constant over their window (they smooth), batch statistics from real
    tiles, and a bias that leaves only the strongest responses.

    Args:
        before: (B, 3, H, W) uint8 sample tiles.
        after: likewise.
        share: of pixels that shall be called changed, 0 to 1.
        seed: of the weights.
    """
    card = ModelCard("bench", "binary", "fc-siam-diff", RGB, RGB, {"backbone": "resnet18"})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build(card.architecture, card.constructor_arguments())
    with torch.inference_mode():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None  # a plain mean over the batches seen
            if name.startswith("decoder") and isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
        first, second = _normalised(before), _normalised(after)
        module.train()(first, second)
        logits = module.eval()(first, second)
        head = module.head
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        # Not torch.quantile: it refuses more than 16 million values.
        head.bias -= logits.flatten().kthvalue(max(1, round((1 - share) * logits.numel()))).values
    return module, card


def forward_seconds(
    model: LoadedModel,
    before: Tiles,
    after: Tiles,
    *,
    tiles: int,
    batch: int,
    device: torch.device,
    precision: str,
    reporter: Reporter,
) -> float:
    """Seconds for `tiles` tiles to probabilities: nothing read, normalised, blended or written.

    Probabilities are a sigmoid, and for networks that tell classes a softmax for each date.

    Memory layout and arithmetic are those of detection, so that the two rates may be compared.

    Args:
        model: as loaded, binary or semantic; stays as it is.
        before: (N, C, H, W); these tiles are used in turn, and lie on the device before the clock starts.
        after: likewise.
        tiles: how many to compute, a multiple of `batch` or rounded up to one and scaled back.
        batch: tiles at a time, at most N.
        device: where.
        precision: fp32, bf16 or fp16.
        reporter: shows progress.
    """
    dtype, layout = DTYPES[precision], torch.channels_last
    module = copy.deepcopy(model.module).to(device, memory_format=layout)  # type: ignore[call-overload]
    if dtype != torch.float32:
        for layer in module.modules():
            if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)):
                layer.to(dtype)
    first = _normalised(before, model.card.before).to(device).contiguous(memory_format=layout)
    second = _normalised(after, model.card.after).to(device).contiguous(memory_format=layout)
    calls = -(-tiles // batch)
    starts = [(call * batch) % (len(first) - batch + 1) for call in range(calls)]
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False),
        reporter.stage("raw forward", calls * batch, "tiles") as stage,
    ):
        _probabilities(module(first[:batch], second[:batch]))  # warm-up: kernels chosen, memory reserved
        _wait(device)
        began = time.perf_counter()
        for start in starts:
            _probabilities(module(first[start : start + batch], second[start : start + batch]))
            stage.advance(batch)
        _wait(device)
        return (time.perf_counter() - began) * tiles / (calls * batch)


def _probabilities(given: Tensor | Logits) -> tuple[Tensor, ...]:
    """float32, of each head."""
    if not isinstance(given, Logits):
        return (torch.sigmoid(given.float()),)
    return torch.sigmoid(given.change.float()), given.before.float().softmax(1), given.after.float().softmax(1)


def _normalised(tiles: Tiles, date: DateInput = RGB) -> Tensor:
    everywhere = torch.ones((len(tiles), *tiles.shape[2:]), dtype=torch.bool)
    normalised: Tensor = Normaliser(date)(torch.from_numpy(tiles), everywhere)
    return normalised


def _wait(device: torch.device) -> None:
    """Accelerators compute behind the caller's back; a clock is read only once they are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
