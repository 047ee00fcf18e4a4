"""Following an alias: the server changes to the version that the champion has become.

A shadow is followed in the same way.

A new version is loaded and answers a trial request in a thread beside the server's; only then
requests get it. One that can't be loaded or does not answer is reported once, the one before stays,
and it is tried again at longer intervals: its files may still be on their way.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from mlflow.exceptions import MlflowException

from sentiment.errors import InputError
from sentiment.tracking.model_uri import SavedModel, find_model
from sentiment.tracking.registered_name import CHAMPION, alias_of
from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.served_model import ServedModel, check_answers, load_served, model_name

CHECK_INTERVAL = 2.0
"""Seconds between two looks at the alias."""
RETRY_INTERVAL = 30.0
"""Seconds until a version that failed is tried again."""


@dataclass(frozen=True)
class Alias:
    """A name that may come to mean another model.

    Attributes:
        reference: as `sentiment.tracking.model_uri.find_model` takes it.
        store: address of the tracking store; the default one, if None.
    """

    reference: str | None
    store: str | None

    def __post_init__(self) -> None:
        """Refuse what always means the same.

        Raises:
            InputError: it is no alias.
        """
        if not is_alias(self.reference):
            raise InputError(
                f"--follow: {self.reference} is always the same model; name an alias, such as "
                f"{CHAMPION} or models:/NAME@{CHAMPION}"
            )

    def find(self) -> SavedModel:
        """Return the model that it means now; raises as `find_model`."""
        return find_model(self.reference, self.store)


def is_alias(reference: str | None) -> bool:
    """Return whether a name of a model may come to mean another one."""
    return alias_of(reference) is not None


class Followed(Protocol):
    """What an alias decides on, in a server."""

    @property
    def model(self) -> ServedModel:
        """The model at present."""

    def check(self, model: ServedModel) -> None:
        """Check that a model can take over.

        Raises:
            InputError: it can't.
        """

    def replace(self, model: ServedModel) -> str:
        """Let a model take over; return what to print."""

    def failed(self, tried: bool) -> str:
        """Note that the alias could not be followed; return what happens instead, to print.

        Args:
            tried: whether a version was found, but could not take over.
        """


class Answering:
    """The model that answers requests, as an alias decides on it."""

    def __init__(self, classifier: BatchedClassifier, metrics: ServingMetrics) -> None:
        """Take what answers, and what counts the changes."""
        self._classifier = classifier
        self._metrics = metrics

    @property
    def model(self) -> ServedModel:
        """What answers."""
        return self._classifier.model

    def check(self, model: ServedModel) -> None:
        """Let the model answer a trial request; raises as `check_answers`."""
        check_answers(model)

    def replace(self, model: ServedModel) -> str:
        """Let a model answer from now on; return what to print."""
        before = self.model.name
        self._classifier.model = model
        self._metrics.switched(model.name)
        return f"{model.name} answers from now on, in place of {before}"

    def failed(self, tried: bool) -> str:
        """Count a version that was tried; return what happens instead, to print."""
        if tried:
            self._metrics.failed_switch()
        return f"{self.model.name} goes on answering"


class Follower:
    """Keeps a server at the version that an alias names."""

    def __init__(self, followed: Followed, alias: Alias) -> None:
        """Take what changes with the alias.

        Args:
            followed: whose model is replaced.
            alias: of the model.
        """
        from sentiment.nn.devices import configure_threads

        self._followed = followed
        self._alias = alias
        self._thread = ThreadPoolExecutor(1, "follow", initializer=configure_threads)
        self._problem = ""
        self._failed = ""
        self._retry_at = 0.0

    async def run(self) -> None:
        """Look at the alias until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            model = await loop.run_in_executor(self._thread, self.newer)
            if model is not None:
                print(self._followed.replace(model), flush=True)

    def newer(self) -> ServedModel | None:
        """Return the version that the alias names, tried, if it is another one that answers."""
        name = ""
        try:
            saved = self._alias.find()
            name = model_name(saved)
            if name == self._followed.model.name:
                self._problem = self._failed = ""
                return None
            if name == self._failed and time.monotonic() < self._retry_at:
                return None
            model = load_served(saved)
            self._followed.check(model)
        except Exception as error:  # noqa: BLE001 - reported; the model before stays
            self._report(name, error)
            return None
        self._problem = self._failed = ""
        return model

    def _report(self, name: str, error: Exception) -> None:
        """Report what keeps the server from following, once."""
        known = isinstance(error, InputError | MlflowException)
        reason = str(error).partition("\n")[0] if known else f"{type(error).__name__}: {error}"
        if name:
            self._failed, self._retry_at = name, time.monotonic() + RETRY_INTERVAL
        staying = self._followed.failed(tried=bool(name))
        problem = f"{name or 'the alias'} can't be followed ({reason})"
        if problem != self._problem:
            self._problem = problem
            print(f"warning: {problem}; {staying}", file=sys.stderr, flush=True)
