"""How results look: a style file beside each output, and a name for the layer where Processing loads it.

The style file is what counts: models, batches and qgis_process load no layers, and whoever opens the result later finds
it styled. Post-processors add what only a loaded layer can have.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections import deque
from typing import Deque, Dict, Iterable, List, Optional

from qgis.core import (
    Qgis,
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
)

from .settings import resource

MARK = "cdengine/style"
# Okabe and Ito's palette, distinguishable with any colour vision; black is left out.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
ABSTRACTS = {
    "change": "0 unchanged, 1 changed, 255 no data (outside the common area or the area of interest).",
    "probability": "Probability of change. Changed is where it is at least the threshold (in the file's metadata).",
    "polygons": "Changed areas: area_m2 on the ellipsoid, probability is the mean over the polygon.",
}


class Dresser(QgsProcessingLayerPostProcessorInterface):
    """Describes one result layer once it is loaded, and styles it again from its style file."""

    def __init__(self) -> None:
        super().__init__()
        self.abstract, self.style = "", ""

    def postProcessLayer(self, layer: object, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Called on the main thread after loading."""
        if not isinstance(layer, (QgsRasterLayer, QgsVectorLayer)) or not layer.isValid():
            return
        if self.style:
            # Again, because a default style for outputs in Processing's options has replaced it by now.
            layer.loadNamedStyle(self.style)
        layer.setAbstract(self.abstract)
        layer.triggerRepaint()


# Processing holds a post-processor by a bare pointer: without a reference here it is collected before it is called, and
# the layer stays unstyled without a word. Of runs long past nothing is loaded any more.
_KEPT: Deque[Dresser] = deque(maxlen=500)


def dressers(names: Iterable[str]) -> Dict[str, Dresser]:
    """One post-processor for each output, made on the main thread."""
    made = {name: Dresser() for name in names}
    _KEPT.extend(made.values())
    return made


def dress(path: str, style: str, name: str, context: QgsProcessingContext, dresser: Dresser) -> None:
    """Puts the style file beside an output and, where the output will be loaded, names the layer.

    Args:
        path: the output.
        style: change, probability, polygons or classes.
        name: what the layer is called, unless Processing's options say: like its file.
        context: Processing's.
        dresser: this output's post-processor.
    """
    written = write_style(path, style)
    if not context.willLoadLayerOnCompletion(path):
        return
    dresser.style, dresser.abstract = written or "", ABSTRACTS.get(style, "")
    details = context.layerToLoadOnCompletionDetails(path)
    details.name = name
    details.setPostProcessor(dresser)


def write_style(path: str, style: str) -> Optional[str]:
    """Writes `<output>.qml`; leaves one alone that the user has changed since."""
    target = os.path.splitext(path)[0] + ".qml"
    if style == "polygons" and _classes(path):
        return _write_classes(path, target)
    source = _shipped(path, style)
    if source is None:
        return None
    if os.path.exists(target) and not _ours(target):
        return target
    shutil.copyfile(source, target)
    return target


def _shipped(path: str, style: str) -> Optional[str]:
    if style == "probability":
        layer = QgsRasterLayer(path, "probability")
        # Scaled to 0-200 in bytes, or 0-1 in floats.
        is_bytes = layer.isValid() and layer.dataProvider().sourceDataType(1) == Qgis.DataType.Byte
        return resource("styles", "probability_uint8.qml" if is_bytes else "probability.qml")
    name = resource("styles", f"{style}.qml")
    return name if os.path.isfile(name) else None  # class rasters carry their colours in the file itself


def _ours(target: str) -> bool:
    """Whether a style file is one that we wrote, byte for byte, or generated for classes."""
    with open(target, "rb") as file:
        content = file.read()
    folder = resource("styles")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as shipped:
            if shipped.read() == content:
                return True
    return MARK.encode() in content


def _classes(path: str) -> List[str]:
    """Values of `to_class`, empty for polygons without classes."""
    layer = QgsVectorLayer(path, "polygons", "ogr")
    index = layer.fields().indexOf("to_class") if layer.isValid() else -1
    return sorted(str(value) for value in layer.uniqueValues(index)) if index >= 0 else []


def _write_classes(path: str, target: str) -> Optional[str]:
    """A category for each class that something changed into."""
    layer = QgsVectorLayer(path, "polygons", "ogr")
    categories = []
    for value, colour in zip(_classes(path), itertools.cycle(COLOURS)):
        symbol = QgsFillSymbol.createSimple({"color": colour, "outline_color": "#333333", "outline_width": "0.2"})
        symbol.setOpacity(0.7)
        categories.append(QgsRendererCategory(value, symbol, value))
    layer.setRenderer(QgsCategorizedSymbolRenderer("to_class", categories))
    layer.setCustomProperty(MARK, "classes")
    if os.path.exists(target) and not _ours(target):
        return target
    _, good = layer.saveNamedStyle(target)
    return target if good else None
