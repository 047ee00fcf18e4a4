from __future__ import annotations

from xml.etree import ElementTree

from tracked_sweeps import Store, evaluation, parameters, start

from sweeps.analysis.sweep_data import read_sweep
from sweeps.reporting.live.chart import running_chart
from sweeps.tracking.queries import find_sweep


def test_curves_of_running_and_ended_trials(store: Store) -> None:
    client, experiment_id = store
    tracker = start(store)
    assert running_chart(read_sweep(client, find_sweep(client, [experiment_id]))) is None
    for number, name in enumerate(("<b>ended</b>", "runs")):
        tracker.start_trial(number, parameters(), name)
        tracker.trial(number).log_evaluation(1000, evaluation(0.5))
        tracker.trial(number).log_evaluation(2000, evaluation(0.75, 0.5))
    tracker.flush()
    first = running_chart(read_sweep(client, find_sweep(client, [experiment_id])))
    assert "best so far" in str(first)  # before any trial has ended
    tracker.trial(0).log_evaluation(3000, evaluation(float("nan"), 0.75))
    tracker.trial(0).end("completed", metrics={"best/valid/accuracy": 0.75}, step=2000)
    tracker.flush()
    chart = running_chart(read_sweep(client, find_sweep(client, [experiment_id])))
    tracker.end("finished")
    assert chart is not None
    drawn = ElementTree.fromstring(str(chart))
    ended, running = drawn.findall("polyline")
    assert (ended.get("stroke"), running.get("stroke")) == ("var(--grey)", "var(--sky)")
    assert [each.findtext("title") for each in (ended, running)] == [
        "000 <b>ended</b>",
        "001 runs",
    ]
    # The value that is none is left out; the others lie at the same places.
    assert ended.get("points") == running.get("points")
    (left, low), (right, high) = (
        map(float, point.split(",")) for point in str(ended.get("points")).split()
    )
    assert left < right
    assert low > high  # y grows downwards
    (best,) = (line for line in drawn.findall("line") if line.get("stroke-dasharray"))
    assert (best.get("y1"), best.get("y2")) == (f"{high}", f"{high}")
    texts = [text.text for text in drawn.findall("text")]
    assert "001" in texts
    assert "000" not in texts
    assert {"best so far", "training examples seen"} <= set(texts)
