import numpy as np
import pytest

from cdengine.data.codings import FORMATS, LabelFormat
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs
from cdengine.data.sampling import PairSampler, balanced_weights, change_shares
from cdengine.errors import LabelError
from cdengine.events import CollectSink, Reporter


def test_shares_of_change(tmp_path, make_pairs, save):
    make_pairs(tmp_path, ["a", "b"])
    label = np.zeros((32, 32), np.uint8)
    save(tmp_path / "label" / "b.png", label)
    pairs = ChangePairs(find_pairs(tmp_path, "pairs", "all"))
    assert change_shares(pairs.files, pairs.labels).tolist() == [64 / 1024, 0]


def test_shares_from_classes(shared_data):
    root = shared_data / "semantic" / "second_fig"
    files = find_pairs(root, "second", "all")
    direct = change_shares(files, ChangePairs(files, labels=label_format(root, "second")).labels)
    # without the change folder the classes tell nearly the same: at borders the excerpts' dates contradict each other
    bare = [type(f)(f.name, f.before, f.after, None, f.before_classes, f.after_classes) for f in files]
    np.testing.assert_allclose(change_shares(bare, label_format(root, "second")), direct, rtol=0.1)
    assert change_shares(files, LabelFormat()).tolist() == [0] * 4


def test_dates_that_contradict_each_other_are_warned_of_once(shared_data):
    root, sink = shared_data / "semantic" / "second_fig", CollectSink()
    files = find_pairs(root, "second", "all")
    bare = [PairFiles(f.name, f.before, f.after, None, f.before_classes, f.after_classes) for f in files]
    shares = change_shares(bare, label_format(root, "second"), Reporter(sink))
    warnings = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert len(warnings) == 1 and warnings[0].startswith("1,633 pixel(s) of 4 pair(s), the first ")
    # the same pixels, and the same share, as what a sample of the pair holds
    samples = ChangePairs(bare, labels=label_format(root, "second"))
    assert sum(int((samples[i]["change"] == 255).sum()) for i in range(4)) == 1633
    for share, sample in zip(shares, samples, strict=True):
        assert share == float((sample["change"] == 1).sum()) / float((sample["change"] != 255).sum())
    (told,) = [e["message"] for e in _events(files, root) if e.get("level") == "warning"]
    assert told.startswith("1,633 pixel(s) of 4 pair(s), the first ") and told.endswith(
        "the change labels decide what changed there"
    )


def test_labels_of_unlike_size_are_told(make_pairs, tmp_path, save):
    for folder, height in (("label1", 4), ("label2", 5)):
        save(tmp_path / folder / "a.png", np.zeros((height, 4), np.uint8))
    one, two = tmp_path / "label1" / "a.png", tmp_path / "label2" / "a.png"
    with pytest.raises(LabelError, match=r"label1.*differ in size"):
        change_shares([PairFiles("a", one, two, None, one, two)], FORMATS["second"])


def _events(files, root):
    sink = CollectSink()
    change_shares(files, ChangePairs(files, labels=label_format(root, "second")).labels, Reporter(sink))
    return sink.events


def test_weights():
    np.testing.assert_allclose(
        balanced_weights(np.array([0.0, 0.01, 0.09]), 0.5), [1 / 6, 1 / 6 + 1 / 8, 1 / 6 + 3 / 8]
    )
    np.testing.assert_allclose(balanced_weights(np.zeros(4), 0.9), 0.25)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_an_epoch(world):
    samplers = [PairSampler(10, rank=rank, world=world, seed=5) for rank in range(world)]
    draws = [list(sampler) for sampler in samplers]
    assert len({len(part) for part in draws}) == 1 and len(draws[0]) == len(samplers[0]) == 10 // world
    turns = sorted(draw.turn for part in draws for draw in part)
    assert turns == list(range(10 // world * world))
    pairs = [draw.pair for part in draws for draw in part]
    assert len(set(pairs)) == len(pairs)
    whole = list(PairSampler(10, seed=5))
    assert all(draw == whole[draw.turn] for part in draws for draw in part)  # as one process would see it


def test_epochs_differ_and_repeat():
    sampler = PairSampler(20, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler) and [d.pair for d in first] != [d.pair for d in second]
    assert {d.epoch for d in second} == {1}
    assert [d.pair for d in PairSampler(4, shuffle=False)] == [0, 1, 2, 3]


def test_an_interrupted_epoch_goes_on():
    sampler = PairSampler(9, seed=1, world=2, rank=1)
    whole = list(sampler)
    sampler.set_epoch(0, start=3)
    assert len(sampler) == 1 and list(sampler) == whole[3:]
    assert list(sampler) == whole


def test_weighted_draws_follow_the_weights():
    weights = np.array([0.7, 0.1, 0.1, 0.1])
    drawn = [draw.pair for draw in PairSampler(4, weights=weights, draws=4000, seed=2)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, weights, atol=0.03)
    assert len(list(PairSampler(3, draws=8))) == 8
