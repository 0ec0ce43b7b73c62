"""The page of a chain: every network's figures side by side, and how the pseudo labels came out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cdengine import __version__
from cdengine.assess.charts import bars_svg
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.report import text_of

WORDS = {"score": "Score", "miou": "mIoU", "sek": "SeK", "fscd": "F_scd", "f1": "F1", "iou": "IoU", "kappa": "κ"}


def write_chain_report(
    figures: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, Any],
    config: Mapping[str, Any],
    measure: Mapping[str, Any],
) -> str:
    """The page as HTML.

    Args:
        figures: member's name → role and figures.
        labels: content of pseudo-labels.json.
        config: what the members have in common, as of the first.
        measure: on what they were measured: fields of `chaincheck.Measure`, and tta.
    """
    shown = [key for key in WORDS if any(key in row for row in figures.values())]
    rows = [
        [
            f'<a href="{text_of(name)}.html">{text_of(name)}</a>',
            text_of(row["role"]),
            *(f"{row[key]:.4f}" if key in row else "–" for key in shown),
        ]
        for name, row in figures.items()
    ]
    scores = [(name, row["role"], row["score"]) for name, row in figures.items()]
    classes = [[text_of(name), f"{100 * share:.1f} %"] for name, share in labels["class_share"].items()]
    how = {"data": config["data"]["root"], "layout": config["data"]["layout"], "seed": config["seed"]}
    how |= {"evaluation split": _split(measure), "test-time augmentation of the evaluation": measure["tta"]}
    body = "\n".join(
        [
            f"<p class=lead>{text_of(_lead(figures, labels))}</p>",
            section("Score", bars_svg("Score of every network", scores) + _notes(measure)),
            section("Figures", table(["Network", "Role", *(WORDS[key] for key in shown)], rows)),
            section(
                "Pseudo labels, of the unchanged pixels",
                table(("Class", "Share"), classes)
                + '<p>More in <a href="pseudo-labels/report.html">their own report</a>.</p>',
            ),
            section("How", table(("", ""), ([text_of(key), text_of(value)] for key, value in how.items()))),
        ]
    )
    footer = f"cdengine {__version__}, {time.strftime('%Y-%m-%d %H:%M')}"
    return PAGE.substitute(title="Self-distillation", footer=text_of(footer), body=body)


def _split(measure: Mapping[str, Any]) -> str:
    name = "the validation pairs" if measure["listed"] else measure["split"]
    return f"{name} ({measure['pairs']} {'pair' if measure['pairs'] == 1 else 'pairs'})"


def _notes(measure: Mapping[str, Any]) -> str:
    """On what the figures are, and whether they flatter."""
    notes = [f"Measured on {_split(measure)}, test-time augmentation {measure['tta']}."]
    if measure["chose"]:
        notes.append(
            f"{measure['chose']} of these pairs chose epoch and threshold of every network, so the figures are better "
            "than those of pairs that chose nothing: name a split of its own in chain.evaluation.split."
        )
    if measure["learnt"]:
        notes.append(f"{measure['learnt']} of these pairs were learnt from: their figures say nothing of new ground.")
    return f"<p>{text_of(' '.join(notes))}</p>"


def _lead(figures: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Any]) -> str:
    best = {role: max((row["score"], name) for name, row in figures.items() if row["role"] == role)
            for role in {row["role"] for row in figures.values()}}  # fmt: skip
    told = "; ".join(
        f"best {role}: {name}, Score {score:.4f}" for role, (score, name) in sorted(best.items(), key=lambda i: i[0])
    )
    share = labels["labelled_share_of_unchanged"]
    return f"{told}. {100 * share:.1f} % of the unchanged pixels got a class by the teachers' vote."
