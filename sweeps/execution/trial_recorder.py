"""Recorder of trials: their runs, evaluations and ends, for MLflow and for the live view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentiment.config import Config, describe
from sentiment.pretraining.pretrained import pretraining_key
from sentiment.tracking.runs import run_parameters
from sentiment.training.checkpoint import MODEL_FOLDER, read_notes
from sweeps.console.progress import Progress, TrialState
from sweeps.search.optuna_searcher import EndedTrial
from sweeps.tracking.roles import PRETRAINING_TAG, Role
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import (
    ADOPTED,
    EXAMPLES,
    FACTS,
    FINISHED,
    PRECISION,
    RECURRENCE,
    RESULTS,
)
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT, TAKEOVERS, hyperparameters

RECORDED = (
    "train/loss",
    "train/accuracy",
    "valid/loss",
    "valid/accuracy",
    "valid/f1",
    "epoch",
    "learning_rate",
    "tokens_per_second",
)
"""Metrics of an evaluation that go into the record; a refit has none of validation."""
OF_PARTS = (
    "valid/recurrent_accuracy",
    "valid/recurrent_f1",
    "valid/recurrent_loss",
    "valid/ngrams_accuracy",
)
"""The same of a model's two parts, where it has an n-gram branch."""


class TrialRecorder:
    """Writes each trial to the tracker, and keeps its state for the view."""

    def __init__(
        self,
        tracker: SweepTracker,
        progress: Progress,
        attempts: RetryTracker,
        *,
        dataset: str,
        dataset_fingerprint: str,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
        pretrained: Mapping[str, str] | None = None,
    ) -> None:
        """Start with no trials.

        Args:
            tracker: writes the record.
            progress: has the states of all trials.
            attempts: knows the trials' checkpoints.
            dataset: the data set's name.
            dataset_fingerprint: its fingerprint.
            role: what the trials are to the sweep.
            keys: of trials that are known by a name rather than by their number.
            tags: further tags of their runs.
            pretrained: by `pretraining_key`, the names of the language models that trials start
                from.
        """
        self._tracker = tracker
        self._progress = progress
        self._attempts = attempts
        self._dataset = dataset
        self._fingerprint = dataset_fingerprint
        self._role: Role = role
        self._keys = dict(keys or {})
        self._tags = dict(tags or {})
        self._pretrained = dict(pretrained or {})

    def begin(self, config: dict[str, Any]) -> TrialState:
        """Start the trial's run, unless that has happened; Ray skips it where a start fails."""
        key = self._key(config)
        state = self._progress.trials.get(key)
        settings, taken = hyperparameters(config), config.get(TAKEOVERS)
        if state is None or state.outcome is not None:
            # A run has the parameters that its trial began with: they can't change.
            checked = Config.from_flat({**settings, **(taken["first"] if taken else {})})
            name = str(key) if self._role == "baseline" else describe(checked)
            if self._role == "confirmation":
                name = f"confirmation {name} seed {checked.training.seed}"
            elif self._role in ("finalist", "refit"):
                name = f"{self._role} {name}"
            state = TrialState(key, name, settings, checked.training.epochs)
            self._progress.trials[key] = state
            parameters = run_parameters(checked, self._dataset, self._fingerprint)
            tags = self._tags | self._names_of_pretraining(checked)
            self._tracker.start_trial(key, parameters, name, role=self._role, tags=tags)
        state.waits = False
        if taken and len(taken[TAKEOVERS]) > state.takeovers:
            state.takeovers = len(taken[TAKEOVERS])
            state.settings = settings
            # Its own are gone; the first evaluation since then tells more.
            state.checkpoint = config.get(CHECKPOINT, state.checkpoint)
            state.best = dict(taken[TAKEOVERS][-1]["best"])
            self._tracker.trial(key).log_takeovers(taken[TAKEOVERS])
        return state

    def _names_of_pretraining(self, config: Config) -> dict[str, str]:
        key = pretraining_key(config)
        return {} if key is None else {PRETRAINING_TAG: self._pretrained[key]}

    def state_of(self, config: Mapping[str, Any]) -> TrialState:
        """Return the state of a trial that has begun, by its configuration."""
        return self._progress.trials[self._key(config)]

    def add_evaluation(self, state: TrialState, result: dict[str, Any]) -> None:
        """Record an evaluation; one that the record has already is passed over there."""
        metrics = {name: result[name] for name in (*RECORDED, *OF_PARTS) if name in result}
        metrics |= result.get("system", {})
        state.epoch, state.seconds = result["epoch"], result["seconds/total"]
        state.value = result[self._progress.objective]
        state.best = dict(result["best"])
        state.finished = result[FINISHED]
        state.precision = result[PRECISION]
        # Checkpoints of earlier versions have results without it.
        state.recurrence = result.get(RECURRENCE)
        state.evaluated = int(result["ended"] * 1000)
        state.static_metrics = {**result["facts"], "seconds/cpu": result["seconds/cpu"]}
        run = self._tracker.trial(state.key)
        run.log_evaluation(result[EXAMPLES], metrics, state.evaluated)

    def end(self, state: TrialState, outcome: Outcome, error: str | None = None) -> None:
        """Record a trial's end as of its last evaluation, so that it can be recorded once more."""
        state.outcome = outcome
        step = int(state.best.get(EXAMPLES, 0))
        at = state.evaluated
        run = self._tracker.trial(state.key)
        if state.checkpoint is not None:
            with (self._attempts.storage / state.checkpoint / MODEL_FOLDER).on_disk() as folder:
                run.log_model(folder, _best(state), step, at)
        run.end(
            outcome,
            metrics=_once(state),
            step=step,
            error=error,
            at=at,
            precision=state.precision,
            recurrence=state.recurrence,
        )
        if isinstance(state.key, int):
            # The outbox has the model now; a resumed sweep needs no checkpoint of it.
            self._attempts.delete_checkpoints(state.key)

    def complete(self, trial: EndedTrial) -> None:
        """Complete the record of a trial that ended, but whose record was interrupted.

        Args:
            trial: as the study knows it; one whose record is whole is passed over.
        """
        if self._tracker.has_ended(trial.number):
            return
        state = self.begin(trial.config)
        state.checkpoint = self._attempts.newest(trial.number)
        if state.checkpoint is not None:
            with (self._attempts.storage / state.checkpoint).on_disk() as folder:
                notes = read_notes(folder)
            for result in notes[RESULTS][notes.get(ADOPTED, 0) :]:
                self.add_evaluation(state, {**result, "facts": notes[FACTS]})
        error = None
        if trial.outcome == "failed":
            error = "the sweep was interrupted: the trial's other failures are beside this"
        self.end(state, trial.outcome, error)

    def _key(self, config: Mapping[str, Any]) -> int | str:
        number = int(config["trial"])
        return self._keys.get(number, number)


def _best(state: TrialState) -> dict[str, float]:
    """Return what the best checkpoint reached, under the record's names."""
    return {f"best/{name}": value for name, value in state.best.items()}


def _once(state: TrialState) -> dict[str, float]:
    """Return what is recorded once of a trial; nothing of one that was never evaluated."""
    if not state.best:
        return {}
    return {**_best(state), **state.static_metrics, "seconds/total": state.seconds}
