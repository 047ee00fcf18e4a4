"""Seed replicates: the winner's settings trained again with other seeds."""

from __future__ import annotations

from sentiment.training.prepared_data import prepare
from sentiment.wording import counted
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.seed_replicates import Confirmation, confirmation_configs, summarize
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.pipeline.running import RunningSweep
from sweeps.pipeline.stages.choice import Choice, describe_version
from sweeps.tracking.queries import TrialRecord, trial_number


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without seeds."""
    seeds = context.settings.final_seeds
    if not seeds:
        return None
    return StagePlan(
        "confirmation",
        [f"then the winner's settings again with {counted(seeds, 'seed')}"],
        estimator.confirmation(context.space, seeds) if estimator else 0.0,
    )


def replicate_seeds(
    running: RunningSweep, choice: Choice, comparison: ClassicalComparison | None
) -> Confirmation | None:
    """Train the winner's settings with other seeds, and describe its version by the spread.

    Returns:
        The spread of the metrics; None without a winner or without seeds.
    """
    if choice.chosen is None or not running.context.settings.final_seeds:
        return None
    confirmation = _train(running, choice.chosen)
    describe_version(running, choice, comparison, confirmation)
    return confirmation


def _train(running: RunningSweep, winner: TrialRecord) -> Confirmation:
    """Train the replicates, and score those on the test split that have no score yet."""
    context, tracker = running.context, running.tracker
    configs = confirmation_configs(winner, context.settings.final_seeds)
    context.notify(f"confirmation: {winner.name} with {counted(len(configs), 'other seed')}")
    prepared = prepare(context.dataset, list(configs.values()), progress=context.notify)
    running.executor_of(prepared).run_configs(
        configs,
        folder="confirmation",
        role="confirmation",
        objective=context.settings.objective,
        tags={"sweep.trial": str(trial_number(winner))},
        ended=context.ended_runs("confirmation"),
    )
    tracker.flush()
    for run in running.trials():
        # One that was interrupted between its training and this has no score yet.
        if run.key in configs and run.outcome == "completed" and "test/loss" not in run.metrics:
            assert run.model_id is not None, "a run that was evaluated has a model"
            test = running.score_test(run.model_id).metrics("test")
            tracker.trial(run.key).log_model_metrics(test, int(run.metrics["best/examples"]))
    tracker.flush()
    confirmation = summarize(running.trials(), list(configs))
    tracker.sweep.log_metrics(confirmation.metrics())
    return confirmation
