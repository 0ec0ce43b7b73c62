"""`models`: what `--model` may name, and what a model file says about itself. Loads no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Reporter

if TYPE_CHECKING:
    from cdengine.models.card import DateInput, ModelCard


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `models`."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="show the card of this shipped model or model file")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Lists, or shows one card."""
    return _card(args.model) if args.model else _overview()


def _overview() -> Result:
    from cdengine.methods.table import METHODS
    from cdengine.models.names import ARCHITECTURE_NAMES
    from cdengine.models.shipped import SHIPPED

    shipped = [{"name": name, "task": model.task, "sha256": model.sha256} for name, model in SHIPPED.items()]
    answer: dict[str, Any] = {
        "architectures": list(ARCHITECTURE_NAMES),
        "methods": list(METHODS),
        "shipped": shipped,
    }
    lines = [
        f"training-free methods: {', '.join(METHODS)}",
        f"shipped models:        {', '.join(SHIPPED) or 'none in this version'}",
        f"architectures:         {', '.join(ARCHITECTURE_NAMES)}",
        "Any model file (.safetensors, .onnx) can be given to detect --model; models MODEL shows its card.",
    ]
    return Result(text="\n".join(lines), answer=answer)


def _card(name: str) -> Result:
    from cdengine.methods.table import METHODS
    from cdengine.models.container import read_card
    from cdengine.models.shipped import model_path

    if name in METHODS and not Path(name).exists():
        raise UsageError(f"{name} is a training-free method and has no card; `detect --model {name}` uses it")
    path = model_path(name)
    card = read_card(path)
    return Result(outputs={"model": str(path)}, text=_as_text(card), answer=card.to_dict())


def _as_text(card: ModelCard) -> str:
    rows: list[tuple[str, str]] = [
        ("name", card.name),
        ("task", card.task),
        ("architecture", " ".join([card.architecture, *(f"{key}={value}" for key, value in card.arguments.items())])),
        ("before", _input_text(card.before)),
        ("after", _input_text(card.after)),
        ("classes", ", ".join(card.classes)),
        ("threshold", f"{card.threshold:g}"),
        ("tile, margin", f"{card.tile} px, {card.margin} px"),
        *((f"training: {key}", str(value)) for key, value in card.training.items()),
        *((f"metric: {key}", str(value)) for key, value in card.metrics.items()),
        ("license", card.license),
        ("citation", card.citation),
    ]
    width = max(len(label) for label, value in rows if value)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows if value)


def _input_text(date: DateInput) -> str:
    distance = date.ground_sample_distance
    at = f" at {distance:g} m" if distance else ""
    means = ", ".join(f"{mean:g} ± {std:g}" for mean, std in zip(date.mean, date.std, strict=True))
    return f"{', '.join(date.bands)}{at}; x * {date.scale:g} has {means}"
