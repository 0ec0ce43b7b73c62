"""The small data set and networks, for every test of training."""

import pytest
import small_training
import torch

from cdengine.events import CollectSink, Reporter
from cdengine.models import zoo
from cdengine.training.fit import train


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return small_training.make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setitem(zoo.ARCHITECTURES, small_training.TINY, small_training.TinyNet)
    monkeypatch.setitem(zoo.ARCHITECTURES, "tiny-bn", small_training.BatchNormed)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Of the runs that other fixtures make, too: sums of another number of threads differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(pairs, tmp_path_factory):
    """An uninterrupted run with everything switched on, and its events."""
    folder = tmp_path_factory.mktemp("finished")
    sink = CollectSink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(zoo.ARCHITECTURES, "tiny-bn", small_training.BatchNormed)
        config = small_training.config(
            pairs, folder / "run", trainer={"accumulate": 2}, model={"architecture": "tiny-bn"}
        )
        result = train(config, Reporter(sink))
    return config, result, sink.events
