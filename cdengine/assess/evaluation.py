"""The page of an evaluation: one HTML file with figures, curves and pictures of what was right and wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdengine.assess.colours import Rgb, css
from cdengine.assess.curves import Curves
from cdengine.assess.errorpictures import CLASS_LEGEND, LEGEND
from cdengine.assess.evaluationcharts import calibration_svg, precision_recall_svg
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.report import text_of

MOST_ROWS = 300  # of the table of images
WORDS = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "iou": "IoU",
    "oa": "OA",
    "kappa": "κ",
    "ap": "AP",
    "ece": "ECE",
    "object_f1": "Object F1",
    "boundary_f1": "Boundary F1",
    "miou": "mIoU",
    "sek": "SeK",
    "fscd": "F_scd",
    "score": "Score",
}


@dataclass(frozen=True)
class EvaluationPage:
    """What the page says.

    Attributes:
        title: headline.
        lead: one sentence in everyday words.
        rows: name → figures: every run, then their mean and spread where there are several.
        images: figures of every image of the first run.
        pictures: captions and JPEGs.
        classes: names and colours of a semantic set.
        transitions: name ("labelled", "predicted", "right") → pixels by class before (rows) and after.
        curves: of the probabilities; None where there are none.
        threshold: of the first run; None where it differs from pair to pair.
        protocol: how it was measured, name → value.
        notes: what the reader should know of.
        footer: version and time.
    """

    title: str
    lead: str
    rows: Mapping[str, Mapping[str, float]]
    images: Sequence[Mapping[str, object]]
    pictures: Sequence[tuple[str, bytes]]
    classes: Sequence[tuple[str, Rgb]]
    transitions: Mapping[str, Sequence[Sequence[int]]]
    curves: Curves | None
    threshold: float | None
    protocol: Mapping[str, object]
    notes: Sequence[str]
    footer: str


def write_evaluation(path: Path, page: EvaluationPage) -> None:
    """Writes the page; every text from outside is escaped.

    Args:
        path: HTML file to write.
        page: what to say.
    """
    sections = [
        f"<p class=lead>{text_of(page.lead)}</p>",
        _figures(page.rows),
        _notes(page.notes),
        _pictures(page),
        _curves(page),
        _transitions(page),
        _images(page.images),
        section("How it was measured", table(("", ""), ([text_of(k), _said(v)] for k, v in page.protocol.items()))),
    ]
    body = "\n".join(section for section in sections if section)
    path.write_text(PAGE.substitute(title=text_of(page.title), footer=text_of(page.footer), body=body), "utf-8")


def _said(value: object) -> str:
    return text_of(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value)


def _figures(rows: Mapping[str, Mapping[str, float]]) -> str:
    shown = [name for name in WORDS if any(name in row for row in rows.values())]
    head = ["", *(WORDS[name] for name in shown)]
    lines = [[f"<b>{text_of(run)}</b>", *(_number(row.get(name)) for name in shown)] for run, row in rows.items()]
    return section("Figures", table(head, lines)) if shown else ""


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"


def _notes(notes: Sequence[str]) -> str:
    lines = "".join(f"<li>{text_of(note)}</li>" for note in notes)
    return f"<section class=notes><h2>Please note</h2><ul>{lines}</ul></section>" if lines else ""


def _swatches(entries: Iterable[tuple[str, Rgb]]) -> str:
    return " ".join(
        f'<span style="white-space:nowrap;margin-right:1rem"><span style="display:inline-block;width:.9em;height:.9em;'
        f'border:1px solid var(--soft);vertical-align:-.1em;background:{css(colour)}"></span> {text_of(name)}</span>'
        for name, colour in entries
    )


def _pictures(page: EvaluationPage) -> str:
    if not page.pictures:
        return ""
    columns = "Each row: before, after, and what was found on the darkened second date."
    if page.classes:
        columns = (
            "Above the first date, below the second: image, labels, prediction (classes of changed ground), and what "
            "was found: change above, change with its classes below."
        )
    figures = "".join(
        f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(content).decode("ascii")}" '
        f'alt="{text_of(caption)}"><figcaption>{text_of(caption)}</figcaption></figure>'
        for caption, content in page.pictures
    )
    legend = f"<p>{_swatches(CLASS_LEGEND if page.classes else LEGEND)}</p>"
    legend += f"<p>{_swatches(page.classes)}</p>" if page.classes else ""
    return section("Right and wrong", f"<p>{columns}</p>{legend}{figures}")


def _curves(page: EvaluationPage) -> str:
    if page.curves is None:
        return ""
    charts = precision_recall_svg(page.curves, page.threshold), calibration_svg(page.curves)
    cells = "".join(f'<div style="flex:1 1 20rem">{chart}</div>' for chart in charts)
    text = (
        "<p>Left: what other thresholds would give. Right: whether a probability of 0.7 is right in 70 % of the cases; "
        "below the dashed line the model is too sure of change.</p>"
    )
    return section("Probabilities", f'{text}<div style="display:flex;flex-wrap:wrap;gap:1rem">{cells}</div>')


def _transitions(page: EvaluationPage) -> str:
    if not page.transitions:
        return ""
    names = [name for name, _ in page.classes]
    tables = {kind: page.transitions[kind] for kind in ("labelled", "predicted", "right")}
    used = [i for i in range(len(names)) if any(any(t[i]) or any(row[i] for row in t) for t in tables.values())]

    def cell(i: int, j: int) -> str:
        there, found, right = (tables[kind][i][j] for kind in ("labelled", "predicted", "right"))
        return f"{there:,} / {found:,} / {right:,}" if there or found else "–"

    rows = [[f"<b>{text_of(names[i])}</b>", *(cell(i, j) for j in used)] for i in used]
    text = "<p>Pixels labelled / predicted / right at both dates, from the class of the row to that of the column.</p>"
    return section("What became what", text + table(["from \\ to", *(text_of(names[i]) for i in used)], rows))


def _images(images: Sequence[Mapping[str, object]]) -> str:
    if not images:
        return ""
    shown = [name for name in WORDS if name in images[0]]
    rows = [[text_of(row["name"]), *(_number(row.get(name)) for name in shown)] for row in images[:MOST_ROWS]]
    rest = f"<p>{len(images) - MOST_ROWS:,} more are in the CSV or JSON file.</p>" if len(images) > MOST_ROWS else ""
    listed = table(["Image", *(WORDS[name] for name in shown)], rows)
    return f"<details><summary>Every image</summary>{listed}{rest}</details>"
