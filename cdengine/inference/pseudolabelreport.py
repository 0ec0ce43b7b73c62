"""What a run of `pseudo-label` tells: how much was labelled, how far the members agree, and pictures."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.assess.colours import Rgb, css
from cdengine.assess.errorpictures import class_map, panel_size, resampled, sheet
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.preview import Frame, grid_of, read_pair, stretched
from cdengine.assess.report import text_of
from cdengine.data.images import read_stored
from cdengine.data.layouts import PairFiles
from cdengine.errors import OutputError
from cdengine.events import Reporter
from cdengine.inference.evaluatefiles import DATES
from cdengine.inference.labelshift import ClassShift
from cdengine.inference.pseudolabelrows import Totals
from cdengine.raster.paths import parse
from cdengine.raster.quiet import opened
from cdengine.raster.source import gdal_env

Array = np.ndarray[Any, np.dtype[Any]]
SHOWN = 6  # pairs in the picture, spread over the split
UNKNOWN = 255  # code of no data


def draw_pictures(
    pairs: Sequence[PairFiles],
    label: Callable[[str, str], Path | None],
    given: Callable[[PairFiles], Sequence[Array]],
    colours: Sequence[Rgb],
    reporter: Reporter,
) -> bytes:
    """A sheet of some pairs as JPEG, two rows a pair, one a date: image, labels as given, labels with the votes.

    Args:
        pairs: of the run.
        label: of a date's folder and a pair's name: the label image that was made.
        given: labels of both dates as they were, as codes.
        colours: of the classes.
        reporter: for progress.
    """
    chosen = [pairs[at * len(pairs) // min(SHOWN, len(pairs))] for at in range(min(SHOWN, len(pairs)))]
    rows: list[list[Array]] = []
    size = None
    for pair in reporter.each(chosen, "pictures", len(chosen), "pictures"):
        with gdal_env():
            with opened(parse(str(pair.before), "BEFORE").gdal) as dataset:
                grid = grid_of(dataset)
            size = size or panel_size(grid.height, grid.width)
            frame = Frame(grid, grid.window, *size)
            before, after, _ = stretched(*read_pair(str(pair.before), str(pair.after), frame))
        for image, date, real in zip((before, after), DATES, given(pair), strict=True):
            path = label(date, pair.name)
            if path is None:
                raise OutputError(f"{date}/{pair.name}: the label is gone; go on with --resume, which makes it again")
            stored = read_stored(path)
            voted = np.where(stored.valid, stored.values[0], UNKNOWN).astype(np.uint8)
            shown = (np.where(stored.valid, real, UNKNOWN).astype(np.uint8), voted)
            rows.append([image, *(resampled(class_map(codes, colours), size) for codes in shown)])
    return sheet(rows)


def report_page(
    picture: bytes, totals: Totals, facts: Mapping[str, Any], shifts: Sequence[ClassShift], colours: Sequence[Rgb]
) -> str:
    """One HTML page with the figures and the picture."""
    figures = totals.figures()
    lead = (
        f"{totals.pairs} pairs: {100 * totals.pseudo_share:.1f} % of the unchanged pixels got a class by the vote of "
        f"{len(totals.members)} model{'s' if len(totals.members) > 1 else ''}; with the real labels "
        f"{100 * totals.labelled_share:.1f} % of all pixels have one."
    )
    classes = [
        [_key(name, tint), _percent(share)]
        for (name, share), tint in zip(figures["class_share"].items(), colours, strict=True)
    ]
    members = [
        [text_of(member["name"]), _percent(member["abstained_share"]), _percent(member["followed_share"])]
        for member in figures["members"]
    ]
    encoded = base64.b64encode(picture).decode()
    shown = (
        f'<figure><img src="data:image/jpeg;base64,{encoded}" alt="images and labels of some pairs"><figcaption>'
        "Two rows a pair, before and after: the image, its labels as they were given, its labels with the votes. Pale: "
        "no class; hatched: no data.</figcaption></figure>"
    )
    agreed = (
        f"<p>Two members say the same on {_percent(totals.agreement)} of the unchanged pixels, where to abstain both "
        "counts as the same.</p>"
        if len(totals.members) > 1
        else ""
    )
    told = {key: value for key, value in facts.items() if key not in ("models", "inputs") and value is not None}
    told["classes"] = ", ".join(facts["classes"])
    body = "\n".join(
        [
            f"<p class=lead>{text_of(lead)}</p>",
            _contradictions(totals),
            section("Labelled by the vote, of the unchanged pixels", table(("Class", "Share"), classes)),
            section("Members", table(("Model", "Abstained", "Followed by the vote"), members) + agreed),
            section("How common the classes are", _shares(shifts, colours)),
            section("Some pairs", shown),
            section("How", table(("", ""), ([text_of(key), text_of(value)] for key, value in told.items()))),
        ]
    )
    footer = f"cdengine {__version__}, {time.strftime('%Y-%m-%d %H:%M')}"
    return PAGE.substitute(title="Pseudo labels", footer=text_of(footer), body=body)


def _shares(shifts: Sequence[ClassShift], colours: Sequence[Rgb]) -> str:
    if not shifts:
        return ""
    rows = [
        [
            _key(name, tint),
            _percent(shifts[0].labelled[name]),
            *(f"{_percent(shift.unchanged[name])}, × {shift.weights[name]:.2f}" for shift in shifts),
        ]
        for name, tint in zip(shifts[0].labelled, colours, strict=True)
    ]
    head = ("Class", "Among real labels", *(f"Unchanged ground, by {text_of(shift.model)}" for shift in shifts))
    return table(head, rows) + (
        "<p>Estimated from what each model says where labels are and where none are. Its probabilities were multiplied "
        "by the factors before it voted.</p>"
    )


def _key(name: str, tint: Rgb) -> str:
    return f'<span style="color:{css(tint)}">■</span> {text_of(name)}'


def _contradictions(totals: Totals) -> str:
    if not totals.contradicting:
        return ""
    return (
        f"<p>{totals.contradicting:,} pixels have a real label at one date only, which contradicts itself (no label: "
        "unchanged). They keep what they have, and nobody votes on them.</p>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
