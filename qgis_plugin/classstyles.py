"""Legends of results with classes: land cover of a date, and what changed into what.

Rasters show the colours and names that the engine wrote into the file; polygons those of the raster of transitions.
"""

from __future__ import annotations

import itertools
from typing import Dict, Iterator, List, Sequence, Tuple

from osgeo import gdal
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from .transitions import ARROW, Transition, colour_of, named

# Okabe and Ito's palette, distinguishable with any colour vision; black is left out.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
GOLDEN = 0.618034  # of the colour circle: the hues of neighbours are far apart, however many there are
# Of both fields, because polygons of one class before differ in the class after, and the other way round.
EXPRESSION = f'"from_class" || \'{ARROW}\' || "to_class"'

Named = Tuple[float, str, QColor]


def of_classes(layer: QgsRasterLayer) -> bool:
    """Gives a raster of classes a legend of their names; leaves one without names as it is."""
    dataset = gdal.Open(layer.source())
    band = None if dataset is None else dataset.GetRasterBand(1)
    table = None if band is None else band.GetRasterColorTable()  # before the names: see transitions.read
    names = (band.GetRasterCategoryNames() if band is not None else None) or []
    return _paletted(layer, [(value, name, QColor(*colour_of(table, value))) for value, name in enumerate(names)])


def of_transitions(layer: QgsRasterLayer, transitions: Sequence[Transition]) -> bool:
    """Gives a raster of transitions a legend of those that occur; unchanged pixels are not drawn."""
    return _paletted(layer, [(item.code, item.label, QColor(*item.colour)) for item in transitions])


def of_polygons(layer: QgsVectorLayer, transitions: Sequence[Transition]) -> bool:
    """Gives polygons a category for each transition that they have; leaves those without classes as they are."""
    known = {item.label: QColor(*item.colour) for item in transitions}
    labels = polygon_transitions(layer)
    made_up: Dict[str, QColor] = dict(zip(labels, spread()))
    categories = []
    for label in labels:
        colour = known.get(label, made_up[label])
        symbol = QgsFillSymbol.createSimple(
            {"color": colour.name(), "outline_color": "#333333", "outline_width": "0.2"}
        )
        symbol.setOpacity(0.7)
        categories.append(QgsRendererCategory(label, symbol, label))
    if categories:
        layer.setRenderer(QgsCategorizedSymbolRenderer(EXPRESSION, categories))
    return bool(categories)


def polygon_transitions(layer: QgsVectorLayer) -> List[str]:
    """The transitions that polygons have, sorted; none for polygons without classes."""
    columns = [layer.fields().indexOf(name) for name in ("from_class", "to_class")]
    if min(columns) < 0:
        return []
    # Outlines are not read: there may be millions of them.
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry).setSubsetOfAttributes(columns)
    return sorted({named(*(str(feature[column]) for column in columns)) for feature in layer.getFeatures(request)})


def spread() -> Iterator[QColor]:
    """Colours without end: those of the palette, then any that differ from their neighbours."""
    for colour in COLOURS:
        yield QColor(colour)
    for number in itertools.count():
        yield QColor.fromHslF((number * GOLDEN) % 1.0, 0.6, (0.55, 0.42, 0.68)[number % 3])


def _paletted(layer: QgsRasterLayer, entries: Sequence[Named]) -> bool:
    if not entries:
        return False
    classes = [QgsPalettedRasterRenderer.Class(value, colour, name) for value, name, colour in entries]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, classes))
    return True
