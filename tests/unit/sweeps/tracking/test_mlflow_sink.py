from __future__ import annotations

from pathlib import Path

import pytest
from tracked_sweeps import Store, parameters, start

from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.outbox import Entry, Outbox
from sweeps.tracking.queries import trials_of
from sweeps.tracking.roles import ROLES, Role


@pytest.mark.parametrize("role", ROLES)
def test_run_of_every_role_is_found_again(store: Store, tmp_path: Path, role: Role) -> None:
    """A kill came after a run was made, and before the outbox knew of it."""
    client, _ = store
    key = 0 if role == "trial" else f"{role}-000"
    tracker = start(store)
    tracker.start_trial(key, parameters(), "x", role=role)
    run_id = tracker.run_of(key)
    sink = MlflowSink(client, tracker.run_id, Outbox(tmp_path))
    tags = client.get_run(run_id).data.tags
    entry = Entry(1, "start", key, {"name": "x", "tags": tags, "at": 1_000})
    sink.deliver(entry, True, lambda request, again=False: request(again))
    assert sink.lookup.run_of(key) == run_id
    tracker.end("interrupted")
    assert [trial.run_id for trial in trials_of(client, client.get_run(tracker.run_id))] == [run_id]
