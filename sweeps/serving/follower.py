"""Following an alias: the server changes to the version that the champion has become.

A new version is loaded and answers a trial request in a thread beside the server's; only then
requests get it. One that can't be loaded or does not answer is reported once, the one before stays,
and it is tried again at longer intervals: its files may still be on their way.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from sentiment.errors import InputError
from sentiment.tracking.model_uri import CHAMPION, SavedModel, find_model
from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.served_model import ServedModel, check_answers, load_served, model_name

CHECK_INTERVAL = 2.0
"""Seconds between two looks at the alias."""
RETRY_INTERVAL = 30.0
"""Seconds until a version that failed is tried again."""

_ALIAS = re.compile(r"[\w-]+|models:/[^/@]+@[^/@]+")
_RUN_ID = re.compile(r"[0-9a-f]{32}")


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
        named = self.reference
        if named is not None and (_RUN_ID.fullmatch(named) or not _ALIAS.fullmatch(named)):
            raise InputError(
                f"--follow: {named} is always the same model; name an alias, such as {CHAMPION} "
                f"or models:/NAME@{CHAMPION}"
            )

    def find(self) -> SavedModel:
        """Return the model that it means now; raises as `find_model`."""
        return find_model(self.reference, self.store)


class Follower:
    """Keeps a server at the version that an alias names."""

    def __init__(
        self,
        classifier: BatchedClassifier,
        metrics: ServingMetrics,
        alias: Alias,
    ) -> None:
        """Take what the server answers with.

        Args:
            classifier: whose model is replaced.
            metrics: counts the changes.
            alias: of the model.
        """
        from sentiment.nn.devices import configure_threads

        self._classifier = classifier
        self._metrics = metrics
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
                before = self._classifier.model.name
                self._classifier.model = model
                self._metrics.switched(model.name)
                print(f"{model.name} answers from now on, in place of {before}", flush=True)

    def newer(self) -> ServedModel | None:
        """Return the version that the alias names, tried, if it is another one that answers."""
        name = ""
        try:
            saved = self._alias.find()
            name = model_name(saved)
            if name == self._classifier.model.name:
                self._problem = self._failed = ""
                return None
            if name == self._failed and time.monotonic() < self._retry_at:
                return None
            model = load_served(saved)
            check_answers(model)
        except Exception as error:  # noqa: BLE001 - reported; the model before goes on answering
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
            self._metrics.failed_switch()
        problem = f"{name or 'the alias'} can't be followed ({reason})"
        if problem != self._problem:
            self._problem = problem
            staying = self._classifier.model.name
            print(f"warning: {problem}; {staying} goes on answering", file=sys.stderr, flush=True)
