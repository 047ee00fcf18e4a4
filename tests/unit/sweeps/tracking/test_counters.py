from __future__ import annotations

from tracked_sweeps import Store, parameters, start

from sweeps.tracking.queries import best_trials, find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker


def test_metrics_of_the_sweep_count_trials_ended(store: Store, swept: SweepTracker) -> None:
    def history(name: str) -> list[tuple[int, float]]:
        found = store[0].get_metric_history(swept.run_id, name)
        return [(metric.step, metric.value) for metric in found]

    # The baseline is no trial of the search: it neither counts nor is the best.
    assert history("sweep/best") == [(1, 0.5), (2, 0.875), (3, 0.875)]
    assert history("sweep/completed") == [(1, 0), (2, 1), (3, 1)]
    assert history("sweep/stopped_early") == [(1, 1), (2, 1), (3, 1)]
    assert history("sweep/failed") == [(1, 0), (2, 0), (3, 1)]


def test_smaller_is_better_for_a_loss(store: Store) -> None:
    tracker = start(store, objective="valid/loss")
    for number, loss in enumerate((0.5, 0.25, 0.375)):
        tracker.start_trial(number, parameters(), "x")
        tracker.trial(number).end("completed", metrics={"best/valid/loss": loss})
    tracker.end("finished")
    history = store[0].get_metric_history(tracker.run_id, "sweep/best")
    assert [metric.value for metric in history] == [0.5, 0.25, 0.25]
    trials = trials_of(store[0], find_sweep(store[0], [store[1]]))
    assert [trial.key for trial in best_trials(trials, "valid/loss")] == [1, 2, 0]
