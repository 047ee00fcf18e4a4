"""Requests that wait are answered together, each with its own rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from sentiment.inference.bundle import Bundle
from sweeps.serving.batching import MAX_BATCH_TEXTS, Answer, BatchedClassifier, PredictedBatch
from sweeps.serving.served_model import ServedModel


class Counting:
    """A bundle whose predictions can be held up; keeps the sizes of its batches."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.label_names = bundle.label_names
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()

    def predict(self, texts: list[str]) -> np.ndarray:
        self.sizes.append(len(texts))
        assert self.open.wait(30)
        if "fail" in texts:
            raise ValueError("a model that fails")
        return self.bundle.predict(texts)


@pytest.fixture
def model(make_bundle: Callable[[int], Path]) -> Counting:
    return Counting(Bundle.load(make_bundle(0)))


def served(model: Counting) -> ServedModel:
    return ServedModel("counting", cast(Bundle, model))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_waiting_requests_make_one_batch_and_get_their_own_rows(model: Counting) -> None:
    requests = [["good"], ["bad", "film"], ["plot"], ["a good film", "", "bad"]]

    async def work() -> list[Answer]:
        classifier = BatchedClassifier(served(model), 1)
        model.open.clear()
        first = asyncio.create_task(classifier.predict(["first"]))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(classifier.predict(texts)) for texts in requests]
        await asyncio.sleep(0.05)
        model.open.set()
        await first
        return list(await asyncio.gather(*rest))

    answers = run(work())
    assert model.sizes == [1, 7]
    for texts, answer in zip(requests, answers, strict=True):
        np.testing.assert_allclose(answer.probabilities, model.bundle.predict(texts), atol=1e-5)


def test_a_free_core_takes_a_request_at_once(model: Counting) -> None:
    async def work() -> None:
        classifier = BatchedClassifier(served(model), 2)
        model.open.clear()
        tasks = [asyncio.create_task(classifier.predict(["a"]))]
        await asyncio.sleep(0.05)
        assert classifier.free.is_set()
        tasks += [asyncio.create_task(classifier.predict([text])) for text in "bc"]
        await asyncio.sleep(0.1)
        assert model.sizes == [1, 1]  # the third waits: both cores are busy
        assert not classifier.free.is_set()
        model.open.set()
        await asyncio.gather(*tasks)
        assert classifier.free.is_set()

    run(work())
    assert model.sizes == [1, 1, 1]


def test_the_observer_gets_each_batch_that_was_answered(model: Counting) -> None:
    seen: list[PredictedBatch] = []

    async def work() -> list[Answer]:
        classifier = BatchedClassifier(served(model), 1)
        classifier.observer = seen.append
        with pytest.raises(ValueError, match="a model that fails"):
            await classifier.predict(["fail"])
        model.open.clear()
        tasks = [asyncio.create_task(classifier.predict(["first"]))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(classifier.predict(texts)) for texts in (["a", "b"], ["c"])]
        await asyncio.sleep(0.05)
        model.open.set()
        return list(await asyncio.gather(*tasks))

    answers = run(work())
    assert [(each.requests, each.texts) for each in seen] == [(1, ["first"]), (2, ["a", "b", "c"])]
    rows = np.concatenate([each.answer.probabilities for each in seen])
    assert rows.tolist() == np.concatenate([each.probabilities for each in answers]).tolist()
    assert all(each.answer.model.name == "counting" for each in seen)
    assert all(each.seconds > 0 for each in seen)


def test_a_batch_is_bounded(model: Counting) -> None:
    large = ["a"] * (MAX_BATCH_TEXTS - 1)

    async def work() -> None:
        classifier = BatchedClassifier(served(model), 1)
        model.open.clear()
        tasks = [asyncio.create_task(classifier.predict(["first"]))]
        await asyncio.sleep(0.05)
        for texts in (large, ["b"], ["c"]):
            tasks.append(asyncio.create_task(classifier.predict(texts)))
        await asyncio.sleep(0.05)
        model.open.set()
        await asyncio.gather(*tasks)

    run(work())
    assert model.sizes == [1, MAX_BATCH_TEXTS, 1]


def test_a_client_that_is_gone_is_passed_over(model: Counting) -> None:
    async def work() -> np.ndarray:
        classifier = BatchedClassifier(served(model), 1)
        model.open.clear()
        first = asyncio.create_task(classifier.predict(["first"]))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(classifier.predict(["gone", "gone"]))
        last = asyncio.create_task(classifier.predict(["good"]))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        model.open.set()
        await first
        return (await last).probabilities

    answer = run(work())
    assert model.sizes == [1, 1]
    np.testing.assert_allclose(answer, model.bundle.predict(["good"]), atol=1e-5)


def test_an_error_reaches_its_request_and_the_next_is_answered(model: Counting) -> None:
    async def work() -> np.ndarray:
        classifier = BatchedClassifier(served(model), 1)
        with pytest.raises(ValueError, match="a model that fails"):
            await classifier.predict(["fail"])
        return (await classifier.predict(["good"])).probabilities

    assert run(work()).shape == (1, 2)


def test_a_batch_is_predicted_by_one_model(
    model: Counting, make_bundle: Callable[[int], Path]
) -> None:
    other = ServedModel("other", Bundle.load(make_bundle(1)))

    async def work() -> list[Answer]:
        classifier = BatchedClassifier(served(model), 1)
        model.open.clear()
        before = asyncio.create_task(classifier.predict(["great", "bad"]))
        await asyncio.sleep(0.05)
        after = asyncio.create_task(classifier.predict(["great", "bad"]))
        classifier.model = other
        model.open.set()
        return [await before, await after]

    before, after = run(work())
    assert (before.model.name, after.model.name) == ("counting", "other")
    for answer in (before, after):
        expected = answer.model.bundle.predict(["great", "bad"])
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
