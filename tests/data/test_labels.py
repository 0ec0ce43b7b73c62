import numpy as np
import pytest
from PIL import Image

from cdengine.data.codings import CODINGS, FORMATS, SECOND_PALETTE, ChangeCoding, ClassCoding
from cdengine.data.labels import find_coding, read_change, read_classes
from cdengine.errors import LabelError, UsageError

SECOND = FORMATS["second"].classes


def label(values) -> np.ndarray:
    return np.array(values, np.uint8)


def test_both_codings_of_change(tmp_path, save):
    one = save(tmp_path / "1.png", label([[0, 1], [1, 255]]))
    high = save(tmp_path / "2.png", label([[0, 255], [255, 0]]))
    assert read_change(one, find_coding([one])).tolist() == [[0, 1], [1, 255]]
    assert read_change(high, find_coding([high])).tolist() == [[0, 1], [1, 0]]


def test_the_coding_is_that_of_the_set_not_of_the_file(tmp_path, save):
    """A 0/1 set with a file of nothing but ignored pixels, and one of nothing but change."""
    files = [
        save(tmp_path / "a.png", label([[255, 255]])),
        save(tmp_path / "b.png", label([[0, 255]])),
        save(tmp_path / "c.png", label([[1, 1]])),
    ]
    coding = find_coding(files)
    assert [read_change(file, coding).tolist() for file in files] == [[[255, 255]], [[0, 255]], [[1, 1]]]
    coding = find_coding(files[:2])
    assert read_change(files[0], coding).tolist() == [[1, 1]]  # 0/255, as far as anybody can tell
    with pytest.raises(LabelError, match=r"c\.png: values 1 in"):
        read_change(files[2], coding)  # but never a silent mixture


def test_wrong_values_name_file_and_values(tmp_path, save):
    path = save(tmp_path / "landcover.png", label([[0, 1, 2, 3, 4, 5, 6]]))
    with pytest.raises(LabelError, match=r"landcover\.png: values 0, 1, 2, 3, 4, 5, 6"):
        find_coding([path])
    with pytest.raises(LabelError, match=r"landcover\.png: values 0, 1, 2, 3, 4, 5, 6 in a change label"):
        read_change(path, CODINGS["0/1"])
    noise = save(tmp_path / "noise.png", np.arange(100, dtype=np.uint8)[None])
    with pytest.raises(LabelError, match=r"… 99 \(100 in all\)"):
        read_change(noise, CODINGS["0/1"])


def test_stated_codings():
    coding = ChangeCoding.parse("unchanged=1,changed=2,changed=3,ignored=0")
    assert coding == ChangeCoding((1,), (2, 3), (0,))
    assert coding.apply(label([0, 1, 2, 3]), "x").tolist() == [255, 0, 1, 1]
    for wrong in ("1", "changed", "unchanged=1", "changed=1,unchanged=1", "change=1"):
        with pytest.raises(UsageError, match="coding"):
            ChangeCoding.parse(wrong)


def test_grey_rgb_is_a_label_and_colours_are_not(tmp_path, save):
    grey = np.dstack([label([[0, 255]])] * 3)
    assert read_change(save(tmp_path / "g.png", grey), CODINGS["0/255"]).tolist() == [[0, 1]]
    colours = label([[[255, 0, 0], [0, 0, 0]]])
    with pytest.raises(LabelError, match=r"c\.png: holds colours"):
        read_change(save(tmp_path / "c.png", colours), CODINGS["0/255"])


def test_bilevel_and_palette_masks(tmp_path):
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "1.png")
    assert read_change(tmp_path / "1.png", find_coding([tmp_path / "1.png"])).tolist() == [[0, 1]]
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png")
    assert read_change(tmp_path / "p.png", find_coding([tmp_path / "p.png"])).tolist() == [[1, 0]]


def test_jpeg_masks_are_cut_in_the_middle(tmp_path, save, rng):
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40, 20:50] = 255
    path = save(tmp_path / "a.jpg", mask, quality=60)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    np.testing.assert_array_equal(read_change(path, find_coding([path])), mask // 255)
    picture = save(tmp_path / "b.jpg", rng.integers(0, 255, (64, 64), dtype=np.uint8))
    with pytest.raises(LabelError, match=r"b\.jpg"):
        read_change(picture, CODINGS["0/255"])


def test_class_indices(tmp_path, save):
    path = save(tmp_path / "a.png", label([[0, 1, 6, 255]]))
    assert read_classes(path, SECOND).tolist() == [[255, 0, 5, 255]]
    path = save(tmp_path / "b.png", label([[0, 7]]))
    with pytest.raises(LabelError, match=r"b\.png: values 7 are no class; classes are 1 to 6"):
        read_classes(path, SECOND)
    from_zero = ClassCoding(("a", "b"), first=0, unlabelled=(255,))
    assert read_classes(save(tmp_path / "c.png", label([[0, 1, 255]])), from_zero).tolist() == [[0, 1, 255]]


def test_class_colours(tmp_path, save):
    colours = label([list(SECOND_PALETTE)])
    path = save(tmp_path / "a.png", colours)
    assert read_classes(path, SECOND).tolist() == [list(SECOND_PALETTE.values())]
    colours[0, 0] = (1, 2, 3)
    with pytest.raises(LabelError, match=r"b\.png: 1 colour\(s\) are not in the palette \(\(1, 2, 3\) on 1 px"):
        read_classes(save(tmp_path / "b.png", colours), SECOND)
    with pytest.raises(LabelError, match="holds colours"):
        read_classes(path, ClassCoding(SECOND.names))


# the SenseEarth2020 contest's own table: unchanged, water, ground, low vegetation, tree, building, sports field
SENSEEARTH_TABLE = [255, 255, 255, 0, 0, 255, 128, 128, 128, 0, 128, 0, 0, 255, 0, 128, 0, 0, 255, 0, 0]


def test_senseearth_by_index_by_colour_table_and_by_colour(tmp_path, save):
    """All three forms mean the same; the order of the indices is not SECOND's."""
    coding, indices = FORMATS["senseearth"].classes, label([range(7)])
    assert coding.names == ("water", "ground", "low vegetation", "tree", "building", "playground")
    assert coding.colours.ravel().tolist() == SENSEEARTH_TABLE
    picture = Image.fromarray(indices)
    picture.putpalette(SENSEEARTH_TABLE)
    picture.save(tmp_path / "table.png")
    plain = save(tmp_path / "plain.png", indices)
    colour = save(tmp_path / "colour.png", label(SENSEEARTH_TABLE).reshape(1, 7, 3))
    for path in (plain, tmp_path / "table.png", colour):
        assert read_classes(path, coding).tolist() == [[255, 0, 1, 2, 3, 4, 5]]
    assert read_classes(colour, SECOND).tolist() == [[255, 3, 1, 0, 2, 4, 5]]


def test_colours_follow_their_classes_into_another_order():
    turned = SECOND.named(SECOND.names[::-1])
    assert turned.colours[1:].tolist() == SECOND.colours[:0:-1].tolist() and turned.colours[0].tolist() == [255] * 3
    assert SECOND.named(("a", "b")).palette == {} and SECOND.named(("a", "b")).colours is None


def test_a_colour_table_of_the_palette_s_colours_in_any_order(tmp_path):
    picture = Image.new("P", (3, 1))
    picture.putpalette([0, 0, 255, 255, 255, 255, 0, 255, 0])  # water, unchanged, tree
    for x in range(3):
        picture.putpixel((x, 0), x)
    picture.save(tmp_path / "a.png")
    assert read_classes(tmp_path / "a.png", SECOND).tolist() == [[3, 255, 2]]


def test_grey_rgb_indices_are_indices(tmp_path, save):
    path = save(tmp_path / "a.png", np.dstack([label([[0, 6]])] * 3))
    assert read_classes(path, SECOND).tolist() == [[255, 5]]
    grey = save(tmp_path / "b.png", label([[[128, 128, 128], [255, 255, 255]]]))
    assert read_classes(grey, SECOND).tolist() == [[1, 255]]


def test_colour_and_index_labels_of_the_shared_excerpts_agree(shared_data):
    folder = shared_data / "semantic" / "second_fig"
    for path in sorted((folder / "label1").glob("*.png")):
        by_index = read_classes(path, SECOND)
        np.testing.assert_array_equal(by_index, read_classes(folder / "label1_rgb" / path.name, SECOND))


def test_one_channel_of_three(tmp_path, save):
    path = save(tmp_path / "a.png", label([[[9, 1, 2], [0, 0, 0], [3, 3, 1]]]))
    form = FORMATS["hiucd"]
    assert read_change(path, form.change, form.channels[0]).tolist() == [[1, 255, 0]]
    assert read_classes(path, form.classes, form.channels[1]).tolist() == [[8, 255, 2]]
    assert read_classes(path, form.classes, form.channels[2]).tolist() == [[0, 255, 2]]


def test_labels_in_geotiff(shared_data, tmp_path):
    path = shared_data / "oscd" / "bercy" / "label.tif"
    assert 0 < (read_change(path, find_coding([path])) == 1).mean() < 0.01
    path = shared_data / "landsat_taizhou" / "label.tif"
    with pytest.raises(LabelError, match="values 0, 1, 2"):
        find_coding([path])
    change = read_change(path, ChangeCoding.parse("unchanged=1,changed=2,ignored=0"))
    assert set(np.unique(change)) == {0, 1, 255}


def test_floats_and_nodata(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    def write(array, nodata):
        options = {"crs": "EPSG:32631", "transform": from_origin(5, 5, 2, 2), "nodata": nodata}
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", count=1, height=1, width=3, dtype=array.dtype, **options
        ) as dataset:
            dataset.write(array[None])
        return tmp_path / "a.tif"

    path = write(np.array([[0, 1, -9999]], np.float32), -9999)
    assert read_change(path, find_coding([path])).tolist() == [[0, 1, 255]]
    with pytest.raises(LabelError, match="fractions"):
        read_change(write(np.array([[0, 0.5, 1]], np.float32), None), CODINGS["0/1"])
