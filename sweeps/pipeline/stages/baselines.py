"""Baselines: the tutorials' recipes, and TF-IDF with logistic regression."""

from __future__ import annotations

from sweeps.pipeline.classical import TFIDF, FittedBaseline, fit_tfidf, record
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan, tfidf_seconds
from sweeps.pipeline.running import RunningSweep
from sweeps.tracking.roles import Role

ROLE: Role = "baseline"


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None if no baseline is left."""
    left = _names_left(context)
    if not left:
        return None
    seconds = 0.0
    if estimator:
        recipes = [recipe.config.flat() for recipe in context.recipes if recipe.name in left]
        seconds = estimator.baselines(recipes, context.dataset)
        if TFIDF in left:
            seconds += tfidf_seconds(context.dataset)
    return StagePlan("baselines", [f"baselines: {', '.join(left)}"], seconds)


def _names_left(context: SweepContext) -> list[str]:
    """Return the names of the baselines that have not ended."""
    if not context.settings.baselines:
        return []
    ended = context.ended_runs(ROLE)
    names = [*(recipe.name for recipe in context.recipes), TFIDF]
    return [name for name in names if name not in ended]


def train_baselines(running: RunningSweep) -> None:
    """Train the recipes, and score them and TF-IDF on the test split; nothing unless asked for."""
    context, tracker = running.context, running.tracker
    if not context.settings.baselines:
        return
    ended = context.ended_runs(ROLE)
    left = [recipe.name for recipe in context.recipes if recipe.name not in ended]
    context.notify(f"baselines: {', '.join([*left, TFIDF])}")
    progress = running.executor.run_configs(
        {recipe.name: recipe.config for recipe in context.recipes},
        folder="baseline",
        role=ROLE,
        objective="valid/loss",
        ended=ended,
    )
    for trial in progress.trials.values():
        if trial.outcome == "completed":
            model_id = tracker.model_of(trial.key)
            assert model_id is not None, "a run that was evaluated has a model"
            scores = running.score_test(model_id)
            tracker.trial(trial.key).log_model_metrics(scores.metrics("test"))
            valid = trial.best["valid/accuracy"]
            context.notify(f"  {trial.name:<28} valid {valid:.4f}  test {scores.accuracy:.4f}")
    if TFIDF not in ended:
        dataset, seed = context.dataset, context.settings.seed
        fitted = record(tracker, TFIDF, dataset, seed, lambda: fit_tfidf(dataset, seed))
        context.notify(fitted if isinstance(fitted, str) else f"  {_line(TFIDF, fitted)}")


def _line(name: str, fitted: FittedBaseline) -> str:
    valid, test = fitted.valid.accuracy, fitted.test.accuracy
    return f"{name:<28} valid {valid:.4f}  test {test:.4f}"
