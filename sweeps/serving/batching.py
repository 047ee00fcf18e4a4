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


class _Waiting(NamedTuple):
    texts: list[str]
    answer: asyncio.Future[Answer]


class BatchedClassifier:
    """Predicts the texts of concurrent requests, a batch a core.

    No request waits for others to come: a free core takes at once all that wait, so a batch is as
    large as the load makes it. The coroutines belong to one event loop.

    Attributes:
        model: what predicts the next batch; may be replaced at any time.
    """

    def __init__(self, model: ServedModel, cores: int) -> None:
        """Make the threads, one a core, each computing on one core.

        Args:
            model: what predicts.
            cores: batches that are predicted at once.
        """
        from sentiment.nn.devices import configure_threads

        self.model = model
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
            texts = [text for each in batch for text in each.texts]
            loop = asyncio.get_running_loop()
            model = self.model
            done = loop.run_in_executor(self._threads, model.bundle.predict, texts)
            done.add_done_callback(partial(self._answer, batch, model))

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
        self, batch: list[_Waiting], model: ServedModel, done: asyncio.Future[np.ndarray]
    ) -> None:
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
                answer.set_result(Answer(done.result()[rows], model))
        self._dispatch()
