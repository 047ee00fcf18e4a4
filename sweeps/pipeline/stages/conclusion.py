"""The conclusion: models that are not kept removed, the sweep described, its report made."""

from __future__ import annotations

import logging
import time

from mlflow import MlflowClient

from sentiment import cli
from sentiment.tracking.experiment import experiment_flag
from sentiment.tracking.http import several_tries
from sentiment.tracking.model_uri import version_of_alias
from sentiment.tracking.registered_name import CHAMPION
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.predictions import Predictions
from sweeps.analysis.seed_replicates import Confirmation
from sweeps.analysis.sweep_data import read_sweep
from sweeps.console.summary import SweepResult
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.running import RunningSweep
from sweeps.pipeline.stages.choice import Choice
from sweeps.reporting import notes
from sweeps.search.flatness import Flatness
from sweeps.tracking.queries import leaderboard
from sweeps.tracking.retention import keep_best_models

_log = logging.getLogger(__name__)


def conclude(
    running: RunningSweep,
    choice: Choice,
    comparison: ClassicalComparison | None,
    confirmation: Confirmation | None,
    flatness: Flatness | None = None,
) -> SweepResult:
    """Remove the models that are not kept, describe the sweep, and close its record."""
    context, tracker = running.context, running.tracker
    client, settings = tracker.client, context.settings
    tracker.flush()
    removed = tracker.ask(
        lambda: keep_best_models(
            client,
            client.get_run(tracker.run_id),
            settings.keep_models,
            settings.objective,
            settings.objectives.limits,
        )
    )
    trials = running.trials()
    tracker.sweep.log_table(leaderboard(trials, settings.objective))
    champion = tracker.ask(lambda: version_of_alias(client, settings.model_name, CHAMPION))
    tracker.sweep.describe(
        notes.ended_sweep(
            running.subject,
            trials,
            choice.winner,
            choice.test,
            choice.version,
            confirmation,
            running.warnings,
            comparison,
        )
    )
    tracker.end("finished")
    return SweepResult(
        name=tracker.name,
        run_id=tracker.run_id,
        trials=trials,
        winner=choice.winner,
        test=choice.test,
        registered=choice.registered,
        champion=int(champion.version) if champion else None,
        seconds=time.monotonic() - context.started,
        asked=settings.trials,
        time_budget=settings.time_budget,
        confirmation=confirmation,
        comparison=comparison,
        objectives=settings.objectives,
        flatness=flatness,
        removed=removed,
        warnings=tuple(running.warnings),
    )


def report(
    context: SweepContext, client: MlflowClient, run_id: str, predictions: Predictions | None
) -> None:
    """Make the report of a sweep that has ended; where that fails, print how to make it.

    Args:
        context: the sweep.
        client: client of the store.
        run_id: the sweep's run.
        predictions: the winner's of the validation split, if they are known already.
    """
    settings = context.settings
    try:
        from sweeps.reporting.publish import publish, where

        with several_tries():
            run = client.get_run(run_id)
            record = read_sweep(client, run)
            publish(client, record, settings.tracking_uri, context.dataset, predictions)
    except Exception as error:  # noqa: BLE001 - the sweep is recorded, whatever a figure does
        _log.warning("the report could not be made", exc_info=error)
        flags = cli.store_flag(settings.tracking_uri) + experiment_flag(settings.experiment)
        context.notify(f"the sweep is recorded; to make its report: python -m sweeps.report{flags}")
        return
    context.notify(f"report: {where(client, run)}")
