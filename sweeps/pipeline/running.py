"""A sweep while it runs: what the stages share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sentiment.inference.ensemble import TextModel, load_model
from sentiment.inference.evaluation import split_log_probabilities
from sentiment.inference.metrics import Scores, score
from sentiment.io.processes import available_cores
from sentiment.nn.devices import configure_threads
from sentiment.tracking.model_uri import fetch_bundle
from sentiment.training.prepared_data import PreparedData
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.executor import Executor
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.reporting.notes import Subject
from sweeps.tracking.queries import TrialRecord, trials_of
from sweeps.tracking.tracker import SweepTracker
from sweeps.workspace import Workspace


@dataclass(frozen=True)
class RunningSweep:
    """What the stages of a sweep share.

    Attributes:
        context: what the sweep does.
        workspace: its folder.
        tracker: writes its record.
        executor: runs its trials.
        subject: what the notes on MLflow's pages describe.
        warnings: what is likely to be wrong with the texts or the winner; stages add to it.
    """

    context: SweepContext
    workspace: Workspace
    tracker: SweepTracker
    executor: Executor
    subject: Subject
    warnings: list[str] = field(default_factory=list)

    def executor_of(self, prepared: PreparedData) -> Executor:
        """Return what trains on other data than the search, with as many workers as it had left."""
        checkpoints = self.context.checkpoints(self.workspace)
        executor = Executor(self.context, self.tracker, prepared, checkpoints)
        executor.workers = self.executor.workers
        return executor

    def trials(self) -> list[TrialRecord]:
        """Return the record of all runs: the search's trials by number, then the others."""
        client, run_id = self.tracker.client, self.tracker.run_id
        return self.tracker.ask(lambda: trials_of(client, client.get_run(run_id)))

    def load_model(self, model_id: str) -> TextModel:
        """Return a logged model."""
        return load_model(self.tracker.ask(lambda: fetch_bundle(self.tracker.client, model_id)))

    def predict_test(self, model_id: str) -> IsolatedPredictions:
        """Return a logged model's predictions of the test split, in float32."""
        configure_threads(available_cores())
        bundle = self.load_model(model_id)
        scores = split_log_probabilities(bundle, self.context.dataset, "test", available_cores())
        return IsolatedPredictions(
            bundle.label_names, scores, bundle.config.model.packing == "padded"
        )

    def score_test(self, model_id: str) -> Scores:
        """Return a logged model's metrics on the test split, in float32."""
        predicted = self.predict_test(model_id).log_probabilities
        return score(predicted, self.context.dataset.splits["test"].labels)
