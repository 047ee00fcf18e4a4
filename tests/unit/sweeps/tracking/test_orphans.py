from __future__ import annotations

import subprocess
import sys

from tracked_sweeps import Store

from sentiment.tracking.provenance import process_tags
from sentiment.tracking.runs import create_run
from sweeps.tracking.orphans import close_orphans


def test_orphans_of_dead_processes_are_closed(store: Store) -> None:
    client, experiment_id = store
    # A process that starts a sweep and a trial, and then is no more.
    code = f"""
import os
from sentiment.tracking.store import open_store
from sweeps.tracking.tracker import SweepTracker
client, experiment_id = open_store({client.tracking_uri!r})
tracker = SweepTracker.start(client, experiment_id, "dead", objective="valid/loss", parameters={{}},
                             precision="float32", space_yaml="")
tracker.start_trial(0, {{}}, "x")
print(tracker.run_id, tracker.run_of(0), flush=True)
os._exit(9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    sweep, trial = done.stdout.split()
    live = create_run(client, experiment_id, "live", tags={}, parameters={})
    elsewhere = create_run(
        client,
        experiment_id,
        "elsewhere",
        tags={**process_tags(), "process.host": "another-machine", "process.pid": "1"},
        parameters={},
    )

    assert sorted(close_orphans(client)) == sorted([sweep, trial])

    ended = client.get_run(sweep)
    assert (ended.info.status, ended.data.tags["sweep.state"]) == ("KILLED", "interrupted")
    assert "ended without closing it" in ended.data.tags["closed.reason"]
    ended = client.get_run(trial)
    assert (ended.info.status, ended.data.tags["sweep.outcome"]) == ("KILLED", "interrupted")
    assert client.get_run(live).info.status == "RUNNING"
    assert client.get_run(elsewhere).info.status == "RUNNING"
    assert close_orphans(client) == []
