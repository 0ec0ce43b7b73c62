"""The page of a finished run: how the figures grew, what came out, and what the network makes of validation pairs."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path

from cdengine import __version__
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.report import text_of
from cdengine.models.card import ModelCard
from cdengine.raster.whole import write_whole
from cdengine.training.config import TrainConfig, dump_config
from cdengine.training.curves import curves_svg
from cdengine.training.runfolder import Row

SHARES = ("f1", "precision", "recall", "ap")
SEMANTIC = ("miou", "sek", "fscd", "score")


def write_report(
    path: Path, config: TrainConfig, rows: Sequence[Row], card: ModelCard, samples: Sequence[Path]
) -> None:
    """Writes the page; it needs nothing else.

    Args:
        path: HTML file.
        config: of the run.
        rows: figures of each epoch; at least one.
        card: of the best model.
        samples: pictures of the epochs, in order.
    """
    best = max(rows, key=lambda row: row[config.trainer.monitor])
    sections = [
        _summary(config, rows, best, card),
        section("How training went", _charts(rows)),
        section("Validation pairs", _pictures(samples, int(best["epoch"]), bool(card.classes))),
        section("All epochs", _table(rows)),
        f"<details><summary>Configuration</summary><pre>{_lines(dump_config(config, 'config.yaml'))}</pre></details>",
    ]
    title = text_of(f"Training of {config.name}")
    footer = f"cdengine {__version__} · {time.strftime('%Y-%m-%d %H:%M')}"
    page = PAGE.substitute(title=title, footer=text_of(footer), body="\n".join(sections))
    write_whole(path, page.encode())


def _lines(text: str) -> str:
    """Several lines as HTML text."""
    return "\n".join(text_of(line) for line in text.splitlines())


def _summary(config: TrainConfig, rows: Sequence[Row], best: Row, card: ModelCard) -> str:
    training = card.training
    lead = (
        f"<strong>F1 {best['f1']:.3f}</strong> and IoU {best['iou']:.3f} on {training.get('validation_pairs', '?')} "
        f"validation pairs, at the threshold {card.threshold:.3g} that is best on them. Figures on pairs that chose "
        "nothing come from <code>cdengine evaluate</code> on a test split."
    )
    facts = [
        ("Network", card.architecture),
        ("Best epoch", f"{best['epoch']:.0f} of {len(rows)}"),
        ("Average precision", f"{best['ap']:.3f}"),
        ("Precision, recall", f"{best['precision']:.3f}, {best['recall']:.3f}"),
        ("Training pairs", str(training.get("train_pairs", "?"))),
        ("Changed", f"{training.get('changed_percent', '?')} %"),
        ("Seed", str(config.seed)),
        ("Time", _duration(sum(row["seconds"] for row in rows))),
    ]
    if "sek" in best:
        facts.insert(3, ("SeK, Score", f"{best['sek']:.3f}, {best['score']:.3f}"))
    tiles = "".join(
        f"<div class=fact><span>{text_of(name)}</span><b>{text_of(value)}</b></div>" for name, value in facts
    )
    return f"<p class=lead>{lead}</p><div class=facts>{tiles}</div>"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _charts(rows: Sequence[Row]) -> str:
    def line(name: str) -> list[tuple[float, float]]:
        return [(row["epoch"], row[name]) for row in rows if name in row]

    losses = {"training": line("train_loss"), "validation": line("loss")}
    charts = [
        "<p>Loss: falling and close together is good; validation that rises while training falls means that the "
        "network learns the training pairs by heart.</p>",
        curves_svg(losses, "Loss by epoch"),
        "<p>Agreement with the labels of the validation pairs, at each epoch's best threshold.</p>",
        curves_svg({name: line(name) for name in SHARES}, "Validation figures by epoch", (0, 1)),
    ]
    if line("sek"):
        charts.append(curves_svg({name: line(name) for name in SEMANTIC}, "Semantic figures by epoch", (0, 1)))
    return "".join(charts)


def _pictures(samples: Sequence[Path], best: int, semantic: bool) -> str:
    """First, best and last epoch."""
    chosen = {
        file.name: file
        for file in (*samples[:1], *[s for s in samples if s.stem.endswith(f"_{best:03d}")], *samples[-1:])
    }
    figures = []
    classes = " Classes are shown where something changed, in the data set's colours." if semantic else ""
    for file in chosen.values():
        encoded = base64.b64encode(file.read_bytes()).decode("ascii")
        number = int(file.stem.rpartition("_")[2])
        caption = f"Epoch {number}" + (" (the best)" if number == best else "")
        figures.append(
            f'<figure><img src="data:image/png;base64,{encoded}" alt="{caption}"><figcaption>{caption}: green found, '
            f"blue missed, red false alarm.{classes}</figcaption></figure>"
        )
    return "".join(figures)


def _table(rows: Sequence[Row]) -> str:
    names = [name for name in rows[-1] if name != "step"]
    cells = ([f"{row[name]:.4g}" if name in row else "" for name in names] for row in rows)
    return table(map(text_of, names), cells)
