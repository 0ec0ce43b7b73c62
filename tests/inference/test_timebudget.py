"""`--time-budget`: the time left goes into augmentation, and every tile is one thing or the other, whole."""

import heapq

import numpy as np
import pytest
import rasterio
from memory_pair import MemoryPair
from model_files import card_for, trained
from pairs import make_pair

from cdengine.errors import ResumeMismatchError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.inference.augment import VIEWS, Augmented
from cdengine.inference.detect import detect
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.journal import Journal
from cdengine.inference.layers import LayerFormat
from cdengine.inference.options import DetectOptions
from cdengine.inference.run import Runner
from cdengine.inference.tiles import Tiling
from cdengine.inference.timebudget import Pace, TimeBudgeted, reserve_s
from cdengine.models.modelfile import save_model


class Clock:
    now = 100.0  # no start of a clock is zero

    def __call__(self):
        return self.now


class Slow:
    """Takes `cost` seconds of the clock for a tile; what it says depends on where north is."""

    name, classes, margin, threshold = "slow", (), 0, 0.5

    def __init__(self, clock, cost=1.0, fits=99):
        self.clock, self.cost, self.fits = clock, cost, fits

    def prepare(self, source, reporter):
        pass

    def predict(self, before, after, valid):
        if len(valid) > self.fits:
            raise BatchTooLarge("too many")
        self.clock.now += self.cost * len(valid)
        ramp = np.linspace(0, 1, valid.shape[-2], dtype=np.float32)[:, None]
        return np.broadcast_to(ramp, (len(valid), 1, *valid.shape[1:])).astype(np.float32)

    def describe(self):
        return {"seen": 1.0}


TILE = (np.zeros((1, 3, 8, 8)), np.zeros((1, 3, 8, 8)), np.ones((1, 8, 8), bool))


def work(budget, tiles, mode="six", cost=1.0, batch=1, drift=None, reserve=0.0):
    """All tiles of a job one after the other: the answers, the seconds, the detector, and what was said."""
    clock, sink = Clock(), CollectSink()
    slow = Slow(clock, cost)
    began = clock.now
    budgeted = TimeBudgeted(
        Augmented(slow, mode), budget, Reporter(sink), began=began, reserve=reserve, clock=clock
    )  # fmt: skip
    budgeted.expect(tiles, 1)
    answers = []
    for first in range(0, tiles, batch):
        if drift is not None:
            slow.cost = drift(first)
        stack = [np.repeat(part, min(batch, tiles - first), 0) for part in TILE]
        answers += list(budgeted.predict(*stack))
    said = [(event["level"], event["message"]) for event in sink.events]
    return answers, clock.now - began, budgeted, said


def kinds(answers, mode="six"):
    """ "a" for the mean over the views, "p" for the plain prediction; anything else fails."""
    plain = Slow(Clock()).predict(*TILE)[0]
    mean = Augmented(Slow(Clock()), mode).predict(*TILE)[0]
    assert not np.allclose(plain, mean)
    found = ["a" if np.array_equal(one, mean) else "p" if np.array_equal(one, plain) else "?" for one in answers]
    assert "?" not in found
    return "".join(found)


def test_with_time_enough_every_tile_has_augmentation():
    answers, seconds, budgeted, said = work(budget=1000, tiles=20)
    assert kinds(answers) == "a" * 20
    assert seconds == 2 + 20 * 6  # two plain predictions to know what a tile costs
    assert budgeted.counts() == {"tiles": 20, "tta_tiles": 20}
    assert [level for level, _ in said] == ["info"]


@pytest.mark.parametrize("mode", list(VIEWS))
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("budget", [210.0, 300.0, 450.0, 700.0])
def test_the_budget_is_used_and_kept(budget, batch, mode):
    answers, seconds, budgeted, _ = work(budget, tiles=200, mode=mode, batch=batch, reserve=5.0)
    views = len(VIEWS[mode])
    with_views = kinds(answers, mode).count("a")
    assert budgeted.counts()["tta_tiles"] == with_views
    assert with_views % batch == 0
    assert seconds <= budget - 5
    affordable = min(200, (budget - 5 - 200 - 2 * batch) / (views - 1))
    assert with_views >= affordable - 2 * batch


def test_augmented_tiles_are_spread_over_the_job():
    found = kinds(work(budget=455, tiles=200)[0])
    quarters = [found[at : at + 50].count("a") for at in range(0, 200, 50)]
    assert sum(quarters) == pytest.approx(50, abs=2)
    assert max(quarters) - min(quarters) <= 2


def test_a_machine_that_slows_down_is_answered():
    """Twice as slow from the middle on: what was spent before leaves time enough."""
    answers, seconds, _, said = work(budget=600, tiles=200, drift=lambda tile: 1.0 if tile < 100 else 2.0)
    found = kinds(answers)
    assert seconds <= 600 * 1.02
    assert found[:100].count("a") > 20 > found[100:].count("a")
    assert not [message for level, message in said if level == "warning"]


def test_a_budget_that_nothing_can_keep_is_told_at_once():
    answers, seconds, budgeted, said = work(budget=50, tiles=200)
    assert kinds(answers) == "p" * 200 and seconds == 201  # the measured prediction is the first tile's
    warnings = [message for level, message in said if level == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("--time-budget 50: cannot be kept; without any further test-time augmentation")
    assert "about 201 s in all" in warnings[0]
    budgeted.tell()
    assert budgeted._reporter._sink.events[-1]["message"].startswith("test-time augmentation (six): 0 of 200 tiles")


def test_tiles_without_a_pixel_leave_their_time_to_the_others():
    clock = Clock()
    budgeted = TimeBudgeted(Augmented(Slow(clock), "six"), 70, Reporter(CollectSink()), began=clock.now, clock=clock)
    budgeted.expect(60, 1)
    budgeted.skip(50)
    assert kinds([budgeted.predict(*TILE)[0] for _ in range(10)]) == "a" * 10


def test_a_batch_that_did_not_fit_is_not_counted():
    clock = Clock()
    slow = Slow(clock, fits=1)
    budgeted = TimeBudgeted(Augmented(slow, "flip"), 1000, Reporter(CollectSink()), began=clock.now, clock=clock)
    budgeted.expect(4, 1)
    with pytest.raises(BatchTooLarge):
        budgeted.predict(*(np.repeat(part, 4, 0) for part in TILE))
    answers = [budgeted.predict(*TILE)[0] for _ in range(4)]
    assert kinds(answers, "flip") == "aaaa"
    assert budgeted.counts() == {"tiles": 4, "tta_tiles": 4}
    assert budgeted._pace.remaining == 0


def test_the_rest_is_the_detectors():
    inner = Augmented(Slow(Clock()), "six")
    inner.detector.tile = inner.tile = 96
    budgeted = TimeBudgeted(inner, 60, Reporter(CollectSink()), began=0, earlier={"tiles": 7, "tta_tiles": 3})
    assert (budgeted.name, budgeted.classes, budgeted.margin, budgeted.threshold) == ("slow", (), 0, 0.5)
    assert budgeted.tile == 96 and not hasattr(budgeted, "batch")
    expected = {"seen": 1.0, "tta": "six", "time_budget_s": 60, "tiles": 7, "tta_tiles": 3}
    assert budgeted.describe() == expected


# ---------------------------------------------------------------- several calls at a time
def simulate(pace, tiles, threads, plain, augmented, gap=0.0, start=0.0):
    """Threads that take tiles as they get free, `gap` seconds of the feeding between two; the end and the choices."""
    free = [(start, thread) for thread in range(threads)]
    running, choices, feeder, end = [], [], start, start
    while len(choices) < tiles:
        now, thread = heapq.heappop(free)
        now = feeder = max(now, feeder + gap)
        while running and running[0][0] <= now:
            done, _, call, took = heapq.heappop(running)
            pace.measured(took, 1, augmented=call.augmented)
            pace.finish(call, done)
        call = pace.start(1, now)
        if pace.plain is None:
            pace.measured(plain, 1, augmented=False)
        choices.append(pace.decide(call, now))
        took = augmented if choices[-1] else plain
        heapq.heappush(running, (now + took, len(choices), call, took))
        heapq.heappush(free, (now + took, thread))
        end = max(end, now + took)
    return end, choices


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("budget", [80.0, 150.0, 300.0])
def test_concurrent_calls_share_the_clock(threads, budget):
    pace = Pace(6, deadline=budget)
    pace.threads, pace.remaining = threads, 100
    end, choices = simulate(pace, 100, threads, plain=0.5, augmented=3.0)
    affordable = (budget * threads - 50) / 2.5
    assert sum(choices) == pytest.approx(min(100, affordable), rel=0.06)
    assert end <= budget * 1.02 or sum(choices) == 0


def test_a_slow_reader_is_reckoned_with():
    """Plain tiles take 0.1 s, but come every second only: two threads have time for views, not for haste."""
    pace = Pace(6, deadline=130)
    pace.threads, pace.remaining = 2, 100
    end, choices = simulate(pace, 100, 2, plain=0.1, augmented=0.6, gap=1.0)
    assert end < 105 and sum(choices) > 20
    late = Pace(6, deadline=60)
    late.threads, late.remaining = 2, 100
    simulate(late, 100, 2, plain=0.1, augmented=0.6, gap=1.0)
    assert late.end(100) > 60


def test_time_for_writing_is_set_aside():
    few, many = {"change": "c.tif"}, {"change": "c.tif", "probability": "p.tif", "report": "r.html"}
    assert 1 < reserve_s(20_000_000, few, 100) < reserve_s(20_000_000, many, 100) < 20
    assert reserve_s(20_000_000, few, 100, cog=True) > reserve_s(20_000_000, few, 100)
    assert reserve_s(10**9, many, 8) == 4  # never more than half


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_budget": 60}, r"--time-budget 60 says how long .* give --tta too \(flip, six, d4\)"),
        ({"time_budget": 0, "tta": "six"}, "--time-budget 0: a number of seconds, more than 0"),
        ({"time_budget": float("nan"), "tta": "six"}, "more than 0"),
        ({"time_budget": "1h", "tta": "six"}, "'1h'"),
    ],
)
def test_a_senseless_budget_is_refused(options, said):
    with pytest.raises(UsageError, match=said) as caught:
        DetectOptions.of("cva", options)
    assert caught.value.exit_code == 2


def test_the_job_stays_the_job_with_other_seconds():
    def facts(**of):
        return DetectOptions.of("cva", {"tta": "six", **of}).fingerprint()

    assert facts(time_budget=10) == facts(time_budget=20) != facts()
    assert "time_budget" not in facts()  # journals of before the option stay valid


# ---------------------------------------------------------------- with the runner
def test_the_runner_announces_tiles_and_skips(scene, tmp_path):
    """The hole at the right is not computed; the journal keeps the figures of finished bands."""
    before, after, valid = scene
    clock = Clock()
    budgeted = TimeBudgeted(Augmented(Slow(clock), "flip"), 1e6, Reporter(CollectSink()), began=clock.now, clock=clock)
    tiling = Tiling.of(*valid.shape, 64, 32, 0)
    journal = Journal(tmp_path / "j", {}, resume=False)
    runner = Runner(budgeted, MemoryPair(before, after, valid), tiling, LayerFormat(0, 0.5), budget=budgeted)
    runner.run(journal, Reporter(CollectSink()))
    counts = budgeted.counts()
    assert counts["tiles"] == counts["tta_tiles"] < len(tiling.rows.starts) * len(tiling.cols.starts)
    assert budgeted._pace.remaining == 0
    kept = Journal(tmp_path / "j", {}, resume=True).settings
    assert {name: kept[name] for name in counts} == counts


# ---------------------------------------------------------------- for real
@pytest.fixture
def model(tmp_path):
    card = card_for(
        "bisrnet", classes=("wood", "water", "built"), tile=64, margin=8, arguments={"backbone": "resnet18"}
    )
    path = tmp_path / "model.safetensors"
    save_model(path, trained(card), card)
    return path


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(1), file.tags()


def run(folder, model, name, **options):
    sink = CollectSink()
    result = detect(
        folder / "before.tif", folder / "after.tif", folder / f"{name}.tif", model, device="cpu",
        probability=folder / f"{name}_p.tif", reporter=Reporter(sink), **options,
    )  # fmt: skip
    return result, [event["message"] for event in sink.events if event["event"] == "log"]


def test_a_real_model_within_and_without_its_budget(tmp_path, model):
    make_pair(tmp_path, bands=3, size=(128, 128))
    plain, _ = run(tmp_path, model, "plain")
    full, _ = run(tmp_path, model, "full", tta="six")
    ample, said = run(tmp_path, model, "ample", tta="six", time_budget=600)
    short, warned = run(tmp_path, model, "short", tta="six", time_budget=0.05)
    tiles = ample.stats["tiles"]
    assert (ample.stats["tta_tiles"], short.stats["tta_tiles"], short.stats["tiles"]) == (tiles, 0, tiles)
    assert tiles == 9 and "tiles" not in full.stats
    assert any(f"{tiles} of {tiles} tiles within --time-budget 600" in message for message in said)
    assert any("cannot be kept" in message for message in warned)
    same = ((ample, full), (short, plain))
    for one, other in same:
        found, tags = pixels(one.outputs["probability"])
        assert np.array_equal(found, pixels(other.outputs["probability"])[0], equal_nan=True)
        assert (tags["CDENGINE_TILES"], tags["CDENGINE_TTA"]) == (str(tiles), "six")
        assert tags["CDENGINE_TTA_TILES"] == str(one.stats["tta_tiles"])
        assert '"time_budget": ' in tags["CDENGINE_PARAMETERS"]
    again, _ = run(tmp_path, model, "short", tta="six", time_budget=9, resume=True)
    assert (again.stats["tiles"], again.stats["tta_tiles"]) == (tiles, 0)  # finished: read from the file


def test_an_interrupted_run_goes_on_with_another_budget(tmp_path, model, monkeypatch):
    make_pair(tmp_path, bands=3, size=(128, 128))
    full, _ = run(tmp_path, model, "full", tta="flip")
    write = Journal.write

    def dies(journal, band, layers):
        if band == 1:
            raise RuntimeError("killed")
        write(journal, band, layers)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", dies)
        with pytest.raises(RuntimeError):
            run(tmp_path, model, "cut", tta="flip", time_budget=0.05, resume=True)
    with pytest.raises(ResumeMismatchError, match="time_budget"):
        run(tmp_path, model, "cut", tta="flip", resume=True)
    result, said = run(tmp_path, model, "cut", tta="flip", time_budget=600, resume=True)
    assert any("counts anew" in message for message in said)
    assert 0 < result.stats["tta_tiles"] < result.stats["tiles"]
    found, wanted = pixels(result.outputs["probability"])[0], pixels(full.outputs["probability"])[0]
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    assert np.array_equal(found[-32:], wanted[-32:])  # far from the first bands all is as with full augmentation
    assert not np.array_equal(found[:32], wanted[:32])
