"""`import-weights`: a published state dict in, a model file with a card out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdengine.cli.result import Result
from cdengine.errors import OutputExistsError, OutputIsInputError, UsageError
from cdengine.events import Reporter

if TYPE_CHECKING:
    from cdengine.models.card import DateInput, ModelCard
    from cdengine.models.import_weights import Imported

# What most published networks for RGB imagery were trained with (ImageNet's statistics of values from 0 to 1).
RGB_MEAN, RGB_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("file", metavar="FILE", help="state dict or checkpoint (.pth, .pt, .ckpt, .safetensors)")
    parser.add_argument("--architecture", required=True, metavar="NAME", help="one of those that `models` lists")
    parser.add_argument("--output", metavar="FILE", help="model file to write (default: FILE with .safetensors)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="argument of the architecture, such as width=16; may be given several times",
    )
    parser.add_argument("--bands", default="red,green,blue", metavar="NAMES", help="bands of each date, in order")
    parser.add_argument("--mean", metavar="NUMBERS", help=f"per band, after --scale (3 bands: {RGB_MEAN})")
    parser.add_argument("--std", metavar="NUMBERS", help=f"likewise (3 bands: {RGB_STD})")
    parser.add_argument("--scale", type=float, default=1 / 255, metavar="X", help="factor for stored values")
    parser.add_argument("--classes", default="", metavar="NAMES", help="land-cover classes of a semantic network")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="change = probability >= T")
    parser.add_argument("--license", default="", metavar="TEXT", help="of the weights, for the card")
    parser.add_argument("--citation", default="", metavar="TEXT", help="what to cite, for the card")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    source = Path(args.file)
    output = source.with_suffix(".safetensors") if args.output is None else Path(args.output)
    if output.exists() and source.exists() and output.samefile(source):
        raise OutputIsInputError(f"{output}: is the input itself: name another file with --output")
    if output.exists() and not args.overwrite:
        raise OutputExistsError(f"{output} exists: pass --overwrite to replace it")
    card = _card(args, source)
    from cdengine.models.import_weights import import_weights

    with reporter.stage("import", 1, "files") as stage:
        imported = import_weights(source, output, card)
        stage.advance(1)
    stats = {
        "matched": len(imported.matched),
        "missing": len(imported.missing),
        "unused": len(imported.unused),
        "matched_share": imported.share,
    }
    return Result({"model": str(output)}, stats, "\n".join([*_lines(imported), f"model: {output}"]))


def _card(args: argparse.Namespace, source: Path) -> ModelCard:
    from cdengine.models.card import ModelCard

    date = _date(args)
    classes = tuple(_names(args.classes))
    return ModelCard(
        name=source.stem,
        task="semantic" if classes else "binary",
        architecture=args.architecture,
        before=date,
        after=date,
        arguments=dict(_argument(text) for text in args.set),
        classes=classes,
        threshold=args.threshold,
        training={"imported_from": source.name},
        license=args.license,
        citation=args.citation,
    )


def _date(args: argparse.Namespace) -> DateInput:
    from cdengine.models.card import DateInput

    bands = tuple(_names(args.bands))
    mean, std = args.mean, args.std
    if len(bands) == 3:
        mean, std = mean or RGB_MEAN, std or RGB_STD
    if mean is None or std is None:
        raise UsageError(f"--mean and --std are needed for {len(bands)} bands: what the weights were trained with")
    return DateInput(bands, _numbers("--mean", mean, bands), _numbers("--std", std, bands), args.scale)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str, bands: tuple[str, ...]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(item) for item in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: must be numbers with commas between them") from None
    if len(numbers) != len(bands):
        raise UsageError(f"{option} has {len(numbers)} numbers, --bands has {len(bands)} names")
    return numbers


def _argument(text: str) -> tuple[str, Any]:
    """A value is JSON (16, true, null, [1, 2]), or else a text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text}: must be KEY=VALUE, such as width=16")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _lines(imported: Imported) -> list[str]:
    total = len(imported.matched) + len(imported.missing)
    names = f", named as in {imported.naming}" if imported.naming else ""
    lines = [f"matched: {len(imported.matched)} of {total} tensors{names}"]
    for title, group in (("left at random", imported.missing), ("not used", imported.unused)):
        if group:
            rest = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
            lines.append(f"{title}: {', '.join(group[:SHOWN])}{rest}")
    return lines
