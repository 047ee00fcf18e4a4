"""Refit: the best finalist's settings, trained once more on train and validation together."""

from __future__ import annotations

from sentiment.config import Config
from sentiment.training.prepared_data import prepare
from sentiment.training.refit import refit_config, refit_data
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.pipeline.running import RunningSweep
from sweeps.tracking.queries import best_finalists, refit_key, trial_number
from sweeps.tracking.roles import Role

ROLE: Role = "refit"


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without it."""
    settings = context.settings
    if not settings.finalist_count or not settings.refit:
        return None
    return StagePlan(
        "refit",
        ["refit: the best finalist again on train and validation together"],
        estimator.finalists(context.space, 1, settings.finalist_epochs) if estimator else 0.0,
    )


def refit_winner(running: RunningSweep) -> None:
    """Train the best finalist again on train and validation, for as many passes as were best."""
    context, settings = running.context, running.context.settings
    finalists = best_finalists(running.trials(), settings.objective)
    if not settings.finalist_count or not settings.refit or not finalists:
        return
    best = finalists[0]
    key, ended = refit_key(trial_number(best)), context.ended_runs(ROLE)
    if key in ended or best.model_id is None:
        return
    context.notify(f"refit: {best.name} on train and validation together")
    examples = len(context.dataset.splits["train"].texts)
    config = refit_config(
        Config.from_flat(best.parameters), int(best.metrics["best/examples"]), examples
    )
    metadata = running.load_model(best.model_id).metadata
    prepared = prepare(context.dataset, [config], progress=context.notify)
    data = refit_data(prepared, config, metadata, context.notify)
    running.executor_of(data).run_configs(
        {key: config}, folder=ROLE, role=ROLE, objective="train/loss", ended=ended
    )
    running.tracker.flush()
