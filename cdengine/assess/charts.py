"""Charts as inline SVG: no script, no fonts, readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from cdengine.assess.colours import css, probability_colours
from cdengine.assess.reportdata import Histogram

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 232, 56, 46, 16
ROW, LABEL, FIGURE = 26, 200, 64  # of lying bars: height, and room left for the name and right for the figure
GROUPS = ("#2b6cb0", "#c0792b", "#7a8797", "#6b4fa0")


def histogram_svg(histogram: Histogram) -> str:
    """Bars of pixels by probability on a logarithmic scale, coloured like the map, with the threshold as a line.

    The scale is logarithmic because unchanged pixels outnumber changed ones by orders of magnitude.
    """
    counts = histogram.counts
    top = max(1, math.ceil(math.log10(max(counts) + 1)))
    plot_w, plot_h = WIDTH - LEFT - 12, HEIGHT - BOTTOM - TOP
    bar = plot_w / len(counts)

    def y_of(count: float) -> float:
        return TOP + plot_h * (1 - math.log10(count + 1) / top)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Histogram of change probability" class="chart">'
    ]
    for power in range(top + 1):
        y = TOP + plot_h * (1 - power / top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for i, count in enumerate(counts):
        if count:
            y = y_of(count)
            red, green, blue = (int(v) for v in probability_colours([(i + 0.5) / len(counts)])[0])
            parts.append(
                f'<rect x="{LEFT + i * bar + 0.5:.2f}" y="{y:.1f}" width="{max(0.5, bar - 1):.2f}" '
                f'height="{TOP + plot_h - y:.1f}" fill="{css((red, green, blue))}" class="bar"/>'
            )
    x = LEFT + plot_w * min(1.0, max(0.0, histogram.threshold))
    side, anchor = (6, "start") if histogram.threshold < 0.75 else (-6, "end")
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{TOP + plot_h}" class="mark"/>')
    parts.append(
        f'<text x="{x + side:.1f}" y="{TOP}" text-anchor="{anchor}">threshold {histogram.threshold:.3g}</text>'
    )
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = LEFT + plot_w * share
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 28}" text-anchor="middle">{share:g}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">probability of change; pixels on a logarithmic scale</text></svg>')
    return "".join(parts)


def bars_svg(title: str, rows: Sequence[tuple[str, str, float]]) -> str:
    """Lying bars that are compared with each other, a colour for each group, 0 at the left.

    Args:
        title: what a reader of the screen is told.
        rows: name, group and figure; a figure below 0 has no bar.
    """
    groups = list(dict.fromkeys(group for _, group, _ in rows))
    top = max(max((figure for *_, figure in rows), default=0.0), 1e-9)
    height = ROW * len(rows) + ROW
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" class="chart">']
    for number, (name, group, figure) in enumerate(rows):
        y, width = ROW * number, (WIDTH - LABEL - FIGURE) * max(0.0, figure) / top
        shown = name if len(name) <= 28 else name[:27] + "…"
        parts.append(f'<text x="{LABEL - 8}" y="{y + 17}" text-anchor="end">{escape(shown)}</text>')
        parts.append(
            f'<rect x="{LABEL}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}" '
            f'fill="{GROUPS[groups.index(group) % len(GROUPS)]}" class="bar"/>'
        )
        parts.append(f'<text x="{LABEL + width + 6:.1f}" y="{y + 17}">{figure:.4f}</text>')
    x = LABEL
    for number, group in enumerate(groups):
        y = height - ROW + 8
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{GROUPS[number % len(GROUPS)]}"/>')
        parts.append(f'<text x="{x + 15}" y="{y + 10}">{escape(group)}</text>')
        x += 30 + 7 * len(group)
    return "".join(parts) + "</svg>"
