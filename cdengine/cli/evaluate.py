"""`evaluate`: figures of a model, or of predictions made elsewhere, on a data set with labels."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import fields
from inspect import cleandoc
from typing import Any

from cdengine.cli.automatic import auto_or
from cdengine.cli.result import Result
from cdengine.events import Reporter
from cdengine.inference.evaluateoptions import PROTOCOLS, EvaluateOptions
from cdengine.inference.options import CHOICES

LISTS = ("model", "classes")
NUMBERS = ("tile", "overlap", "workers")
AUTOMATIC: dict[str, Callable[[str], Any]] = {"batch_size": int, "threshold": float}
METAVARS = {"data": "DIR", "layout": "L", "split": "S", "model": "M", "classes": "NAME", "predictions": "DIR"}
METAVARS |= {"save_predictions": "DIR", "threshold": "T", "batch_size": "N", "device": "NAME", "label_coding": "CODING"}
METAVARS |= {"threshold_from": "SPLIT", "bands_before": "BANDS", "bands_after": "BANDS"}
METAVARS |= dict.fromkeys(NUMBERS, "N")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments; options, defaults and help come from `EvaluateOptions`."""
    parser.formatter_class = argparse.HelpFormatter  # the help texts below say their own defaults
    texts = _help()
    choices = {"protocol": PROTOCOLS, **CHOICES}
    for option in fields(EvaluateOptions):
        name, default = option.name, option.default
        flag, text = "--" + name.replace("_", "-"), texts[name]
        metavar = METAVARS.get(name, "FILE")
        if isinstance(default, str) and name not in ("threshold", "batch_size"):
            text += f" (default: {default})"
        if name == "data":
            parser.add_argument(flag, required=True, metavar=metavar, help=text)
        elif isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=text)
        elif name in LISTS:
            parser.add_argument(flag, nargs="+", default=(), metavar=metavar, help=text)
        elif name in AUTOMATIC:
            kind = auto_or(AUTOMATIC[name], flag)
            parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{text} (default: auto)")
        elif name in choices:
            parser.add_argument(flag, choices=choices[name], default=default, help=text)
        else:
            kind = int if name in NUMBERS else str
            parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=text)


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    given = {option.name: getattr(args, option.name) for option in fields(EvaluateOptions)}
    given |= {name: tuple(given[name]) for name in LISTS}
    options = EvaluateOptions.of(given.pop("data"), given)
    from cdengine.inference.evaluate import run_evaluate

    result = run_evaluate(options, reporter)
    stats: dict[str, float | None] = {**result.pooled, "pairs": result.protocol["pairs"]}
    stats["seconds"] = result.protocol["seconds"]
    return Result(outputs=result.outputs, stats=stats, text=result.summary())


def _help() -> dict[str, str]:
    """Option name → its line in the docstring of `EvaluateOptions`."""
    section = cleandoc(EvaluateOptions.__doc__ or "").split("Attributes:\n", 1)[1]
    texts = dict(re.findall(r"^    (\w+): (.+)$", section, re.MULTILINE))
    return {name: text.rstrip(".").replace("%", "%%") for name, text in texts.items()}
