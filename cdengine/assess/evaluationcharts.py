"""Charts of an evaluation as inline SVG: precision against recall, and the reliability of probabilities."""

from __future__ import annotations

import math

from cdengine.assess.curves import CALIBRATION_BINS, Curves

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 340, 52, 44, 14, 14
LINE, POINT = "#0072b2", "#d55e00"  # blue and vermilion: told apart with every kind of colour vision


def precision_recall_svg(curves: Curves, threshold: float | None) -> str:
    """Precision over recall for falling thresholds, with a point where the evaluation's threshold lies."""
    _, precision, recall = curves.precision_recall(401)
    kept = [(float(r), float(p)) for r, p in zip(recall, precision, strict=True) if r > 0]
    parts = [*_frame("Precision (up) against recall (right)"), _line(kept, LINE)]
    if threshold is not None:
        at = curves.at(threshold)
        parts.append(_dot(at.recall, at.precision, 5))
        x, y = _place(at.recall, at.precision)
        side, anchor = (9, "start") if at.recall < 0.6 else (-9, "end")
        parts.append(
            f'<text x="{x + side:.1f}" y="{y - 8:.1f}" text-anchor="{anchor}">threshold {threshold:.3g}</text>'
        )
    return "".join([*parts, "</svg>"])


def calibration_svg(curves: Curves) -> str:
    """Share that changed over the mean probability of each bin; dots grow with the logarithm of the pixels."""
    curve = curves.calibration()
    parts = _frame("Share that changed (up), by probability (right)")
    parts.append(_line([(0, 0), (1, 1)], "currentColor", dashed=True))
    shown = [i for i in range(CALIBRATION_BINS) if curve.pixels[i]]
    parts.append(_line([(float(curve.predicted[i]), float(curve.observed[i])) for i in shown], LINE))
    for i in shown:
        parts.append(_dot(float(curve.predicted[i]), float(curve.observed[i]), 1.5 + 0.7 * math.log10(curve.pixels[i])))
    return "".join([*parts, "</svg>"])


def _place(x: float, y: float) -> tuple[float, float]:
    return LEFT + (WIDTH - LEFT - RIGHT) * x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - y)


def _frame(title: str) -> list[str]:
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" class="chart">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        (x, y), (left, bottom), (right, top) = _place(share, share), _place(0, 0), _place(1, 1)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 26}" text-anchor="middle">{share:g}</text>')
    return [*parts, f'<text x="{LEFT}" y="{HEIGHT - 6}">{title}</text>']


def _line(points: list[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    dash = ' stroke-dasharray="4 4" opacity="0.5"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _dot(x: float, y: float, radius: float) -> str:
    left, top = _place(x, y)
    return f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}" fill="{POINT}"/>'
