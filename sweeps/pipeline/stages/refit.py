"""Refit: chosen settings, trained once more on train and validation together."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.config import Config
from sentiment.training.prepared_data import prepare
from sentiment.training.refit import refit_config, refit_data
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.pipeline.running import RunningSweep
from sweeps.tracking.queries import TrialRecord, best_finalists, refit_key, within_limits
from sweeps.tracking.roles import Role

ROLE: Role = "refit"


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without it."""
    settings = context.settings
    if not settings.finalist_count or not settings.refit:
        return None
    count = max(settings.ensemble, 1)
    what = "the best finalist" + (", or each member of the ensemble," if count > 1 else "")
    return StagePlan(
        "refit",
        [f"refit: {what} again on train and validation together"],
        estimator.finalists(context.space, count, settings.finalist_epochs) if estimator else 0.0,
    )


def refit_runs(running: RunningSweep, members: Sequence[TrialRecord] = ()) -> None:
    """Train settings again on train and validation, each for as many passes as were best.

    Args:
        running: the sweep.
        members: finalists and trials that are an ensemble; the best finalist alone, if none.
    """
    context, settings = running.context, running.context.settings
    finalists = best_finalists(running.trials(), settings.objective)
    finalists = within_limits(finalists, settings.objectives.limits)
    if not _is_wanted(running, finalists):
        return
    runs, ended = members or finalists[:1], context.ended_runs(ROLE)
    left = [run for run in runs if refit_key(run) not in ended]
    if not left or any(run.model_id is None for run in left):
        return
    context.notify(f"refit: {', '.join(run.name for run in left)} on train and validation together")
    texts = len(context.dataset.splits["train"].texts)
    configs = {
        refit_key(run): refit_config(
            Config.from_flat(run.parameters), int(run.metrics["best/examples"]), texts
        )
        for run in runs
    }
    metadata = [running.load_model(str(run.model_id)).metadata for run in left]
    chosen = [configs[refit_key(run)] for run in left]
    prepared = prepare(context.dataset, chosen, progress=context.notify)
    data = refit_data(prepared, list(zip(chosen, metadata, strict=True)), context.notify)
    running.executor_of(data).run_configs(
        configs, folder=ROLE, role=ROLE, objective="train/loss", ended=ended
    )
    running.tracker.flush()


def refits_of(running: RunningSweep, runs: Sequence[TrialRecord]) -> list[TrialRecord | None]:
    """Return the refits of runs, None for one that failed; the runs themselves without refits."""
    trials = running.trials()
    if not _is_wanted(running, best_finalists(trials, running.context.settings.objective)):
        return list(runs)
    refits = {each.key: each for each in trials if each.role == ROLE}
    found = [refits.get(refit_key(run)) for run in runs]
    return [each if each and each.outcome == "completed" else None for each in found]


def _is_wanted(running: RunningSweep, finalists: Sequence[TrialRecord]) -> bool:
    settings = running.context.settings
    return bool(settings.finalist_count and settings.refit and finalists)
