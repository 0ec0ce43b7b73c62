"""Class names and a short colour table beside a raster, in GDAL's own sidecar (`NAME.aux.xml`).

rasterio cannot set category names, and a TIFF's own palette always has 256 entries, all of them opaque: QGIS would
list 256 classes. What stands in the sidecar wins over the palette in GDAL and QGIS.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from cdengine.raster.spec import RasterSpec


def write_sidecar(path: Path, spec: RasterSpec) -> None:
    """Writes `path`.aux.xml for a raster with categories or colours, keeping what GDAL put there already."""
    if not spec.categories and not spec.colours:
        return
    sidecar = Path(f"{path}.aux.xml")
    root = ElementTree.parse(sidecar).getroot() if sidecar.exists() else ElementTree.Element("PAMDataset")
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    if spec.descriptions[0]:
        ElementTree.SubElement(band, "Description").text = spec.descriptions[0]
    if spec.colours:
        ElementTree.SubElement(band, "ColorInterp").text = "Palette"
        table = ElementTree.SubElement(band, "ColorTable")
        for value in range(max(spec.colours) + 1):
            colour = spec.colours.get(value, (0, 0, 0, 0))
            ElementTree.SubElement(table, "Entry", {f"c{k}": str(part) for k, part in enumerate(colour, 1)})
    if spec.categories:
        names = ElementTree.SubElement(band, "CategoryNames")
        for name in spec.categories:
            ElementTree.SubElement(names, "Category").text = name
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(sidecar, encoding="utf-8")
