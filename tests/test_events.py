"""Events: shape, pace, ETA, and the cancel flag."""

import io
import json
import threading
import time

import pytest

from cdengine.errors import Cancelled
from cdengine.events import Cancellation, CollectSink, JsonSink, NullSink, Reporter


def test_stage_reports_at_least_once_a_second_while_nothing_advances():
    sink = CollectSink()
    reporter = Reporter(sink)
    with reporter.stage("detect", 10, "px"):
        time.sleep(1.3)
    reporter.close()
    progress = [event for event in sink.events if event["event"] == "progress"]
    assert len(progress) >= 4  # first, two heartbeats, last
    assert set(progress[0]) == {"event", "stage", "done", "total", "unit", "eta_s"}
    assert progress[0]["eta_s"] is None


def test_eta_counts_only_this_runs_work():
    reporter = Reporter(CollectSink())
    with reporter.stage("detect", 100, "px", done=50) as stage:
        assert stage.eta_s is None
        time.sleep(0.2)
        stage.advance(10)
        # 10 units in 0.2 s, 40 left: 0.8 s; at the pace of "60 done in 0.2 s" it would be 0.13 s
        assert 0.7 < stage.eta_s < 1.5


def test_cancel_is_seen_at_the_next_step():
    cancellation = Cancellation()
    reporter = Reporter(CollectSink(), cancellation)
    with pytest.raises(Cancelled), reporter.stage("detect", 2, "tiles") as stage:
        stage.advance()
        cancellation.cancel()
        stage.advance()


def test_json_lines_are_strict_json():
    stream = io.StringIO()
    reporter = Reporter(JsonSink(stream))
    reporter.metric("f1", float("nan"), epoch=3)
    reporter.info("Größe „x“")
    first, second = stream.getvalue().splitlines()
    assert json.loads(first) == {"event": "metric", "epoch": 3, "name": "f1", "value": None}
    assert json.loads(second)["message"] == "Größe „x“"


def test_a_reader_that_went_away_does_not_stop_the_job():
    class Gone(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    reporter = Reporter(JsonSink(Gone()))
    reporter.info("one")
    reporter.info("two")


def test_without_a_sink_warnings_still_reach_stderr(capsys):
    reporter = Reporter(NullSink())
    reporter.info("quiet")
    reporter.warning("the dates differ in season")
    assert capsys.readouterr().err == "warning: the dates differ in season\n"


def test_a_stop_tells_the_way_on_of_the_outermost_job():
    cancellation = Cancellation()
    with cancellation.resumable("--resume CHAIN"):
        with cancellation.resumable("--resume TEACHER"):
            assert cancellation.resume == "--resume CHAIN"
        cancellation.cancel()
        with pytest.raises(Cancelled, match=r"^cancelled: go on with --resume CHAIN$"):
            cancellation.check()
    assert cancellation.resume is None
    with pytest.raises(Cancelled, match="nothing was written"):
        cancellation.check()


def test_cleanups_run_newest_first_and_survive_each_other():
    cancellation, seen = Cancellation(), []

    def fails():
        seen.append("fails")
        raise OSError("busy")

    with cancellation.cleanup(lambda: seen.append("old")), cancellation.cleanup(fails):
        cancellation.run_cleanups()
    cancellation.run_cleanups()
    assert seen == ["fails", "old"]


def test_no_thread_stays_behind_a_job_whose_reporter_nobody_closes():
    reporter = Reporter(CollectSink())
    for _ in range(2):
        with reporter.stage("detect", 1, "px"):
            assert [thread.name for thread in threading.enumerate()].count("cdengine-heartbeat") >= 1
    beating = [thread for thread in threading.enumerate() if thread is reporter._ticker]
    for thread in beating:
        thread.join(3)
    assert reporter._ticker is None
    with reporter.stage("again", 1, "px"):
        assert reporter._ticker is not None and reporter._ticker.is_alive()
    reporter.close()
