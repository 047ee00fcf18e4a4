"""The classical baseline that every sweep is measured against: naive-Bayes n-grams."""

from __future__ import annotations

from sweeps.analysis.classical_comparison import NB_LOGISTIC, ClassicalComparison
from sweeps.analysis.significance import Paired
from sweeps.pipeline.classical import FittedBaseline, fit_nb_logistic, record
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan, nb_logistic_seconds
from sweeps.pipeline.running import RunningSweep
from sweeps.pipeline.stages.choice import Choice, describe_version
from sweeps.tracking.roles import Role

ROLE: Role = "baseline"
MOST_CHARACTERS = 100_000_000
"""Characters of train above which the baseline would take more than minutes."""


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without it."""
    if not context.settings.baseline or NB_LOGISTIC in context.ended_runs(ROLE):
        return None
    if _is_too_large(context):
        return StagePlan("classical baseline", [_TOO_LARGE])
    seconds = nb_logistic_seconds(context.dataset) if estimator else 0.0
    line = f"classical baseline: {NB_LOGISTIC}; --no-baseline leaves it out"
    return StagePlan("classical baseline", [line], seconds)


_TOO_LARGE = f"classical baseline: left out, the texts are too many for {NB_LOGISTIC}"


def compare_classical(running: RunningSweep, choice: Choice) -> ClassicalComparison | None:
    """Train the baseline, and compare the registered model with it on the test split.

    Returns:
        The comparison; None without a winner or a baseline.
    """
    context, tracker = running.context, running.tracker
    winner = choice.winner
    if not context.settings.baseline or winner is None:
        return None
    if _is_too_large(context):
        context.notify(_TOO_LARGE)
        return None
    known = NB_LOGISTIC in context.ended_runs(ROLE)
    predicted = choice.test_predictions
    if known and predicted is None:
        # The winner is the one that was compared before.
        metrics = tracker.ask(lambda: tracker.client.get_run(tracker.run_id)).data.metrics
        compared = ClassicalComparison.from_metrics(metrics)
        if compared is not None:
            return compared
    context.notify(f"classical baseline: {NB_LOGISTIC}")
    fitted = _fit(running, known)
    if isinstance(fitted, str):
        context.notify(fitted)
        return None
    if predicted is None:
        if winner.model_id is None:
            return None
        predicted = running.predict_test(winner.model_id)
    labels = context.dataset.splits["test"].labels
    hits = predicted.log_probabilities.argmax(axis=1) == labels
    comparison = ClassicalComparison.of(Paired.of(hits, fitted.hits))
    tracker.sweep.log_metrics(comparison.metrics())
    describe_version(running, choice, comparison=comparison)
    return comparison


def _fit(running: RunningSweep, recorded: bool) -> FittedBaseline | str:
    """Fit the baseline; it is recorded once."""
    context = running.context
    text, seed = context.configs()[0].text, context.settings.seed

    def fit() -> FittedBaseline:
        return fit_nb_logistic(context.dataset, text, seed)

    if not recorded:
        return record(running.tracker, NB_LOGISTIC, context.dataset, seed, fit)
    try:
        return fit()
    except Exception as error:  # noqa: BLE001 - reported; the sweep continues without the baseline
        return f"{NB_LOGISTIC} failed: {error}"


def _is_too_large(context: SweepContext) -> bool:
    return sum(map(len, context.dataset.splits["train"].texts)) > MOST_CHARACTERS
