import pytest
from affine import Affine
from rasterio.crs import CRS

from cdengine.data.prepare.scenes import Scene, check_apart, given_scenes, named, read_scenes
from cdengine.errors import DatasetError, NotFoundInputError, UsageError
from cdengine.raster.grid import Grid


def test_a_table_of_scenes(tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text(
        "before,after,label,split,aoi\na/before.tif,/x/after.tif,a/l.gpkg,,\nb/before.tif,b/a.tif,l.tif,test,z.gpkg\n"
    )
    one, two = read_scenes(table, dates=2)
    assert (one.name, one.before, one.after) == ("a", str(tmp_path / "a/before.tif"), "/x/after.tif")
    assert one.labels == {"change": str(tmp_path / "a/l.gpkg")} and one.split is None and one.aoi is None
    assert (two.name, two.split, two.aoi) == ("b", "test", str(tmp_path / "z.gpkg"))


def test_a_table_of_single_images(tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text("name,image,label\nfirst one,i.tif,l.tif\n")
    scene = read_scenes(table, dates=1)[0]
    assert scene.name == "first-one" and scene.after is None and list(scene.labels) == ["before_classes"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("before,label\na,b\n", "row 1: no after"),
        ("before,after\na,b\n", "row 1: no label"),
        ("before,after,label\n", "no rows"),
        ("name,before,after,label\nx,a,b,c\nx,d,e,f\n", "two scenes are named x"),
    ],
)
def test_wrong_tables(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=says):
        read_scenes(tmp_path / "t.csv", dates=2)
    with pytest.raises(NotFoundInputError, match=r"gone\.csv"):
        read_scenes(tmp_path / "gone.csv", dates=2)


def test_the_command_line_s_scene():
    scene = given_scenes(["t1.tif", "t2.tif"], dates=2, labels={"change": "l.tif"})[0]
    assert (scene.name, scene.before, scene.after) == ("t1", "t1.tif", "t2.tif")
    with pytest.raises(UsageError, match="BEFORE and AFTER"):
        given_scenes(["a.tif"], dates=2, labels={"change": "l.tif"})
    with pytest.raises(UsageError, match="--label"):
        given_scenes(["a.tif", "b.tif"], dates=2, labels={})
    with pytest.raises(UsageError, match="columns"):
        given_scenes(["a.csv"], dates=2, labels={"change": "l.tif"})


def scene(name, split=None):
    return Scene(name, f"{name}.tif", "x.tif", {}, None, split)


def grid(crs, left, top, size=100, pixel=10.0):
    return Grid(CRS.from_user_input(crs), Affine(pixel, 0, left, 0, -pixel, top), size, size)


def test_the_same_ground_must_not_be_in_two_splits():
    utm = grid("EPSG:32632", 500_000, 5_300_000)
    beside = grid("EPSG:32632", 501_000, 5_300_000)  # a common border is no overlap
    check_apart([scene("a"), scene("b")], [utm, beside])
    shifted = grid("EPSG:32632", 500_900, 5_300_000)
    with pytest.raises(DatasetError, match="scenes a and b show the same ground"):
        check_apart([scene("a"), scene("b")], [utm, shifted])
    with pytest.raises(DatasetError):
        check_apart([scene("a", "train"), scene("b", "test")], [utm, shifted])
    with pytest.raises(DatasetError):
        check_apart([scene("a", "train"), scene("b")], [utm, shifted])
    check_apart([scene("a", "train"), scene("b", "train")], [utm, shifted])
    degrees = grid("EPSG:4326", 9.0, 47.85, pixel=0.0001)
    with pytest.raises(DatasetError):
        check_apart([scene("a"), scene("b")], [utm, degrees])


def test_without_a_crs_the_files_tell():
    plain = Grid(None, Affine.identity(), 10, 10)
    check_apart([scene("a"), scene("b")], [plain, plain])
    twice = [Scene("a", "x.tif", "y.tif"), Scene("b", "x.tif", "z.tif")]
    with pytest.raises(DatasetError):
        check_apart(twice, [plain, plain])


def test_names_of_scenes():
    found = named([Scene("", "a/b f.tif", None), Scene("", "a/c.tif", None)])
    assert [item.name for item in found] == ["b-f", "c"]
