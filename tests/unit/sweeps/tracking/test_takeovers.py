"""What a trial has taken over, in the tags of its run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tracked_sweeps import Store

from sweeps.tracking.queries import best_trials, trial_record
from sweeps.tracking.takeovers import TAKEOVERS_TAG, Takeover, read_takeovers, takeovers_tag

FIRST: dict[str, Any] = {
    "donor": 3,
    "examples": 80,
    "settings": {"dropout": 0.2},
    "at": 1_000,
    "best": {"accuracy": 0.8},
}
SECOND = {**FIRST, "donor": 1, "examples": 160, "settings": {"dropout": 0.25}}


def test_a_tag_is_read_as_it_was_written() -> None:
    tags = {TAKEOVERS_TAG: takeovers_tag([FIRST, SECOND])}
    taken = read_takeovers(tags)
    assert taken == (
        Takeover(3, 80, {"dropout": 0.2}, 1_000),
        Takeover(1, 160, {"dropout": 0.25}, 1_000),
    )
    assert read_takeovers({}) == ()


@pytest.mark.parametrize("taken", [[], [FIRST, SECOND]])
def test_a_trial_has_the_settings_that_it_took_over_last(
    taken: list[dict[str, object]], store: Store
) -> None:
    client, experiment = store
    run_id = client.create_run(experiment).info.run_id
    client.log_param(run_id, "dropout", "0.5")
    client.log_param(run_id, "cell", "gru")
    for name, value in (("sweep.role", "trial"), ("sweep.trial", "0")):
        client.set_tag(run_id, name, value)
    if taken:
        client.set_tag(run_id, TAKEOVERS_TAG, takeovers_tag(taken))
    record = trial_record(client.get_run(run_id))
    assert record.parameters["dropout"] == (0.25 if taken else 0.5)
    assert record.parameters["cell"] == "gru"
    assert [each.donor for each in record.takeovers] == [each["donor"] for each in taken]
    for examples, inherited in ((160, True), (200, False)):
        metrics = {"best/examples": float(examples)}
        assert replace(record, metrics=metrics).has_inherited_best == (bool(taken) and inherited)


def test_of_equals_the_one_whose_own_settings_led_there_is_first(store: Store) -> None:
    client, experiment = store
    for number, tag in ((0, takeovers_tag([FIRST])), (1, None)):
        run_id = client.create_run(experiment).info.run_id
        tags = {"sweep.role": "trial", "sweep.trial": str(number), "sweep.outcome": "completed"}
        for name, value in (tags | ({TAKEOVERS_TAG: tag} if tag else {})).items():
            client.set_tag(run_id, name, value)
        client.log_metric(run_id, "best/valid/accuracy", 0.8)
        client.log_metric(run_id, "best/examples", 80)
        client.set_terminated(run_id)
    records = [trial_record(run) for run in client.search_runs([experiment])]
    assert [trial.key for trial in best_trials(records, "valid/accuracy")] == [1, 0]
