import numpy as np
import pytest

from cdengine.data.indexfile import write_index
from cdengine.data.layouts import CHANGE_FOLDERS, LAYOUTS, PairFiles, find_pairs, splits
from cdengine.errors import CorruptError, DatasetError, NotFoundInputError, UsageError


def names(pairs: list[PairFiles]) -> list[str]:
    return [pair.name for pair in pairs]


def test_the_contract_s_layouts_are_there():
    assert set(LAYOUTS) == {"pairs", "second", "senseearth", "hiucd", "gold", "index"}


def test_split_folders(tmp_path, make_pairs):
    make_pairs(tmp_path / "train", ["b", "a"])
    make_pairs(tmp_path / "test", ["a"])
    found = find_pairs(tmp_path, "pairs", "train")
    assert names(found) == ["a", "b"]
    assert found[0].before == tmp_path / "train" / "A" / "a.png"
    assert found[0].change == tmp_path / "train" / "label" / "a.png"
    assert names(find_pairs(tmp_path, "pairs", "all")) == ["test/a", "train/a", "train/b"]
    assert splits(tmp_path, "pairs") == ["test", "train"]


@pytest.mark.parametrize("folder", CHANGE_FOLDERS)
def test_each_name_of_the_label_folder(tmp_path, make_pairs, folder):
    make_pairs(tmp_path, ["a"], label=folder)
    assert find_pairs(tmp_path, "pairs", "all")[0].change == tmp_path / folder / "a.png"


@pytest.mark.parametrize("folder", ["list", "dataset_list"])
def test_lists_choose_and_order(tmp_path, make_pairs, folder):
    make_pairs(tmp_path, ["a", "b", "c"])
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "train.txt").write_text("c.png\n\n# left out: b\na\n")
    assert names(find_pairs(tmp_path, "pairs", "train")) == ["c", "a"]
    assert splits(tmp_path, "pairs") == ["train"]
    (tmp_path / "some.lst").write_text("A/b.png B/b.png label/b.png\n")
    assert names(find_pairs(tmp_path, "pairs", str(tmp_path / "some.lst"))) == ["b"]
    assert names(find_pairs(tmp_path, "pairs", "some.lst")) == ["b"]


def test_a_list_reaches_into_split_folders(tmp_path, make_pairs):
    make_pairs(tmp_path / "train", ["a", "b"])
    make_pairs(tmp_path / "val", ["a"])
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "few.txt").write_text("train/b\nval/A/a.png\n")
    assert names(find_pairs(tmp_path, "pairs", "few")) == ["train/b", "val/a"]


def test_files_match_by_stem_whatever_their_format(tmp_path, make_pairs):
    make_pairs(tmp_path, ["x.1", "y"], suffixes=("jpg", "tif", "png"))
    (tmp_path / "A" / "x.1.jgw").write_text("world file")
    (tmp_path / "A" / ".DS_Store").write_text("")
    pair = find_pairs(tmp_path, "pairs", "all")[0]
    assert (pair.before.name, pair.after.name, pair.change.name) == ("x.1.jpg", "x.1.tif", "x.1.png")


def test_unlabelled_split(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a"], label=None)
    pair = find_pairs(tmp_path, "pairs", "all")[0]
    assert pair.change is None and not pair.labelled


def test_missing_counterparts_are_named(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a", "b", "c"])
    (tmp_path / "B" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"A/b\.png.*B/"):
        find_pairs(tmp_path, "pairs", "all")
    make_pairs(tmp_path, ["b"])
    (tmp_path / "label" / "c.png").unlink()
    with pytest.raises(DatasetError, match=r"A/c\.png.*label/"):
        find_pairs(tmp_path, "pairs", "all")


def test_two_files_of_one_stem(tmp_path, make_pairs, save):
    make_pairs(tmp_path, ["a"])
    save(tmp_path / "A" / "a.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"a\.tif and a\.png"):
        find_pairs(tmp_path, "pairs", "all")


def test_wrong_root_split_and_layout(tmp_path, make_pairs):
    with pytest.raises(NotFoundInputError, match="nowhere"):
        find_pairs(tmp_path / "nowhere", "pairs", "all")
    (tmp_path / "t1").mkdir()
    with pytest.raises(DatasetError, match=r"no folder A/.*t1/.*index"):
        find_pairs(tmp_path, "pairs", "all")
    make_pairs(tmp_path, ["a"])
    with pytest.raises(DatasetError, match=r"no split 'tset'.*all"):
        find_pairs(tmp_path, "pairs", "tset")
    with pytest.raises(NotFoundInputError, match=r"tset\.txt"):
        find_pairs(tmp_path, "pairs", "tset.txt")
    with pytest.raises(UsageError, match="pairs, second"):
        find_pairs(tmp_path, "paris", "all")


def test_empty_split(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a"])
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"train\.txt is empty"):
        find_pairs(tmp_path, "pairs", "train")
    for folder in ("A", "B", "label"):
        (tmp_path / folder / "a.png").unlink()
    with pytest.raises(DatasetError, match="has no pairs"):
        find_pairs(tmp_path, "pairs", "all")


@pytest.mark.parametrize(("text", "says"), [("nope", "no pair 'nope'"), ("a\na.png", "listed twice")])
def test_wrong_lines_in_a_list(tmp_path, make_pairs, text, says):
    make_pairs(tmp_path, ["a"])
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"l\.txt, entry \d: .*{says}|l\.txt, entry \d: .*twice"):
        find_pairs(tmp_path, "pairs", "l.txt")


def test_second_of_the_shared_excerpts(shared_data):
    found = find_pairs(shared_data / "semantic" / "second_fig", "second", "all")
    assert names(found) == ["fig1", "fig3", "fig6", "fig8"]
    assert found[0].before_classes.parent.name == "label1" and found[0].after_classes.parent.name == "label2"


def test_senseearth(tmp_path, save):
    for folder in ("im1", "im2", "label1", "label2"):
        save(tmp_path / "train" / folder / "1.png", np.zeros((4, 4), np.uint8))
    pair = find_pairs(tmp_path, "senseearth", "train")[0]
    assert pair.change is None and pair.labelled
    (tmp_path / "train" / "label2" / "1.png").unlink()
    (tmp_path / "train" / "label2").rmdir()
    with pytest.raises(DatasetError, match="label2/ is missing"):
        find_pairs(tmp_path, "senseearth", "train")


def test_gold_of_the_shared_sample(shared_data):
    pair = find_pairs(shared_data / "opt_sar" / "gold_sample", "gold", "all")[0]
    folders = [path.parent.name for path in (pair.before, pair.after, pair.reference, pair.change)]
    assert folders == ["A", "B", "C", "Label"]


def test_hiucd(tmp_path, save):
    grey = np.zeros((4, 4), np.uint8)
    for year in ("2017", "2018", "2019"):
        save(tmp_path / "train" / "image" / year / "9" / "10.png", grey)
        save(tmp_path / "test" / "image" / year / "9" / "11.png", grey)
    for period in ("2017_2018", "2018_2019"):
        save(tmp_path / "train" / "mask" / period / "9" / "10.png", np.dstack([grey] * 3))
    found = find_pairs(tmp_path, "hiucd", "train")
    assert names(found) == ["2017_2018/9/10", "2018_2019/9/10"]
    assert found[1].before.parts[-3] == "2018" and found[1].change == found[1].before_classes
    assert names(find_pairs(tmp_path, "hiucd", "test")) == ["2017_2018/9/11", "2018_2019/9/11"]


def test_index(tmp_path, save):
    grey = np.zeros((4, 4), np.uint8)
    for name in ("x/1.png", "y/1.png", "l.png"):
        save(tmp_path / name, grey)
    rows = [
        {"name": "one", "before": "x/1.png", "after": "y/1.png", "label": "l.png", "split": "train"},
        {"name": "two", "before": "x/1.png", "after": str(tmp_path / "y/1.png"), "label": "", "split": "test"},
    ]
    write_index(tmp_path / "index.csv", rows, ["name", "before", "after", "label", "split"])
    train = find_pairs(tmp_path, "index", "train")
    assert train == [PairFiles("one", tmp_path / "x/1.png", tmp_path / "y/1.png", tmp_path / "l.png")]
    assert find_pairs(tmp_path / "index.csv", "index", "test")[0].change is None
    assert names(find_pairs(tmp_path, "index", "all")) == ["one", "two"]
    assert splits(tmp_path, "index") == ["train", "test"]
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "few.txt").write_text("two")
    assert names(find_pairs(tmp_path, "index", "few")) == ["two"]
    with pytest.raises(DatasetError, match=r"split 'val'.*train, test"):
        find_pairs(tmp_path, "index", "val")


def test_index_as_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"before": ["a.tif", "b.tif"], "after": ["c.tif", "d.tif"], "label": [None, "e.tif"]})
    pq.write_table(table, tmp_path / "index.parquet")
    found = find_pairs(tmp_path, "index", "all")
    assert names(found) == ["a", "b"] and [pair.labelled for pair in found] == [False, True]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("before,label\na,b\n", DatasetError, "no column after"),
        ("before,after\na.png,\n", DatasetError, "row 1: no after"),
        ("before,after\nx/a.png,b.png\ny/a.png,b.png\n", DatasetError, "rows 1 and 2 are both named a"),
        ("before,after,label1\na,b,c\n", DatasetError, "class labels of one date"),
        ("before,after\n", DatasetError, "no column before and after|no pairs"),
        (b"\xff\xfe\x00b", CorruptError, "UTF-8"),
    ],
)
def test_wrong_index(tmp_path, text, error, says):
    file = tmp_path / "index.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=says) as caught:
        find_pairs(tmp_path, "index", "all")
    assert "index.csv" in str(caught.value)


def test_index_with_semicolons(tmp_path):
    (tmp_path / "index.csv").write_text("\ufeffBefore;After;Label\na.tif;b.tif;c.tif\n", encoding="utf-8")
    assert find_pairs(tmp_path, "index", "all")[0].change == tmp_path / "c.tif"
