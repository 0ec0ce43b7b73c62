"""The report of a detection: one HTML file that needs nothing else, in everyday words."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from PIL import Image

from cdengine.assess.charts import histogram_svg
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.reportdata import (
    ChangedPlace,
    Histogram,
    Input,
    ReportData,
    Transitions,
)
from cdengine.raster.paths import redact
from cdengine.vector.area import area_text

__all__ = ["ChangedPlace", "Histogram", "Input", "ReportData", "Transitions", "write_report"]
MOST_TRANSITIONS = 30  # listed one by one; what is smaller is added up
LARGEST_PICTURE = 900_000  # bytes; larger pictures are compressed anew for the page
SECRET_WORDS = ("token", "password", "passwd", "secret", "credential", "api_key", "apikey")


def write_report(path: str | Path, data: ReportData) -> None:
    """Writes the page.

    Every text from outside (file names, class names, parameters) is escaped, and addresses are shown without user
    names, passwords and query strings.

    Args:
        path: HTML file to write.
        data: what to say.
    """
    sections = [
        _summary(data),
        _notes(data.notes),
        *(_picture(caption, file) for caption, file in data.pictures),
        _histogram(data),
        _places(data),
        _transitions(data.transitions),
        _inputs(data),
        _pairs("Files", data.outputs),
        _pairs("Parameters", data.parameters),
        _defence(data),
    ]
    body = "\n".join(section for section in sections if section)
    footer = " · ".join(text for text in (f"cdengine {data.version}".strip(), data.created) if text)
    page = PAGE.substitute(title=text_of(data.title), footer=text_of(footer), body=body)
    Path(path).write_text(page, encoding="utf-8")


def text_of(value: object) -> str:
    """A value as HTML text: secrets of addresses left out, markup and control characters made harmless."""
    plain = redact(str(value))
    return escape("".join(letter if letter.isprintable() else "�" for letter in plain), quote=True)


def _share(part: float, whole: float) -> str:
    if whole <= 0 or part == 0:
        return "0 %"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def _summary(data: ReportData) -> str:
    share = _share(data.changed_px, data.compared_px)
    if data.compared_px == 0:
        lead = "Nothing could be compared: the two dates have no common pixels with data."
    elif data.changed_m2 is not None and data.compared_m2 is not None:
        lead = (
            f"<strong>{area_text(data.changed_m2)}</strong> of {area_text(data.compared_m2)} compared "
            f"changed, which is <strong>{share}</strong>."
        )
    else:
        lead = (
            f"<strong>{data.changed_px:,} pixels</strong> of {data.compared_px:,} compared changed, which is "
            f"<strong>{share}</strong>. The images have no coordinate system, so there are no areas in m²."
        )
    facts: list[tuple[str, str]] = [("Changed", share)]
    if data.changed_m2 is not None:
        facts.insert(0, ("Changed area", area_text(data.changed_m2)))
    if data.polygons is not None:
        facts.append(("Changed places", f"{data.polygons:,}"))
    facts += [("Model", text_of(data.model)), ("Threshold", f"{data.threshold:.3g}")]
    if data.device:
        facts.append(("Computed on", text_of(data.device)))
    if data.seconds is not None:
        facts.append(("Time", _duration(data.seconds)))
    tiles = "".join(f"<div class=fact><span>{escape(name)}</span><b>{value}</b></div>" for name, value in facts)
    return f"<p class=lead>{lead}</p><div class=facts>{tiles}</div>"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _notes(notes: Iterable[str]) -> str:
    lines = "".join(f"<li>{text_of(note)}</li>" for note in notes)
    return f"<section class=notes><h2>Please note</h2><ul>{lines}</ul></section>" if lines else ""


def _picture(caption: str, file: Path) -> str:
    return (
        f'<figure><img src="{_inlined(file)}" alt="{text_of(caption)}">'
        f"<figcaption>{text_of(caption)}</figcaption></figure>"
    )


def _inlined(file: Path) -> str:
    content = file.read_bytes()
    kind = "jpeg" if content[:2] == b"\xff\xd8" else "png"
    if len(content) > LARGEST_PICTURE:
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(content)) as image:
            image.convert("RGB").save(buffer, "JPEG", quality=87, optimize=True, subsampling=0)
        content, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _histogram(data: ReportData) -> str:
    if data.histogram is None or not any(data.histogram.counts):
        return ""
    text = (
        "<p>How many pixels got which probability of change. Those at or above the threshold (the line) count as "
        "changed. A clear gap at the line means a clear decision; a slope without a gap means that another threshold "
        "would give another area.</p>"
    )
    return section("How sure is it?", text + histogram_svg(data.histogram))


def _places(data: ReportData) -> str:
    if not data.places:
        return ""
    kinds = any(place.change for place in data.places)
    head = ["#", "Area", "Probability", "Longitude, latitude", *(["Change"] if kinds else [])]
    rows = []
    for number, place in enumerate(data.places, 1):
        area = area_text(place.area_m2) if place.area_m2 is not None else f"{place.area_px:,.0f} pixels"
        where = f"{place.lonlat[0]:.6f}, {place.lonlat[1]:.6f}" if place.lonlat else "–"
        row = [str(number), area, f"{place.probability:.2f}", where]
        rows.append([*row, text_of(place.change)] if kinds else row)
    many = data.polygons if data.polygons is not None else len(data.places)
    title = "All changed places" if many <= len(rows) else f"The {len(rows)} largest of {many:,} changed places"
    return section(title, table(head, rows))


def _transitions(found: Transitions | None) -> str:
    if found is None:
        return ""
    if not any(map(any, found.areas)):
        return section("What became what", "<p>Nothing changed.</p>")
    unit = "" if found.unit == "m²" else f" ({text_of(found.unit)})"
    return section(f"What became what{unit}", _ranking(found) + _matrix(found))


def _ranking(found: Transitions) -> str:
    """One transition a row, largest first, with its share of all that changed."""
    names, kinds = [text_of(name) for name in found.classes], range(len(found.classes))
    ranked = sorted(
        ((found.areas[i][j], i, j) for i in kinds for j in kinds if found.areas[i][j]),
        key=lambda item: (-item[0], item[1:]),
    )
    total = sum(area for area, _, _ in ranked)
    shown, rest = ranked[:MOST_TRANSITIONS], ranked[MOST_TRANSITIONS:]
    rows = [[names[i], names[j], _amount(area, found.unit), _share(area, total)] for area, i, j in shown]
    if rest:
        other = sum(area for area, _, _ in rest)
        rows.append([f"{len(rest)} smaller ones", "", _amount(other, found.unit), _share(other, total)])
    rows.append(["<b>sum</b>", "", _amount(total, found.unit), "100 %"])
    return table(("From", "To", "Area", "Share of the change"), rows)


def _matrix(found: Transitions) -> str:
    used = [i for i in range(len(found.classes)) if any(found.areas[i]) or any(row[i] for row in found.areas)]
    head = ["from \\ to", *(text_of(found.classes[i]) for i in used), "sum"]

    def cell(area: float) -> str:
        return _amount(area, found.unit) if area else "–"

    rows = [
        [f"<b>{text_of(found.classes[i])}</b>", *(cell(found.areas[i][j]) for j in used), cell(sum(found.areas[i]))]
        for i in used
    ]
    sums = [sum(row[j] for row in found.areas) for j in used]
    rows.append(["<b>sum</b>", *(cell(area) for area in sums), cell(sum(sums))])
    return table(head, rows)


def _amount(area: float, unit: str) -> str:
    return area_text(area) if unit == "m²" else f"{area:,.0f}"


def _inputs(data: ReportData) -> str:
    head = ["", "Image", "Coordinate system", "Pixel size", "Columns × rows", "Bands"]
    rows = [
        [text_of(i.role), f"<code>{text_of(i.uri)}</code>", text_of(i.crs or "none"), text_of(i.pixel_size),
         f"{i.size[0]:,} × {i.size[1]:,}", text_of(i.bands)]
        for i in data.inputs
    ]  # fmt: skip
    valid = f"{_share(data.compared_px, data.total_px)} of the first image's pixels have data on both dates"
    lines = [f"<li>{valid}.</li>"]
    if data.alignment:
        lines.insert(0, f"<li>Alignment: {text_of(data.alignment)}</li>")
    return section("What was compared", table(head, rows) + f"<ul>{''.join(lines)}</ul>")


def _pairs(title: str, pairs: Mapping[str, object]) -> str:
    if not pairs:
        return ""
    rows = [[text_of(name), f"<code>{text_of(_discreet(name, value))}</code>"] for name, value in pairs.items()]
    return f"<details open><summary>{escape(title)}</summary>{table(('Name', 'Value'), rows)}</details>"


def _discreet(name: str, value: object) -> object:
    return "(not shown)" if any(word in name.casefold() for word in SECRET_WORDS) else value


def _defence(data: ReportData) -> str:
    text = (
        "<p>The areas above are <em>counted pixels</em>. A map errs: it misses some changes and reports some that are "
        "none, and these two errors rarely cancel out. Treat the figure as a first estimate, and before it goes into a "
        "decision:</p><ol>"
        "<li>look at the largest places above and at some places without change, on both images;</li>"
        "<li>draw a random sample in the changed and in the unchanged area, judge each point by eye, and compute the "
        "area with its confidence interval from that sample (a stratified estimate, see Olofsson et al. 2014, "
        "<cite>Good practices for estimating area and assessing accuracy of land change</cite>);</li>"
        "<li>say which threshold and smallest area were used: both move the figure.</li></ol>"
    )
    return section("How far do these areas hold?", text)
