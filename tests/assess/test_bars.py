"""Bars that compare networks: widths in proportion, names that cannot break the page."""

import re
from xml.etree import ElementTree

import pytest

from cdengine.assess.charts import bars_svg

ROWS = [("one", "teacher", 0.2), ("<b>two & more", "student", 0.4), ("three", "student", -0.1)]


def test_widths_are_in_proportion_and_nothing_is_below_zero():
    svg = bars_svg("Score", ROWS)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="18"', svg)]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.1) and widths[2] == 0
    assert "-0.1000" in svg


def test_it_is_well_formed_and_says_each_group_once():
    root = ElementTree.fromstring(bars_svg("Score", ROWS))
    texts = [node.text for node in root.iter("text")]
    assert texts == ["one", "0.2000", "<b>two & more", "0.4000", "three", "-0.1000", "teacher", "student"]
    colours = [node.get("fill") for node in root.iter("rect")]
    assert colours[1] == colours[2] == colours[4] != colours[0] == colours[3]


@pytest.mark.parametrize("rows", [[], [("none", "teacher", 0.0)]])
def test_nothing_to_show_is_no_fault(rows):
    ElementTree.fromstring(bars_svg("Score", rows))


def test_a_long_name_is_cut():
    assert "a" * 27 + "…<" in bars_svg("Score", [("a" * 60, "teacher", 0.1)])
