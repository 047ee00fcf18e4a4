"""The shadow: another model that predicts what the champion has answered, and is never heard.

A batch comes here once its requests have their answers. A sample of the batches waits in a bounded
queue for one thread, which predicts the same texts in the same batch and counts how far both agree.
What does not fit into the queue is dropped and counted. No text is kept longer than that, logged or
stored.

Requests come first: the thread begins a batch only while a thread of the champion is free. It has
no lower priority in the operating system: on a busy machine it would be put off while it holds the
interpreter's lock, and requests with it (measured: docs/benchmarks.md).
"""

from __future__ import annotations

import random
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentiment.errors import InputError
from sentiment.nn.devices import configure_threads
from sweeps.registry.shadow_counts import ShadowCounts
from sweeps.serving.batching import BatchedClassifier, PredictedBatch, timed_predict
from sweeps.serving.requests import MAX_TEXTS
from sweeps.serving.served_model import ServedModel, check_answers

MAX_WAITING_TEXTS = 2 * MAX_TEXTS
"""Texts that wait or are being predicted: twice the largest batch."""
MAX_WAITING_CHARACTERS = 2**22
"""Of these texts together."""

_LOOK_SECONDS = 0.5


class Pair(NamedTuple):
    """Which models are compared, by their names."""

    champion: str
    shadow: str


class Shadow:
    """Compares a model with the one that answers.

    Attributes:
        model: the shadow; may be replaced at any time.
    """

    def __init__(
        self, model: ServedModel, champion: ServedModel, share: float, generator: random.Random
    ) -> None:
        """Start the thread.

        Args:
            model: the shadow.
            champion: what answers at first.
            share: of the batches that are compared, above 0, at most 1.
            generator: draws the sample.

        Raises:
            InputError: the two can't be compared.
        """
        check_comparable(model, champion)
        self.model = model
        self._share = share
        self._generator = generator
        self._champion = champion
        self._thread = ThreadPoolExecutor(1, "shadow", initializer=configure_threads)
        self._lock = threading.Lock()
        self._counts = {Pair(champion.name, model.name): ShadowCounts(champion.name)}
        self._waiting_texts = self._waiting_characters = 0
        self._closed = False
        self._free = threading.Event()
        self._free.set()
        self._reported: set[tuple[str, str]] = set()

    def attach(self, classifier: BatchedClassifier) -> None:
        """Compare what a classifier answers, while one of its threads is free."""
        self._free = classifier.free
        classifier.observer = self.offer

    def offer(self, batch: PredictedBatch) -> None:
        """Take a batch that was answered into the queue, leave it out, or drop it; at once."""
        self._champion, model = batch.answer.model, self.model
        if self._closed or self._generator.random() >= self._share:
            return
        if not self._are_comparable(model, self._champion):
            return
        texts, characters = len(batch.texts), sum(map(len, batch.texts))
        with self._lock:
            fits = (
                self._waiting_texts + texts <= MAX_WAITING_TEXTS
                and self._waiting_characters + characters <= MAX_WAITING_CHARACTERS
            )
            if not fits:
                self._counts_of(batch, model).dropped += texts
                return
            self._waiting_texts += texts
            self._waiting_characters += characters
        self._thread.submit(self._work, batch, model, characters)

    def counts(self) -> dict[Pair, ShadowCounts]:
        """Return a copy of what was counted of each pair."""
        with self._lock:
            return deepcopy(self._counts)

    def check(self, model: ServedModel) -> None:
        """Check that a model can be the shadow of what answers now.

        Raises:
            InputError: it tells other labels apart, or its probabilities are none.
        """
        _check_labels(model, self._champion)
        check_answers(model)

    def replace(self, model: ServedModel) -> str:
        """Compare another model from now on; return what to print."""
        before = self.model.name
        self.model = model
        return f"{model.name} is the shadow from now on, in place of {before}"

    def failed(self, tried: bool) -> str:
        """Return what happens where the alias can't be followed, to print."""
        del tried
        return f"{self.model.name} stays the shadow"

    def close(self, seconds: float) -> None:
        """Compare nothing any more; wait a while for the batch that is being predicted."""
        if self._closed:
            return
        self._closed = True
        idle = self._thread.submit(lambda: None)
        wait([idle], seconds)
        self._thread.shutdown(wait=False)

    def _work(self, batch: PredictedBatch, model: ServedModel, characters: int) -> None:
        try:
            while not self._closed and not self._free.wait(_LOOK_SECONDS):
                pass
            if not self._closed:
                self._compare(batch, model)
        finally:
            with self._lock:
                self._waiting_texts -= len(batch.texts)
                self._waiting_characters -= characters

    def _compare(self, batch: PredictedBatch, model: ServedModel) -> None:
        """Predict a batch and count what comes of it."""
        answered, champion = batch.answer
        try:
            probabilities, seconds = timed_predict(model, batch.texts)
            agreed, difference = compare(
                answered, champion.bundle.label_names, probabilities, model.bundle.label_names
            )
        except Exception as error:  # noqa: BLE001 - counted and reported; the champion has answered
            with self._lock:
                self._counts_of(batch, model).errors += 1
            self._report_error(model, error)
            return
        with self._lock:
            counts = self._counts_of(batch, model)
            counts.requests += batch.requests
            counts.texts += len(batch.texts)
            counts.agreed += agreed
            counts.difference += difference
            counts.champion_seconds.observe(batch.seconds)
            counts.shadow_seconds.observe(seconds)

    def _counts_of(self, batch: PredictedBatch, model: ServedModel) -> ShadowCounts:
        """Return the counts of a batch's pair, to be changed now; the lock must be held."""
        pair = Pair(batch.answer.model.name, model.name)
        counts = self._counts.setdefault(pair, ShadowCounts(pair.champion))
        counts.until = datetime.now(UTC).isoformat(timespec="seconds")
        counts.since = counts.since or counts.until
        return counts

    def _are_comparable(self, model: ServedModel, champion: ServedModel) -> bool:
        """Return whether two models can be compared; report once if they can't."""
        try:
            check_comparable(model, champion)
        except InputError as error:
            self._report(model.name, champion.name, f"nothing is compared: {error}")
            return False
        return True

    def _report_error(self, model: ServedModel, error: Exception) -> None:
        """Report an error of the shadow by its type and place: its message may hold a text."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        self._report(model.name, kind, f"the shadow {model.name} failed on a batch ({kind})")

    def _report(self, subject: str, problem: str, message: str) -> None:
        """Print a warning, once of each problem."""
        if (subject, problem) not in self._reported:
            self._reported.add((subject, problem))
            print(f"warning: {message}", file=sys.stderr, flush=True)


def check_comparable(model: ServedModel, champion: ServedModel) -> None:
    """Check that a shadow is another model than the champion, for the same labels.

    Raises:
        InputError: it isn't.
    """
    if model.name == champion.name:
        raise InputError(f"{model.name} is what answers already")
    _check_labels(model, champion)


def compare(
    answered: np.ndarray,
    names: Sequence[str],
    predicted: np.ndarray,
    shadow_names: Sequence[str],
) -> tuple[int, float]:
    """Return for how many texts two models say the same label, and how far they are apart.

    Args:
        answered: probabilities of the champion (n, C).
        names: its labels.
        predicted: probabilities of the shadow (n, C).
        shadow_names: the same labels, in any order.

    Returns:
        How many agree, and the sum over the texts of the absolute difference between the
        probabilities of the label that the champion says.

    Raises:
        ValueError: a probability of the shadow is not finite.
    """
    if not np.isfinite(predicted).all():
        raise ValueError("the shadow's answers are no probabilities")
    columns = [list(shadow_names).index(name) for name in names]
    same_order = predicted[:, columns]
    winners = answered.argmax(axis=1)
    rows = np.arange(len(winners))
    # Ties are decided as an answer of the shadow would decide them: in its own order of labels.
    said = np.asarray(shadow_names)[predicted.argmax(axis=1)]
    agreed = int((said == np.asarray(names)[winners]).sum())
    apart = np.abs(answered[rows, winners].astype(np.float64) - same_order[rows, winners])
    return agreed, float(apart.sum())


def _check_labels(model: ServedModel, champion: ServedModel) -> None:
    own, others = model.bundle.label_names, champion.bundle.label_names
    if set(own) != set(others):
        raise InputError(
            f"{model.name} tells other labels apart ({_listed(own)}) than {champion.name} "
            f"({_listed(others)})"
        )


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(names[:5])
    return f"{listed}, …" if len(names) > 5 else listed
