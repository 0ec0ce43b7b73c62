"""The report: what it says in words, that it stands alone, and that nothing from outside gets into its markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cdengine.assess.report import (
    ChangedPlace,
    Histogram,
    Input,
    ReportData,
    Transitions,
    area_text,
    write_report,
)

EVIL = "<script>alert(1)</script>.tif"


def data(**of):
    plain = ReportData(
        title="Changes between t1.tif and t2.tif",
        inputs=(
            Input("Before", "t1.tif", "EPSG:32632", "0.50 × 0.50 m", (1024, 1024), "red, green, blue"),
            Input("After", "t2.tif", "EPSG:32632", "0.50 × 0.50 m", (1030, 1020), "1, 2, 3"),
        ),
        model="irmad",
        changed_px=40_000,
        compared_px=1_000_000,
        total_px=1_048_576,
        changed_m2=10_000.0,
        compared_m2=250_000.0,
        threshold=0.5,
        polygons=12,
        places=(ChangedPlace(5200.0, 20800, 0.93, (8.4, 49.0)), ChangedPlace(900.0, 3600, 0.61, (8.41, 49.01))),
        histogram=Histogram((900_000, 50_000, 10_000, 40_000), 0.5),
        alignment="grids differ; the second date was resampled",
        device="cpu",
        seconds=12.3,
        version="0.1.0",
        parameters={"model": "irmad", "threshold": "auto"},
        outputs={"change": "out/change.tif"},
    )
    return replace(plain, **of)


class Reader(HTMLParser):
    """Collects tags, text and links, and fails on unbalanced markup."""

    VOID = ("meta", "img", "link", "br", "line", "rect")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader, " ".join(" ".join(reader.text).split())


def test_says_in_words_what_was_found(tmp_path):
    write_report(tmp_path / "r.html", data())
    _, text = read(tmp_path / "r.html")
    assert "1.00 ha of 25.00 ha compared changed, which is 4.0 %" in text
    facts = [
        "Changed places 12",
        "Model irmad",
        "Threshold 0.5",
        "Computed on cpu",
        "12.3 s",
        "EPSG:32632",
        "1,030 × 1,020",
        "the second date was resampled",
        "95.4 % of the first image",
        "cdengine 0.1.0",
        "The 2 largest of 12 changed places",
        "5,200 m² 0.93 8.400000, 49.000000",
        "counted pixels",
    ]
    assert [fact for fact in facts if fact not in text] == []


def test_stands_alone(tmp_path):
    picture = tmp_path / "q.png"
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(picture)
    write_report(tmp_path / "r.html", data(pictures=(("Both dates", picture),)))
    reader, _ = read(tmp_path / "r.html")
    assert "script" not in reader.tags and "link" not in reader.tags
    assert [link[:22] for link in reader.links] == ["data:image/png;base64,"]
    assert not re.search(r"https?://", (tmp_path / "r.html").read_text(encoding="utf-8"))


def test_large_pictures_shrink(tmp_path):
    picture = tmp_path / "q.png"
    noise = np.random.default_rng(0).normal(128, 20, (900, 900, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).save(picture)
    write_report(tmp_path / "r.html", data(pictures=(("Noise", picture),)))
    assert picture.stat().st_size > 1_500_000
    reader, _ = read(tmp_path / "r.html")
    assert reader.links[0].startswith("data:image/jpeg;base64,")


def test_everything_from_outside_is_escaped(tmp_path):
    """Faults row 81."""
    evil = data(
        title=EVIL,
        inputs=(Input(EVIL, EVIL, EVIL, EVIL, (1, 1), EVIL),),
        model=EVIL,
        places=(ChangedPlace(1.0, 1, 0.5, None, EVIL),),
        transitions=Transitions((EVIL, 'b"><img onerror=x>'), ((0, 2.0), (1.0, 0))),
        alignment=EVIL,
        device=EVIL,
        version=EVIL,
        created=EVIL,
        outputs={EVIL: EVIL},
        parameters={EVIL: EVIL, "title": "$body {body}"},
        notes=(EVIL,),
    )
    write_report(tmp_path / "r.html", evil)
    reader, text = read(tmp_path / "r.html")
    assert "script" not in reader.tags and "img" not in reader.tags
    assert EVIL in text  # readable, as text
    assert "$body {body}" in text


def test_secrets_of_addresses_are_not_shown(tmp_path):
    """Faults row 82."""
    address = "https://user:hunter2@host.example/t1.tif?X-Signature=SECRET&token=SECRET"
    leaky = data(
        title=f"Changes in {address}",
        inputs=(Input("Before", f"/vsicurl/{address}", "", "", (1, 1), ""),),
        parameters={"before": address, "api_token": "SECRET"},
        outputs={"change": address},
        notes=(f"could not read {address}",),
        alignment=address,
    )
    write_report(tmp_path / "r.html", leaky)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "SECRET" not in page and "hunter2" not in page
    assert "host.example/t1.tif" in page


def test_without_coordinates_there_are_no_areas(tmp_path):
    places = (ChangedPlace(None, 25, 0.7),)
    write_report(tmp_path / "r.html", data(changed_m2=None, compared_m2=None, places=places))
    _, text = read(tmp_path / "r.html")
    assert "40,000 pixels of 1,000,000 compared changed, which is 4.0 %" in text
    assert "no coordinate system" in text and "25 pixels" in text
    assert "ha" not in re.findall(r"[\d.]+ (ha|m²)", text)


def test_nothing_compared_nothing_changed(tmp_path):
    empty = {"changed_px": 0, "compared_px": 0, "changed_m2": 0.0, "compared_m2": 0.0, "polygons": 0}
    none = data(**empty, places=(), histogram=None)
    write_report(tmp_path / "r.html", none)
    assert "Nothing could be compared" in read(tmp_path / "r.html")[1]
    write_report(tmp_path / "s.html", data(changed_px=0, changed_m2=0.0, places=(), polygons=0))
    assert "0 m² of 25.00 ha compared changed, which is 0 %" in read(tmp_path / "s.html")[1]


def test_transitions_add_up(tmp_path):
    areas = ((0.0, 300.0, 0.0), (100.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    write_report(tmp_path / "r.html", data(transitions=Transitions(("field", "building", "water"), areas)))
    _, text = read(tmp_path / "r.html")
    assert "field – 300 m² 300 m²" in text
    assert "building 100 m² – 100 m²" in text
    assert "sum 100 m² 300 m² 400 m²" in text
    assert "water" not in text  # nothing came from or went to it
    assert "From To Area Share of the change field building 300 m² 75.0 % building field 100 m² 25.0 %" in text
    assert "sum 400 m² 100 %" in text


def test_transitions_in_pixels_and_without_change(tmp_path):
    found = Transitions(("field", "building"), ((1500.0, 500.0), (0.0, 0.0)), "pixels")
    write_report(tmp_path / "r.html", data(changed_m2=None, compared_m2=None, transitions=found))
    _, text = read(tmp_path / "r.html")
    assert "What became what (pixels)" in text
    assert "field field 1,500 75.0 % field building 500 25.0 % sum 2,000 100 %" in text
    write_report(tmp_path / "s.html", data(transitions=Transitions(("field", "building"), ((0.0, 0.0), (0.0, 0.0)))))
    assert "What became what Nothing changed." in read(tmp_path / "s.html")[1]


def test_many_transitions_are_added_up_at_the_end(tmp_path):
    classes = tuple(f"class {number}" for number in range(7))
    areas = tuple(tuple(float(10 * i + j + 1) for j in range(7)) for i in range(7))
    write_report(tmp_path / "r.html", data(transitions=Transitions(classes, areas)))
    _, text = read(tmp_path / "r.html")
    smaller = sorted(area for row in areas for area in row)[:19]
    total = sum(map(sum, areas))
    assert (
        f"19 smaller ones {sum(smaller):,.0f} m² {100 * sum(smaller) / total:.1f} % sum {total:,.0f} m² 100 %" in text
    )
    assert text.index("class 6 class 6 67 m²") < text.index("class 6 class 5 66 m²")


@pytest.mark.parametrize(
    ("area", "text"), [(0.0, "0 m²"), (9999.4, "9,999 m²"), (10_000, "1.00 ha"), (2_500_000, "2.50 km²")]
)
def test_area_units(area, text):
    assert area_text(area) == text


def test_threshold_is_marked_where_it_lies(tmp_path):
    for threshold in (0.0, 0.25, 1.0):
        write_report(tmp_path / "r.html", data(histogram=Histogram((1, 2, 3, 4), threshold)))
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
        x = float(re.search(r'<line x1="([\d.]+)" x2="[\d.]+" y1="8"', page)[1])
        assert x == pytest.approx(56 + (720 - 56 - 12) * threshold, abs=0.1)
