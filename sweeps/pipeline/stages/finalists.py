"""Finalists: the best settings of the search, trained again to a longer budget with n-grams.

Trials of the search are RNNs alone: beside the n-gram branch, which is the same in all of them,
their differences are lost in noise (docs/decisions/0024-search-compares-rnns.md).
"""

from __future__ import annotations

from sentiment.config import Config
from sentiment.training.prepared_data import prepare
from sentiment.wording import counted
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.pipeline.running import RunningSweep
from sweeps.tracking.queries import (
    best_trials,
    differing_settings,
    finalist_key,
    trial_number,
    within_limits,
)
from sweeps.tracking.roles import Role

ROLE: Role = "finalist"
EVALUATIONS = {"evaluations_per_epoch": 4, "early_evaluations": 0}


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without finalists."""
    settings = context.settings
    count = settings.finalist_count
    if not count:
        return None
    branch = (
        f", with n-grams of up to {counted(settings.ngrams, 'word')}" if settings.ngrams else ""
    )
    epochs = settings.finalist_epochs
    return StagePlan(
        "finalists",
        [f"finalists: the best {count} settings again for {epochs:g} epochs{branch}"],
        estimator.finalists(context.space, count, epochs) if estimator else 0.0,
    )


def train_finalists(running: RunningSweep) -> None:
    """Train the best settings of the search to the budget of a finalist."""
    context = running.context
    settings = context.settings
    ranked = best_trials(running.trials(), settings.objective)
    ranked = within_limits(ranked, settings.objectives.limits)
    best = differing_settings(ranked, context.space.discrete, settings.finalist_count)
    if not best:
        return
    configs = {
        finalist_key(trial_number(trial)): Config.from_flat(
            {
                **trial.parameters,
                **EVALUATIONS,
                "epochs": settings.finalist_epochs,
                "ngrams": settings.ngrams,
            }
        )
        for trial in best
    }
    context.notify(f"finalists: {', '.join(trial.name for trial in best)}")
    ended = context.ended_runs(ROLE)
    if all(key in ended for key in configs):
        return
    prepared = prepare(context.dataset, list(configs.values()), progress=context.notify)
    progress = running.executor_of(prepared).run_configs(
        configs, folder=ROLE, role=ROLE, objective=settings.objective, ended=ended
    )
    running.tracker.flush()
    for state in progress.trials.values():
        if state.outcome == "completed":
            value = state.best[settings.objective]
            context.notify(f"  {state.key} {state.name}: {settings.objective} {value:.4f}")
