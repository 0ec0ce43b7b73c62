"""Figures over epochs as inline SVG, in the manner of the other charts of the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#2b6cb0", "#c0392b", "#2e8c57", "#9a6b00")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 230, 56, 110, 12, 34
Line = Sequence[tuple[float, float]]


def curves_svg(lines: Mapping[str, Line], label: str, bounds: tuple[float, float] | None = None) -> str:
    """Lines over epochs.

    Args:
        lines: name → points (epoch, value); at least one point in all.
        label: what the chart shows, for those who do not see it.
        bounds: of the values; None: those that occur.
    """
    points = [point for line in lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = bounds or (min(y for _, y in points), max(y for _, y in points))
    high = high if high > low else low + 1
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        along = (x - first) / (last - first) if last > first else 0.5
        return LEFT + width * along, TOP + height * (1 - (min(high, max(low, y)) - low) / (high - low))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label, quote=True)}" class="chart">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = low + share * (high - low)
        _, y = place(first, value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for x in sorted({first, round((first + last) / 2), last}):
        at, _ = place(x, low)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{x:.0f}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 2}">epoch</text>')
    for number, (name, line) in enumerate(lines.items()):
        parts += _line(name, [place(x, y) for x, y in line], COLOURS[number % len(COLOURS)], number)
    return "".join([*parts, "</svg>"])


def _line(name: str, points: list[tuple[float, float]], colour: str, number: int) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    y = TOP + 12 + 18 * number
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if len(points) == 1:
        drawn = f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3.5" fill="{colour}"/>'
    key = f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 8}" width="12" height="4" fill="{colour}"/>'
    return [drawn, key, f'<text x="{WIDTH - RIGHT + 30}" y="{y}">{escape(name)}</text>']
