"""`detect`: the main job from the command line. Options, defaults and help come from `DetectOptions`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from inspect import cleandoc
from typing import Any

from cdengine.cli.automatic import auto_or
from cdengine.cli.result import Result
from cdengine.events import Reporter
from cdengine.inference.options import CHOICES, DetectOptions

METAVARS = {"model": "M", "bands_before": "BANDS", "bands_after": "BANDS", "device": "NAME", "assume_crs": "CRS"}
METAVARS |= {"tile": "N", "overlap": "N", "workers": "N", "time_budget": "SECONDS"}
NUMBERS: dict[str, Callable[[str], Any]] = {
    "tile": int,
    "overlap": int,
    "workers": int,
    "time_budget": float,
    "min_area": float,
    "simplify": float,
    "fill_holes": float,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.formatter_class = argparse.HelpFormatter  # the help texts below say their own defaults
    parser.add_argument("before", metavar="BEFORE", help="image of the first date: anything GDAL opens")
    parser.add_argument("after", metavar="AFTER", help="image of the second date")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="change raster (.tif): 0 unchanged, 1 changed, 255 nodata"
    )
    texts = option_help()
    for option in fields(DetectOptions):
        _add(parser, option, texts[option.name])


def _add(parser: argparse.ArgumentParser, option: Field[Any], text: str) -> None:
    flag, default = "--" + option.name.replace("_", "-"), option.default
    if default is MISSING:
        raise TypeError(f"DetectOptions.{option.name} needs a default")
    shown = f" (default: {default})" if default not in (None, False, ()) else ""
    if isinstance(default, bool):
        parser.add_argument(flag, action="store_true", help=text)
    elif option.name in CHOICES:
        parser.add_argument(flag, choices=CHOICES[option.name], default=default, help=text + shown)
    elif option.name == "ensemble":
        parser.add_argument(flag, nargs="+", default=(), metavar="M", help=text)
    elif option.name in ("batch_size", "threshold"):
        number: type[int] | type[float] = int if option.name == "batch_size" else float
        metavar = "N" if option.name == "batch_size" else "T"
        parser.add_argument(flag, type=auto_or(number, flag), default=default, metavar=metavar, help=text + shown)
    else:
        metavar = METAVARS.get(option.name, "X" if option.name in NUMBERS else "FILE")
        kind = NUMBERS.get(option.name, str)
        parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=text + shown)


def option_help() -> dict[str, str]:
    """Option name → its line in the docstring of `DetectOptions`."""
    doc = cleandoc(DetectOptions.__doc__ or "")
    section = doc.split("Attributes:\n", 1)[1]
    texts = dict(re.findall(r"^    (\w+): (.+)$", section, re.MULTILINE))
    return {name: text.rstrip(".").replace("%", "%%") for name, text in texts.items()}


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    options = {option.name: getattr(args, option.name) for option in fields(DetectOptions)}
    checked = DetectOptions.of(options.pop("model"), options)
    from cdengine.inference.detect import run_detect

    result = run_detect(args.before, args.after, args.output, checked, reporter)
    return Result(outputs=result.outputs, stats=result.stats, text=result.summary())
