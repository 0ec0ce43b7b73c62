"""Cards and model files for every architecture, with seeded random weights."""

import json

import torch
from safetensors.torch import save

from cdengine.models.card import DateInput, ModelCard
from cdengine.models.zoo import build


def date_input(count: int) -> DateInput:
    return DateInput(
        tuple(f"band {number}" for number in range(1, count + 1)), (0.4,) * count, (0.2,) * count, 1 / 255, 0.5
    )


def card_for(architecture: str = "fc-siam-diff", bands=(3, 3), classes=(), **fields) -> ModelCard:
    task = "semantic" if classes else "binary"
    dates = {"before": date_input(bands[0]), "after": date_input(bands[1])}
    return ModelCard(name="a model", task=task, architecture=architecture, classes=classes, **dates, **fields)


def trained(card: ModelCard) -> torch.nn.Module:
    """As if trained: batch normalisation has seen data, so that eval mode differs from a fresh network's."""
    torch.manual_seed(1)
    module = build(card.architecture, card.constructor_arguments())
    with torch.no_grad():
        module.train()(torch.randn(2, card.before.count, 64, 64), torch.randn(2, card.after.count, 64, 64))
    return module.eval()


def container(tensors: dict, card: dict | str | None, path):
    """A safetensors file with any tensors and any card text, without the checks of `save_model`."""
    text = card if isinstance(card, str) else json.dumps(card)
    path.write_bytes(save(tensors, None if card is None else {"cdengine": text}))
    return path


def raw(header: dict | str | bytes, data: bytes, path):
    """A file from a hand-written header."""
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path
