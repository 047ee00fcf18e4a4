"""Predictions of a candidate and the champion on a test split, and the gate's verdict.

A test split is scored once for a model: its predictions are recorded and read the next time. Each
model has to run without this checkout once, on a sample of the texts where it was scored before.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from sentiment.data.datasets import Dataset
from sentiment.data.labels import class_order
from sentiment.errors import InputError
from sentiment.listing import listed
from sentiment.tracking.model_uri import copy_model, model_of_version
from sweeps.registry import isolated_scoring
from sweeps.registry.checksums import changes, checksum, file_checksums, has_checksums
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.registry.look_count import add_look
from sweeps.registry.quality_gate import TOLERANCE, Requirements, Verdict, judge
from sweeps.registry.recorded_predictions import (
    RecordedPredictionsError,
    mark_isolated,
    ran_in_isolation,
    read_predictions,
    record_predictions,
)
from sweeps.registry.versions import Candidate

SAMPLE = 64
"""Texts of a split that a model predicts in isolation where its predictions are recorded."""


class CandidateError(RuntimeError):
    """A candidate that can't even be scored; the message says why, a line a reason."""


@dataclass
class CandidateScoring:
    """Scores models on the test split of a data set for one registered model.

    Attributes:
        client: client of the store.
        name: the registered model.
        dataset: the data set.
        rescore: score again what has recorded predictions.
        scored: titles of the models that were scored, rather than read from the record.
    """

    client: MlflowClient
    name: str
    dataset: Dataset
    rescore: bool = False
    scored: list[str] = field(default_factory=list)

    def judge(
        self, candidate: Candidate, champion: ModelVersion | None, requirements: Requirements
    ) -> Verdict:
        """Judge a candidate by its record, by the champion and by what is asked for.

        Args:
            candidate: the model that would become champion.
            champion: the present champion's version; None if there is none.
            requirements: what the candidate must reach.

        Raises:
            InputError: a model can't be had, the champion is damaged, or the two have different
                labels.
            CandidateError: the candidate's files are not those that were registered, or don't run
                elsewhere.
        """
        if candidate.version is not None and not has_checksums(candidate.tags):
            raise CandidateError(
                f"the checksums of its files were not recorded with {candidate.title}"
            )
        predicted = self.predictions(
            candidate.model_id, candidate.run_id, candidate.title, candidate.tags
        )
        present = None
        if champion is not None:
            present = self._of_champion(champion)
            order = class_order(present.label_names, predicted.label_names)
            if order is None:
                raise InputError(
                    f"the champion tells {listed(present.label_names)} apart, {candidate.title} "
                    f"{listed(predicted.label_names)}: keep them under two names by --model-name"
                )
            present = IsolatedPredictions(
                predicted.label_names, present.log_probabilities[:, order]
            )
        return judge(
            predicted.log_probabilities,
            None if present is None else present.log_probabilities,
            self.dataset.splits["test"].labels,
            recorded=candidate.recorded,
            requirements=requirements,
        )

    def predictions(
        self, model_id: str, run_id: str, title: str, tags: Mapping[str, str]
    ) -> IsolatedPredictions:
        """Return what a model says of the test split: as recorded, or else scored and recorded now.

        Its files are checked, and it must have run in isolation once.

        Args:
            model_id: the logged model.
            run_id: the run that trained it.
            title: what to call it.
            tags: of its version, if it has one.

        Raises:
            InputError: it can't be had.
            CandidateError: its files were changed, or it doesn't run elsewhere as it did here.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._fetched(model_id, title, Path(scratch))
            files = file_checksums(folder)
            if has_checksums(tags):
                changed = changes(self.client, tags, run_id, model_id, files)
                if changed:
                    raise CandidateError(
                        f"the files of {title} are not those registered: {'; '.join(changed)}"
                    )
            return self._predicted(model_id, run_id, title, folder, checksum(files))

    def _predicted(
        self, model_id: str, run_id: str, title: str, folder: Path, model_checksum: str
    ) -> IsolatedPredictions:
        client, fingerprint = self.client, self.dataset.fingerprint
        texts = self.dataset.splits["test"].texts
        known = self._recorded(model_id, run_id, title, model_checksum)
        if known is None:
            predicted = _in_isolation(folder, texts, title)
            record_predictions(
                client,
                run_id,
                model_id,
                predicted,
                fingerprint=fingerprint,
                model_checksum=model_checksum,
            )
            add_look(client, self.name, fingerprint)
            self.scored.append(title)
            mark_isolated(client, model_id, model_checksum)
            return predicted
        if not ran_in_isolation(client, model_id, model_checksum):
            sample = np.linspace(0, len(texts) - 1, min(len(texts), SAMPLE)).astype(int).tolist()
            again = _in_isolation(folder, [texts[index] for index in sample], title)
            if not _agree(known, again, sample):
                raise CandidateError(
                    f"{title} does not predict in isolation what is recorded; --rescore scores it "
                    "again"
                )
            mark_isolated(client, model_id, model_checksum)
        return known

    def _recorded(
        self, model_id: str, run_id: str, title: str, model_checksum: str
    ) -> IsolatedPredictions | None:
        if self.rescore:
            return None
        try:
            known = read_predictions(
                self.client,
                run_id,
                model_id,
                fingerprint=self.dataset.fingerprint,
                model_checksum=model_checksum,
            )
        except RecordedPredictionsError as error:
            print(f"note: {title} is scored again: {error}", file=sys.stderr)
            return None
        return known

    def _fetched(self, model_id: str, title: str, scratch: Path) -> Path:
        try:
            return copy_model(self.client, model_id, scratch)
        except MlflowException as error:
            raise InputError(
                f"the model of {title} can't be had: {str(error.message).splitlines()[0]}"
            ) from error

    def _of_champion(self, champion: ModelVersion) -> IsolatedPredictions:
        title = f"the champion (version {champion.version})"
        model_id, run_id = model_of_version(champion), str(champion.run_id)
        try:
            return self.predictions(model_id, run_id, title, champion.tags)
        except CandidateError as error:
            raise InputError(f"{error}; --rollback, or take its alias away in the UI") from error


def _in_isolation(folder: Path, texts: list[str], title: str) -> IsolatedPredictions:
    try:
        return isolated_scoring.score_in_subprocess(folder, texts)
    except isolated_scoring.IsolatedScoringError as error:
        raise CandidateError(f"{title} does not run outside this project: {error}") from error


def _agree(known: IsolatedPredictions, again: IsolatedPredictions, sample: list[int]) -> bool:
    """Return whether recorded predictions are those of a sample scored now."""
    if known.label_names != again.label_names:
        return False
    if again.padded:
        return True  # its probabilities follow from the batch, which is another one here
    apart = np.abs(np.exp(known.log_probabilities[sample]) - np.exp(again.log_probabilities))
    return bool((apart <= TOLERANCE).all())
