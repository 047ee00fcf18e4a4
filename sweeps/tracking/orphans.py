"""Runs left RUNNING that nobody writes to any more: of dead processes, of a record that failed."""

from __future__ import annotations

import logging

from mlflow import MlflowClient

from sentiment.tracking.provenance import is_alive
from sentiment.tracking.runs import close_run
from sweeps.tracking.queries import search_runs

_log = logging.getLogger(__name__)


def close_orphans(client: MlflowClient) -> list[str]:
    """End the runs that dead processes of this machine left RUNNING, and return their ids.

    In all experiments of the store. The runs of live processes and of other machines stay as they
    are.
    """
    closed = []
    experiments = [each.experiment_id for each in client.search_experiments()]
    for found in search_runs(client, experiments, "attributes.status = 'RUNNING'"):
        if is_alive(found.data.tags) is not False:
            continue
        # Read again: it may have been resumed, or closed by its sweep, since the search.
        run = client.get_run(found.info.run_id)
        tags = run.data.tags
        if run.info.status != "RUNNING" or is_alive(tags) is not False:
            continue
        notes = {
            "closed.by": "a later command",
            "closed.reason": f"process {tags['process.pid']} ended without closing it",
        }
        if tags.get("sweep.role") == "sweep":
            notes["sweep.state"] = "interrupted"
        elif "sweep.role" in tags:
            notes["sweep.outcome"] = "interrupted"
        close_run(client, run.info.run_id, "KILLED", tags=notes)
        closed.append(run.info.run_id)
    return closed


def close_open_runs(client: MlflowClient, experiment_id: str, sweep_run_id: str) -> None:
    """End the runs of a sweep whose record has failed, each tried once; what fails is logged.

    The store tells which are open: of a trial that has ended, the end may not be written.

    Args:
        client: client of the store.
        experiment_id: the experiment's id.
        sweep_run_id: the sweep's run.
    """
    try:
        parent = client.get_run(sweep_run_id)
        trials = search_runs(
            client,
            [experiment_id],
            f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{sweep_run_id}'",
        )
        found = [(run.info.run_id, {"sweep.outcome": "interrupted"}) for run in trials]
    except Exception as error:  # noqa: BLE001 - the failure before it is raised
        _log.warning("the sweep's runs may stay open, the store can't be read: %s", error)
        return
    if parent.info.status == "RUNNING":
        found.append((sweep_run_id, {"sweep.state": "interrupted"}))
    for run_id, tags in found:
        try:
            close_run(client, run_id, "KILLED", tags=tags)
        except Exception as error:  # noqa: BLE001 - the failure before it is raised
            _log.warning("the run %s stays open: %s", run_id, error)
