import geopandas
import numpy as np
import pytest
import shapely
from pairs import write_raster

from cdengine.data.prepare.classes import ClassTable, attribute_values, class_polygons, settle_classes
from cdengine.data.prepare.sources import RasterLabel, SingleImage
from cdengine.errors import LabelError, UsageError
from cdengine.events import Reporter
from cdengine.raster.grid import Window


def test_what_a_user_writes():
    assert ClassTable.parse("water=10, forest =20") == ClassTable(("water", "forest"), ("10", "20"))
    assert ClassTable.parse("water,forest").values == ("1", "2")
    for wrong in ("", "a,a", "a=1,b=1", "a=", "=1"):
        with pytest.raises(UsageError, match="--classes"):
            ClassTable.parse(wrong)


def test_raster_values_become_ids():
    table = ClassTable.parse("water=10,forest=20")
    assert table.decode(np.array([[0, 10, 20, 255]]), "x").tolist() == [[255, 0, 1, 255]]
    with pytest.raises(LabelError, match=r"x\.tif: values 30 are no class of water=10, forest=20"):
        table.decode(np.array([10, 30]), "x.tif")
    assert ClassTable.parse("other=0,building=1").decode(np.array([0, 1, 255]), "x").tolist() == [0, 1, 255]
    assert ClassTable.of_values([0, 3, 7, 255]).names == ("class 3", "class 7")
    with pytest.raises(LabelError, match="hold 0 classes"):
        ClassTable.of_values([0])


def test_classes_of_all_scenes_together(tmp_path):
    paths = [write_raster(tmp_path / f"{v}.tif", np.full((1, 8, 8), v, np.uint8)) for v in (3, 9)]
    image = SingleImage(paths[0], None, Reporter())
    labels = [RasterLabel(path, image.grid, Reporter()) for path in paths]
    table = settle_classes(labels, None, Reporter())
    assert table.values == ("3", "9")
    assert [int(label.read(Window(0, 0, 1, 1))[0, 0]) for label in labels] == [0, 1]


def test_polygons_with_an_attribute(tmp_path):
    path = write_raster(tmp_path / "i.tif", np.zeros((1, 40, 40), np.uint8))
    grid = SingleImage(path, None, Reporter()).grid
    x, y = 500_000, 5_300_000
    boxes = [
        shapely.box(x, y - 200, x + 100, y),
        shapely.box(x + 100, y - 200, x + 200, y),
        shapely.box(x, y - 400, x + 50, y - 300),
    ]
    frame = geopandas.GeoDataFrame({"kind": ["water", "forest", None]}, geometry=boxes, crs="EPSG:32632")
    frame.to_file(tmp_path / "l.gpkg")
    file = str(tmp_path / "l.gpkg")
    assert attribute_values(file, "kind") == ["forest", "water"]
    label = class_polygons(file, "kind", ClassTable(("forest", "water"), ("forest", "water")), grid, Reporter())
    found = label.read(Window(0, 0, 40, 40))
    assert (found[:20, :10] == 1).all() and (found[:20, 10:20] == 0).all() and (found[20:] == 255).all()
    with pytest.raises(LabelError, match="values water that are no class"):
        class_polygons(file, "kind", ClassTable(("forest",), ("forest",)), grid, Reporter())
    with pytest.raises(LabelError, match=r"no attribute 'type'; it has kind"):
        attribute_values(file, "type")


def test_numbers_as_attribute(tmp_path):
    frame = geopandas.GeoDataFrame(
        {"code": [1.0, 2.0, None]}, geometry=[shapely.box(i, 0, i + 1, 1) for i in range(3)], crs="EPSG:4326"
    )
    frame.to_file(tmp_path / "l.gpkg")
    assert attribute_values(str(tmp_path / "l.gpkg"), "code") == ["1", "2"]
