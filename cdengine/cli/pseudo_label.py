"""`pseudo-label`: an ensemble of semantic models gives classes to what did not change."""

from __future__ import annotations

import argparse

from cdengine.cli.automatic import auto_or
from cdengine.cli.result import Result
from cdengine.events import Reporter

LAYOUTS = ("second", "senseearth", "index", "pairs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    add = parser.add_argument
    add("--data", required=True, metavar="DIR", help="folder of the data set, or its index file")
    add("--layout", default="second", choices=LAYOUTS, help="how it lies there")
    add("--split", default="train", metavar="S", help="whose pairs get labels: split folder, list file, or all")
    add("--model", nargs="+", required=True, metavar="M", help="model files; each has one vote")
    add("--output", required=True, metavar="DIR", help="folder to make; a recipe takes it as data.pseudo_labels")
    add("--tta", default="six", choices=("none", "flip", "six", "d4"), help="test-time augmentation of each member")
    add(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="probability that a class must have at both dates, or the member abstains",
    )
    add(
        "--label-shift",
        action="store_true",
        help="estimate how common each class is on unchanged ground, unlike among the labels, and vote accordingly",
    )
    add("--classes", nargs="+", default=(), metavar="NAME", help="names, where neither layout nor data set tells them")
    add(
        "--label-coding",
        metavar="CODING",
        help="of change labels: 0/1, 0/255, soft, or unchanged=1,changed=2,ignored=0 (default: found out)",
    )
    add("--bands-before", metavar="BANDS", help="bands of the first date by number or name, e.g. 4,3,2 (default: all)")
    add("--bands-after", metavar="BANDS", help="bands of the second date")
    add("--tile", type=int, metavar="N", help="pixels of a tile's side (default: the model's own)")
    add(
        "--batch-size",
        type=auto_or(int, "--batch-size"),
        default="auto",
        metavar="N",
        help="tiles at a time; auto adapts to memory",
    )
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="of the networks' arithmetic")
    add("--workers", type=int, metavar="N", help="reading threads (default: one per core, at most 4)")
    add("--resume", action="store_true", help="go on with an interrupted run: finished pairs stay as they are")
    add("--overwrite", action="store_true", help="replace the folder of an earlier run")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    from dataclasses import fields

    with reporter.stage("starting", 1, "step"):  # torch and timm take seconds to load
        from cdengine.inference.pseudolabel import PseudoLabelOptions, pseudo_label

    given = {option.name: getattr(args, option.name) for option in fields(PseudoLabelOptions)}
    given |= {name: tuple(given[name]) for name in ("model", "classes")}
    done = pseudo_label(PseudoLabelOptions(**given), reporter)
    totals = done.totals
    agreed = f", members agree on {100 * totals.agreement:.1f} %" if len(totals.members) > 1 else ""
    lines = [
        f"{totals.pairs} pairs: {100 * totals.pseudo_share:.1f} % of the unchanged pixels labelled{agreed}; "
        f"{100 * totals.labelled_share:.1f} % of all pixels have a class now"
    ]
    lines += [f"{name.replace('_', ' ') + ':':<15}{path}" for name, path in done.outputs.items()]
    return Result(outputs=done.outputs, stats=dict(done.stats), text="\n".join(lines))
