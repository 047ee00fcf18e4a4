"""The choice: the winner by validation, scored once on the test split, and registered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sentiment.data.diagnosis import LAUNCH, answer_warnings
from sentiment.data.sources import absolute
from sentiment.errors import InputError
from sentiment.inference.ensemble import TextModel
from sentiment.inference.metrics import score
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.measured_slices import MeasuredSlices
from sweeps.analysis.predictions import (
    MISTAKES,
    Predictions,
    bundle_predictions,
    judged_model,
)
from sweeps.analysis.seed_replicates import Confirmation
from sweeps.objectives import METRICS, Limit, cost_text
from sweeps.pipeline.running import RunningSweep
from sweeps.registry import versions
from sweeps.registry.challenger import RegisteredWinner, register_winner, registered_winner
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.registry.recorded_predictions import keep_predictions
from sweeps.reporting import notes
from sweeps.tracking.queries import (
    TrialRecord,
    best_trials,
    chosen_run,
    registered_run,
)


@dataclass(frozen=True)
class Choice:
    """A sweep's winner.

    Attributes:
        chosen: the best by validation, a finalist or a trial; None if none was evaluated.
        winner: the run whose model is registered: the chosen one, its refit or an ensemble.
        test: its metrics on the test split.
        registered: its version; None if it was removed from the registry.
        test_predictions: the winner's of the test split; None if it was scored before.
        predictions: of the validation split, by what was chosen before a refit; None if the winner
            was scored before.
    """

    chosen: TrialRecord | None = None
    winner: TrialRecord | None = None
    test: dict[str, float] = field(default_factory=dict)
    registered: RegisteredWinner | None = None
    predictions: Predictions | None = None
    test_predictions: IsolatedPredictions | None = None

    @property
    def version(self) -> int | None:
        """The number of the registered version."""
        return self.registered.version if self.registered else None


def choose_winner(running: RunningSweep) -> Choice:
    """Choose the winner by validation, score it once on the test split, register it.

    Raises:
        InputError: the winner's model was removed before it was registered.
    """
    context, tracker = running.context, running.tracker
    settings = context.settings
    trials = running.trials()
    limits = settings.objectives.limits
    chosen = chosen_run(trials, settings.objective, limits)
    if chosen is None:
        return Choice()
    winner = registered_run(trials, chosen, limits)
    for line in beyond_limits(trials, limits):
        context.notify(line)
    ran = len(best_trials(trials, settings.objective))
    scored = {n: value for n, value in winner.metrics.items() if n.startswith("test/")}
    model_id = winner.model_id
    finished = context.resumed is not None and context.resumed.finished
    if scored and (model_id is None or (finished and not settings.as_challenger)):
        # It had more trials, and found nothing better; or its version was removed meanwhile.
        return Choice(chosen, winner, scored, _registered_before(running, winner))
    if model_id is None:
        raise InputError(
            f"the model of the best run, {winner.name}, was removed, so it can't be "
            f"registered: start a new sweep with --warm-start {tracker.name}"
        )
    # A refit has seen the texts of validation, so it is not asked.
    client = tracker.client
    judged = tracker.ask(lambda: judged_model(client, chosen, winner, trials))
    predictions = _check_predictions(running, chosen, judged)
    # A kill may have come between the scores and the registration, or into that.
    test, predicted = scored, None
    if not test:
        test, predicted = _score_winner(running, winner, model_id)
    measured = _measure_slices(running, winner, predicted)
    registered = _register(running, winner, model_id, ran, test, measured)
    return Choice(chosen, winner, test, registered, predictions, predicted)


def beyond_limits(trials: Sequence[TrialRecord], limits: Sequence[Limit]) -> Iterator[str]:
    """Yield which finalists and refits are left out, as they exceed a limit themselves."""
    for run in trials:
        if run.role not in ("finalist", "refit") or run.outcome != "completed":
            continue
        for limit in limits:
            if limit.is_of_model and limit.excess(run.metrics) > 0:
                value = cost_text(limit.objective, run.metrics[METRICS[limit.objective]])
                yield f"{run.name} is left out: {limit.objective} {value}, beyond {limit}"


def describe_version(
    running: RunningSweep,
    choice: Choice,
    comparison: ClassicalComparison | None = None,
    confirmation: Confirmation | None = None,
) -> None:
    """Describe the registered version anew, by what has become known since the choice."""
    if choice.version is None or choice.winner is None:
        return
    settings, tracker = running.context.settings, running.tracker
    ran = len(best_trials(running.trials(), settings.objective))
    text = notes.winners_version(
        running.subject,
        choice.winner,
        ran,
        choice.test,
        confirmation,
        running.warnings,
        comparison,
        _measure_slices(running, choice.winner, choice.test_predictions),
    )
    name, version = settings.model_name, str(choice.version)
    tracker.ask(lambda: tracker.client.update_model_version(name, version, text))


def _measure_slices(
    running: RunningSweep, winner: TrialRecord, predicted: IsolatedPredictions | None
) -> MeasuredSlices | None:
    """Measure the winner on parts of the test split; None if its model was removed.

    Args:
        running: the sweep.
        winner: the run whose model is registered.
        predicted: its predictions of the test split; None lets it predict once more, where it was
            scored before an interruption.
    """
    if predicted is None:
        if winner.model_id is None:
            return None
        predicted = running.predict_test(winner.model_id)
    test = running.context.dataset.splits["test"]
    return MeasuredSlices.of(
        test.texts, test.labels, predicted.log_probabilities, predicted.label_names
    )


def _registered_before(running: RunningSweep, winner: TrialRecord) -> RegisteredWinner | None:
    """Return the state of a winner that was registered before; None if it was removed."""
    client, settings = running.tracker.client, running.context.settings

    def read() -> RegisteredWinner | None:
        version = versions.version_of_run(client, settings.model_name, winner.run_id)
        if version is None:
            return None
        return registered_winner(client, settings.model_name, version, settings.objective)

    return running.tracker.ask(read)


def _check_predictions(
    running: RunningSweep, chosen: TrialRecord, judged: TextModel
) -> Predictions:
    """Return the predictions of the validation split, and warn of suspicious ones."""
    predicted = bundle_predictions(judged, running.context.dataset, "valid", explained=MISTAKES)
    running.warnings.extend(
        answer_warnings(
            predicted.scores().confusion,
            predicted.label_names,
            model="the winner",
            objective=running.context.settings.objective,
            class_weights=str(chosen.parameters.get("class_weights")),
            options=LAUNCH,
            unsplit=bool(running.warnings),
        )
    )
    return predicted


def _score_winner(
    running: RunningSweep, winner: TrialRecord, model_id: str
) -> tuple[dict[str, float], IsolatedPredictions]:
    """Score the winner on the test split; record the metrics and the predictions."""
    tracker, dataset = running.tracker, running.context.dataset
    predicted = running.predict_test(model_id)
    test = score(predicted.log_probabilities, dataset.splits["test"].labels).metrics("test")
    tracker.ask(
        lambda: keep_predictions(
            tracker.client, winner.run_id, model_id, predicted, dataset.fingerprint
        )
    )
    tracker.trial(winner.key).log_model_metrics(test, int(winner.metrics["best/examples"]))
    return test, predicted


def _register(
    running: RunningSweep,
    winner: TrialRecord,
    model_id: str,
    ran: int,
    test: dict[str, float],
    measured: MeasuredSlices | None,
) -> RegisteredWinner:
    """Register the winner's model.

    Args:
        running: the sweep.
        winner: the best trial.
        model_id: its model.
        ran: trials that were evaluated.
        test: its metrics on the test split.
        measured: the same on parts of it.
    """
    context, tracker = running.context, running.tracker
    client, settings = tracker.client, context.settings
    registered = tracker.ask(
        lambda: register_winner(
            client,
            settings.model_name,
            model_id=model_id,
            run_id=winner.run_id,
            sweep=tracker.name,
            data=absolute(settings.data),
            dataset=context.dataset,
            objective=settings.objective,
            validation={n: v for n, v in winner.metrics.items() if n.startswith("best/valid/")},
            test=test,
            as_challenger=settings.as_challenger,
            description=notes.winners_version(
                running.subject,
                winner,
                ran,
                test,
                confirmation=None,
                warnings=running.warnings,
                measured=measured,
            ),
        )
    )
    tracker.ask(
        lambda: versions.describe_model(
            client, settings.model_name, notes.registered_model(settings.model_name)
        )
    )
    return registered
