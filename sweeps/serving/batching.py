"""Batched inference: requests that wait while all cores are busy are answered together."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sweeps.serving.requests import MAX_TEXTS

if TYPE_CHECKING:
    import numpy as np

    from sentiment.inference.bundle import Bundle

MAX_BATCH_TEXTS = MAX_TEXTS
"""Texts of a batch: those of the largest request, which is never divided."""


class _Waiting(NamedTuple):
    texts: list[str]
    answer: asyncio.Future[np.ndarray]


class BatchedClassifier:
    """Predicts the texts of concurrent requests, a batch a core.

    No request waits for others to come: a free core takes at once all that wait, so a batch is as
    large as the load makes it. The coroutines belong to one event loop.
    """

    def __init__(self, bundle: Bundle, cores: int) -> None:
        """Make the threads, one a core, each computing on one core.

        Args:
            bundle: the model.
            cores: batches that are predicted at once.
        """
        from sentiment.nn.devices import configure_threads

        self._bundle = bundle
        self._cores = cores
        self._threads = ThreadPoolExecutor(cores, "predict", initializer=configure_threads)
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns that `predict` returns."""
        return self._bundle.label_names

    async def predict(self, texts: list[str]) -> np.ndarray:
        """Return the probabilities of some texts, (n, C) in float32."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(texts, answer))
        self._dispatch()
        result: np.ndarray = await answer
        return result

    async def warm_up(self, texts: list[str]) -> None:
        """Predict some texts in every thread at once, so that no request pays for allocation."""
        loop = asyncio.get_running_loop()
        predictions = (
            loop.run_in_executor(self._threads, self._bundle.predict, texts)
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
            texts = [text for each in batch for text in each.texts]
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(self._threads, self._bundle.predict, texts)
            done.add_done_callback(partial(self._answer, batch))

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

    def _answer(self, batch: list[_Waiting], done: asyncio.Future[np.ndarray]) -> None:
        """Hand the rows of a batch to its requests, and start the next batch."""
        self._busy -= 1
        start = 0
        error = None if done.cancelled() else done.exception()
        for texts, answer in batch:
            rows = slice(start, start + len(texts))
            start = rows.stop
            if answer.cancelled():
                continue
            if done.cancelled():
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result()[rows])
        self._dispatch()
