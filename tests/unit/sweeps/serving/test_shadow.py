"""The shadow compares what the champion has answered, and never gets in its way."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from mlflow import MlflowClient
from prometheus_client.parser import text_string_to_metric_families
from winners import Registry

from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.model_uri import SavedModel, find_model
from sweeps.registry.shadow_counts import ShadowCounts, read_shadow_counts
from sweeps.registry.versions import register
from sweeps.serving import shadow as module
from sweeps.serving import shadow_record
from sweeps.serving.batching import Answer, BatchedClassifier, PredictedBatch
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.served_model import ServedModel
from sweeps.serving.shadow import Pair, Shadow, compare
from sweeps.serving.shadow_metrics import ShadowMetrics
from sweeps.serving.shadow_record import ShadowRecorder
from sweeps.serving.shadow_serving import open_shadow

TEXTS = ["a", "b", "c", "d"]
PAIR = Pair("sentiment/1", "sentiment/2")


class Fixed:
    """A bundle that says `pos` with a given probability; can be held up."""

    def __init__(self, positive: float, labels: tuple[str, ...] = ("neg", "pos")) -> None:
        self.row = {"neg": 1 - positive, "pos": positive}
        self.label_names = labels
        self.texts: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def predict(self, texts: list[str]) -> np.ndarray:
        assert self.open.wait(30)
        self.texts += texts
        if "fail" in texts:
            raise ValueError("what a text said")
        row = [self.row.get(name, 0.0) for name in self.label_names]
        return np.tile(np.array(row, np.float32), (len(texts), 1))


def served(name: str, bundle: Fixed) -> ServedModel:
    return ServedModel(name, cast(Bundle, bundle))


CHAMPION = served("sentiment/1", Fixed(0.8))


def batch(texts: list[str], model: ServedModel = CHAMPION, requests: int = 1) -> PredictedBatch:
    answer = Answer(model.bundle.predict(texts), model)
    return PredictedBatch(requests, texts, answer, 0.0025)


@pytest.fixture
def bundle() -> Fixed:
    return Fixed(0.6)


@pytest.fixture
def shadow(bundle: Fixed) -> Iterator[Shadow]:
    made = Shadow(served("sentiment/2", bundle), CHAMPION, 1.0, random.Random(0))
    yield made
    bundle.open.set()
    made.close(30)


def settled(shadow: Shadow) -> ShadowCounts:
    """Wait for what is in the queue; return the counts of the pair."""
    shadow._thread.submit(lambda: None).result(30)
    return shadow.counts()[PAIR]


def test_what_is_counted(shadow: Shadow) -> None:
    shadow.offer(batch(TEXTS, requests=3))
    counts = settled(shadow)
    assert (counts.requests, counts.texts, counts.agreed) == (3, 4, 4)
    assert counts.difference == pytest.approx(4 * 0.2, abs=1e-6)
    assert (counts.champion_seconds.count, counts.shadow_seconds.count) == (1, 1)
    assert counts.champion_seconds.total == 0.0025
    assert counts.since <= counts.until


def test_agreement_goes_by_the_names_of_the_labels() -> None:
    answered = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    predicted = np.array([[0.3, 0.7], [0.8, 0.2], [0.5, 0.5]])
    agreed, apart = compare(answered, ("neg", "pos"), predicted, ("pos", "neg"))
    # The tie is `neg` for the champion, and `pos` for the shadow, whose first label that is.
    assert (agreed, apart) == (2, pytest.approx(0.2 + 0.2))
    agreed, apart = compare(answered, ("neg", "pos"), predicted, ("neg", "pos"))
    assert (agreed, apart) == (1, pytest.approx(0.6 + 0.4))
    with pytest.raises(ValueError, match="no probabilities"):
        compare(answered, ("neg", "pos"), predicted * np.nan, ("neg", "pos"))


def test_a_share_is_drawn_by_the_generator(bundle: Fixed) -> None:
    shadow = Shadow(served("sentiment/2", bundle), CHAMPION, 0.25, random.Random(3))
    drawn = random.Random(3)
    expected = [str(n) for n in range(40) if drawn.random() < 0.25]
    for number in range(40):
        shadow.offer(batch([str(number)]))
    assert settled(shadow).texts == len(expected) > 0
    assert bundle.texts == expected
    shadow.close(30)


@pytest.mark.parametrize(("limit", "value"), [("TEXTS", 5), ("CHARACTERS", 25)])
def test_what_does_not_fit_is_dropped_and_counted(
    limit: str, value: int, shadow: Shadow, bundle: Fixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, f"MAX_WAITING_{limit}", value)
    bundle.open.clear()
    for number in range(4):
        shadow.offer(batch([f"{number:05d}"] * 2))
    assert shadow.counts()[PAIR].dropped == 4
    bundle.open.set()
    counts = settled(shadow)
    assert (counts.texts, counts.requests, counts.dropped) == (4, 2, 4)
    # There is room again.
    shadow.offer(batch(["later"]))
    assert settled(shadow).texts == 5


def test_an_error_is_counted_and_reported_once_without_the_text(
    shadow: Shadow, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Answer(np.array([[0.2, 0.8]]), CHAMPION)
    for _ in range(2):
        shadow.offer(PredictedBatch(1, ["fail"], answer, 0.1))
    shadow.offer(batch(["a"]))
    counts = settled(shadow)
    assert (counts.errors, counts.texts, counts.requests) == (2, 1, 1)
    said = capsys.readouterr().err
    assert said.startswith("warning: the shadow sentiment/2 failed on a batch (ValueError in ")
    assert said.count("\n") == 1
    assert "what a text said" not in said


def test_a_slow_shadow_delays_no_answer(
    shadow: Shadow, bundle: Fixed, make_bundle: Callable[[int], Path]
) -> None:
    model = ServedModel("sentiment/1", Bundle.load(make_bundle(0)))

    async def work() -> list[Answer]:
        classifier = BatchedClassifier(model, 1)
        shadow.attach(classifier)
        bundle.open.clear()
        return [await classifier.predict([f"great {n}"]) for n in range(5)]

    answers = asyncio.run(asyncio.wait_for(work(), 25))  # the shadow is held up until after this
    assert shadow.counts()[PAIR].texts == 0
    bundle.open.set()
    counts = settled(shadow)
    assert (counts.requests, counts.texts, counts.dropped) == (5, 5, 0)
    positive = [answer.probabilities[0, 1] for answer in answers]
    assert counts.agreed == sum(p > 0.5 for p in positive)
    assert counts.difference == pytest.approx(
        sum(abs(p - 0.6) if p > 0.5 else abs(1 - p - 0.4) for p in positive), abs=1e-5
    )


def test_requests_come_first(
    shadow: Shadow, bundle: Fixed, make_bundle: Callable[[int], Path]
) -> None:
    classifier = BatchedClassifier(ServedModel("sentiment/1", Bundle.load(make_bundle(0))), 1)
    shadow.attach(classifier)
    classifier.free.clear()
    shadow.offer(batch(["a"]))
    time.sleep(0.05)
    assert bundle.texts == []
    classifier.free.set()
    assert settled(shadow).texts == 1


def test_counts_belong_to_the_pair(shadow: Shadow) -> None:
    shadow.offer(batch(["a"]))
    newer = served("sentiment/3", Fixed(0.9))
    shadow.check(newer)
    assert shadow.replace(newer) == "sentiment/3 is the shadow from now on, in place of sentiment/2"
    shadow.offer(batch(["a", "b"]))
    shadow.offer(batch(["a"] * 3, served("sentiment/4", Fixed(0.1))))
    settled(shadow)
    found = {pair: (each.texts, each.agreed) for pair, each in shadow.counts().items()}
    assert found == {
        PAIR: (1, 1),
        Pair("sentiment/1", "sentiment/3"): (2, 2),
        Pair("sentiment/4", "sentiment/3"): (3, 0),
    }


def test_a_champion_that_can_not_be_compared(
    shadow: Shadow, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        shadow.offer(batch(["a"], served("sentiment/2", Fixed(0.6))))
        shadow.offer(batch(["a"], served("sentiment/5", Fixed(0.6, ("bad", "neg", "pos")))))
    assert settled(shadow).texts == 0
    assert capsys.readouterr().err == (
        "warning: nothing is compared: sentiment/2 is what answers already\n"
        "warning: nothing is compared: sentiment/2 tells other labels apart (neg, pos) than "
        "sentiment/5 (bad, neg, pos)\n"
    )
    with pytest.raises(InputError, match=r"sentiment/6 tells other labels apart \(a, b\) than"):
        shadow.check(served("sentiment/6", Fixed(0.6, ("a", "b"))))


def test_after_the_end_nothing_is_compared(shadow: Shadow, bundle: Fixed) -> None:
    bundle.open.clear()
    shadow.offer(batch(["a"]))
    shadow.offer(batch(["b"]))
    while shadow._thread._work_queue.qsize() > 1:
        time.sleep(0.001)
    shadow.close(0.01)
    shadow.offer(batch(["c"]))
    bundle.open.set()
    shadow._thread.shutdown(wait=True)
    assert bundle.texts == ["a"]


def test_metrics(shadow: Shadow) -> None:
    metrics = ServingMetrics("sentiment/1")
    metrics.add(ShadowMetrics(shadow))
    shadow.offer(batch(TEXTS, requests=2))
    settled(shadow)
    pair = {"champion": "sentiment/1", "shadow": "sentiment/2"}
    page: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            if sample.name.startswith("sentiment_shadow_"):
                assert {key: sample.labels[key] for key in pair} == pair
                rest = ",".join(sample.labels[k] for k in sorted(sample.labels) if k not in pair)
                page[sample.name.removeprefix("sentiment_shadow_"), rest] = sample.value
    assert page["requests_total", ""] == 2
    assert page["texts_total", ""] == page["agreed_total", ""] == 4
    assert page["difference_total", ""] == pytest.approx(0.8, abs=1e-6)
    assert page["errors_total", ""] == page["dropped_total", ""] == 0
    assert page["predict_seconds_sum", "champion"] == 0.0025
    assert page["predict_seconds_bucket", "0.002,champion"] == 0
    assert page["predict_seconds_bucket", "0.003,champion"] == 1
    assert page["predict_seconds_count", "shadow"] == 1


@pytest.fixture
def registered(registry: Registry) -> Registry:
    registry.win(registry.worse, "one")
    registry.win(registry.better, "two", valid=0.8)
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    return registry


def kept(registry: Registry) -> list[ShadowCounts]:
    return read_shadow_counts(registry.client.get_model_version("sentiment", "2").tags).counts


def test_counts_are_kept_with_the_version(
    shadow: Shadow, registered: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = ShadowRecorder(shadow, registered.client)
    recorder.write()
    assert kept(registered) == []
    shadow.offer(batch(TEXTS))
    settled(shadow)
    recorder.write()
    shadow.offer(batch(["e"]))
    settled(shadow)
    recorder.start()
    recorder.close()  # writes and logs what is new
    other = Shadow(shadow.model, CHAMPION, 1.0, random.Random(0))
    other.offer(batch(TEXTS))
    settled(other)
    second = ShadowRecorder(other, registered.client)
    second.start()
    second.close()
    (counts,) = kept(registered)
    assert (counts.champion, counts.requests, counts.texts, counts.agreed) == (
        "sentiment/1", 3, 9, 9,
    )  # fmt: skip
    said = capsys.readouterr()
    first, last = said.out.splitlines()
    assert first.startswith("shadow sentiment/2: agreed with sentiment/1 on 100.0% of 5 texts serv")
    assert "on 100.0% of 4 texts" in last
    assert said.err == ""


def test_a_store_that_fails_is_reported_once(
    shadow: Shadow, store: tuple[MlflowClient, str], capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = ShadowRecorder(shadow, store[0])  # the version has been removed
    for _ in range(2):
        shadow.offer(batch(TEXTS))
        settled(shadow)
        recorder.write()
    said = capsys.readouterr().err
    assert said.startswith("warning: the counts of the shadow can't be kept (MlflowException: ")
    assert said.count("\n") == 1


def test_a_store_that_hangs_does_not_hold_up_the_end(
    shadow: Shadow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(shadow_record, "write_shadow_counts", lambda *_: answered.wait(30))
    monkeypatch.setattr(shadow_record, "_LAST_WRITE_SECONDS", 0.05)
    recorder = ShadowRecorder(shadow, cast(Any, object()))
    shadow.offer(batch(TEXTS))
    settled(shadow)
    recorder.start()
    recorder.close()
    answered.set()
    recorder._thread.join(30)
    assert "can't be kept (no answer of the store within 0.05 seconds)" in capsys.readouterr().err


def opened(registry: Registry, reference: str, champion: str = "models:/sentiment@champion") -> str:
    """Return the name of what a shadow's name means beside a champion."""
    store = registry.client.tracking_uri
    saved = find_model(champion, store)
    name = f"sentiment/{saved.version.version}" if saved.version else saved.folder.name
    serving = open_shadow(reference, store, saved, served(name, Fixed(0.5)), 1.0, False)
    return serving._shadow.model.name


def test_which_model_is_meant(
    registered: Registry, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    client, one, two = registered.client, registered.find(1)[0], registered.find(2)[0]
    assert opened(registered, "challenger") == "sentiment/2"
    assert opened(registered, "models:/sentiment/2") == "sentiment/2"
    for each in (one, two):
        register(
            client, "films", model_id=each.model_id, run_id=each.run_id, tags={}, description=""
        )
    client.set_registered_model_alias("films", "trial", "1")
    # A bare alias is one of the model that answers.
    assert opened(registered, "trial", "models:/films/2") == "films/1"
    assert capsys.readouterr().err == ""
    assert opened(registered, two.run_id) == two.run_id
    said = f"note: {two.run_id} is no registered version: the counts of the shadow are in /metrics"
    assert capsys.readouterr().err.startswith(said)

    with pytest.raises(InputError, match=r"^--shadow champion: that is sentiment/1, which answers"):
        opened(registered, "champion")
    with pytest.raises(InputError, match="that is sentiment/1, which answers already"):
        opened(registered, one.run_id)
    with pytest.raises(
        InputError, match=r"^--shadow rival: no version of the model 'sentiment' is"
    ):
        opened(registered, "rival")
    with pytest.raises(InputError, match=r"^--shadow models:/films@x: no version of the model"):
        opened(registered, "models:/films@x")
    saved = SavedModel(registered.better)
    with pytest.raises(InputError, match=r"^--shadow challenger: .*no such store yet"):
        open_shadow(
            "challenger", f"sqlite:///{tmp_path}/no.db", saved, CHAMPION, share=1.0, follow=False
        )
    other = served("sentiment/1", Fixed(0.5, ("a", "b")))
    champion = find_model("champion", registered.client.tracking_uri)
    with pytest.raises(InputError, match=r"^--shadow challenger: sentiment/2 tells other labels"):
        open_shadow(
            "challenger", registered.client.tracking_uri, champion, other, share=1.0, follow=False
        )
