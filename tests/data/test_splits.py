import numpy as np
import pytest

from cdengine.data.layouts import find_pairs
from cdengine.data.splits import draw_order, write_subsets
from cdengine.errors import OutputExistsError, UsageError


def test_lists_are_nested_and_read_back(tmp_path, make_pairs):
    make_pairs(tmp_path / "train", [f"{i:02d}" for i in range(40)])
    make_pairs(tmp_path / "val", ["00"])
    subsets = write_subsets(tmp_path, "pairs", "train", [10, 5, 50], seed=4)
    assert [subset.path.name for subset in subsets] == ["train_5.txt", "train_10.txt", "train_50.txt"]
    assert [subset.pairs for subset in subsets] == [2, 4, 20]
    found = [{pair.name for pair in find_pairs(tmp_path, "pairs", f"train_{p}")} for p in (5, 10, 50)]
    assert found[0] < found[1] < found[2] and all(name.startswith("train/") for name in found[2])


def test_seeded(tmp_path, make_pairs):
    make_pairs(tmp_path, [f"{i:02d}" for i in range(30)])
    texts = []
    for seed in (1, 1, 2):
        write_subsets(tmp_path, "pairs", "all", [20], seed=seed, overwrite=True)
        texts.append((tmp_path / "list" / "all_20.txt").read_text())
    assert texts[0] == texts[1] != texts[2]
    with pytest.raises(OutputExistsError, match=r"all_20\.txt.*--overwrite"):
        write_subsets(tmp_path, "pairs", "all", [20])


def test_each_beginning_resembles_the_whole():
    shares = np.random.default_rng(0).lognormal(-4, 1.5, 1000).clip(0, 1)
    shares[:300] = 0
    for seed in range(5):
        order = draw_order(shares, seed)
        assert sorted(order.tolist()) == list(range(1000))
        for count in (50, 100, 200):
            assert abs((shares[order[:count]] > 0).mean() - 0.7) < 0.06
            assert abs(np.median(shares[order[:count]]) / np.median(shares) - 1) < 0.35


def test_wrong_percentages(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a"])
    for wrong in ([0], [101], [5, 5], []):
        with pytest.raises(UsageError, match="--percent"):
            write_subsets(tmp_path, "pairs", "all", wrong)
    assert write_subsets(tmp_path, "pairs", "all", [1])[0].pairs == 1


def test_unlabelled_and_index(tmp_path, make_pairs):
    make_pairs(tmp_path, list("abcdefghij"), label=None)
    rows = "\n".join(f"A/{n}.png,B/{n}.png,train" for n in "abcdefghij")
    (tmp_path / "index.csv").write_text(f"before,after,split\n{rows}\n")
    write_subsets(tmp_path, "index", "train", [30])
    assert len(find_pairs(tmp_path, "index", "train_30")) == 3
