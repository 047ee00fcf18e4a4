"""Batched inference: requests that wait while all cores are busy are answered together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sweeps.serving.requests import MAX_TEXTS

if TYPE_CHECKING:
    import numpy as np

    from sentiment.inference.prediction import Explanation
    from sweeps.serving.served_model import ServedModel

MAX_BATCH_TEXTS = MAX_TEXTS
"""Texts of a batch: those of the largest request, which is never divided."""


class Answer(NamedTuple):
    """What a request gets.

    Attributes:
        probabilities: of its texts, (n, C) in float32.
        model: that predicted them.
    """

    probabilities: np.ndarray
    model: ServedModel


class PredictedBatch(NamedTuple):
    """A batch that was answered.

    Attributes:
        requests: whose texts it holds.
        texts: of all of them.
        answer: to all texts.
        seconds: of CPU time that the prediction took.
    """

    requests: int
    texts: list[str]
    answer: Answer
    seconds: float


class _Waiting(NamedTuple):
    texts: list[str]
    answer: asyncio.Future[Answer]


class BatchedClassifier:
    """Predicts the texts of concurrent requests, a batch a core.

    No request waits for others to come: a free core takes at once all that wait, so a batch is as
    large as the load makes it. The coroutines belong to one event loop.

    Attributes:
        model: what predicts the next batch; may be replaced at any time.
        free: is set while a thread waits for requests.
        observer: is given each batch once its requests have their answers; must return at once.
    """

    def __init__(self, model: ServedModel, cores: int) -> None:
        """Make the threads, one a core, each computing on one core.

        Args:
            model: what predicts.
            cores: batches that are predicted at once.
        """
        from sentiment.nn.devices import configure_threads

        self.model = model
        self.free = threading.Event()
        self.free.set()
        self.observer: Callable[[PredictedBatch], None] | None = None
        self._cores = cores
        self._threads = ThreadPoolExecutor(cores, "predict", initializer=configure_threads)
        # One request at a time, beside the predictions, which would wait for seconds behind it.
        self._explaining = ThreadPoolExecutor(1, "explain", initializer=configure_threads)
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0

    async def predict(self, texts: list[str]) -> Answer:
        """Return the probabilities of some texts, all by one model."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(texts, answer))
        self._dispatch()
        return await answer

    async def explain(self, texts: list[str]) -> tuple[list[Explanation], ServedModel]:
        """Return the predictions of some texts with the weights of their words, and the model."""
        from sentiment.inference.explain import explain

        model, loop = self.model, asyncio.get_running_loop()
        found = await loop.run_in_executor(self._explaining, explain, model.bundle, texts)
        return found, model

    async def warm_up(self, texts: list[str]) -> None:
        """Predict some texts in every thread at once, so that no request pays for allocation."""
        loop = asyncio.get_running_loop()
        predictions = (
            loop.run_in_executor(self._threads, self.model.bundle.predict, texts)
            for _ in range(self._cores)
        )
        await asyncio.gather(*predictions)

    def _dispatch(self) -> None:
        """Start batches as long as a core is free and a request waits."""
        while self._busy < self._cores:
            batch = self._next_batch()
            if not batch:
                return
            self._busy += 1
            if self._busy == self._cores:
                self.free.clear()
            texts = [text for each in batch for text in each.texts]
            loop = asyncio.get_running_loop()
            model = self.model
            done = loop.run_in_executor(self._threads, timed_predict, model, texts)
            done.add_done_callback(partial(self._answer, batch, texts, model))

    def _next_batch(self) -> list[_Waiting]:
        """Take waiting requests in their order, without those whose clients are gone."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting:
            if self._waiting[0].answer.cancelled():
                self._waiting.popleft()
                continue
            size += len(self._waiting[0].texts)
            if batch and size > MAX_BATCH_TEXTS:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(
        self,
        batch: list[_Waiting],
        texts: list[str],
        model: ServedModel,
        done: asyncio.Future[tuple[np.ndarray, float]],
    ) -> None:
        """Hand the rows of a batch to its requests, and start the next batch."""
        self._busy -= 1
        start = 0
        error = None if done.cancelled() else done.exception()
        for own, answer in batch:
            rows = slice(start, start + len(own))
            start = rows.stop
            if answer.cancelled():
                continue
            if done.cancelled():
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(Answer(done.result()[0][rows], model))
        self._dispatch()
        if self._busy < self._cores:
            self.free.set()
        if self.observer is not None and not done.cancelled() and error is None:
            probabilities, seconds = done.result()
            whole = Answer(probabilities, model)
            self.observer(PredictedBatch(len(batch), texts, whole, seconds))


def timed_predict(model: ServedModel, texts: list[str]) -> tuple[np.ndarray, float]:
    """Return the probabilities (n, C) of texts, and the seconds of CPU time that they took.

    The time is that of the calling thread, in which the whole prediction runs.
    """
    began = time.thread_time()
    probabilities = model.bundle.predict(texts)
    return probabilities, time.thread_time() - began
