"""Predictions of a test split that are kept, and how often the split was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from winners import (
    Store,
    accuracy_of,
    alias,
    answers_here,
    fewer_reviews,
    promote,
    train,
    win,
)

from sentiment.data.datasets import Dataset
from sweeps.registry import isolated_scoring, look_count, recorded_predictions, versions
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.registry.look_count import count_looks
from sweeps.registry.recorded_predictions import RecordedPredictionsError

Reviews = tuple[Path, Dataset]
Pair = tuple[Path, Path]

pytestmark = pytest.mark.usefixtures("only_store")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each model was given in isolation, one number a call."""
    counts: list[int] = []

    def ask(model: Path, texts: Sequence[str]) -> IsolatedPredictions:
        counts.append(len(texts))
        return answers_here(model, texts)

    monkeypatch.setattr(isolated_scoring, "score_in_subprocess", ask)
    return counts


def keep(store: Store, reviews: Reviews, version: int, bundle: Path) -> Path:
    """Record a version's predictions as a sweep does that has scored it; return their file."""
    client, _ = store
    candidate = versions.find_candidate(client, "sentiment", version=version)
    folder = Path(client.get_logged_model(candidate.model_id).artifact_location)
    predicted = answers_here(folder, reviews[1].splits["test"].texts)
    recorded_predictions.keep_predictions(
        client, candidate.run_id, candidate.model_id, predicted, reviews[1].fingerprint
    )
    artifacts = Path(client.get_run(candidate.run_id).info.artifact_uri)
    (file,) = (artifacts / "predictions" / candidate.model_id).iterdir()
    return file


def looks(store: Store, reviews: Reviews) -> int:
    tags = store[0].get_registered_model("sentiment").tags
    return int(tags[f"test_looks.{reviews[1].fingerprint[:12]}"])


def test_what_the_sweep_has_scored_is_not_scored_again(
    store: Store,
    better_and_worse: Pair,
    reviews: Reviews,
    asked: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, worse, reviews, "first")
    keep(store, reviews, 1, worse)
    assert looks(store, reviews) == 1
    assert promote(store, reviews, "--min-accuracy", "1") == 1
    # Once a model must run in isolation, on a sample of the texts.
    texts = len(reviews[1].splits["test"].texts)
    assert asked == [min(64, texts)]
    for _ in range(2):
        assert promote(store, reviews, "--min-accuracy", "1") == 1
    assert asked == [min(64, texts)]
    assert looks(store, reviews) == 1
    told = capsys.readouterr().out
    assert f"{texts} texts, float32; scored before" in told
    assert f"{accuracy_of(worse, reviews[1]):.4f}" in told
    assert "this test split was scored once for models of sentiment" in told
    assert promote(store, reviews) == 0
    # The second has no record, the champion has.
    win(store, better, reviews, "second", valid=0.8)
    assert promote(store, reviews, "--significant") == 0
    assert asked == [min(64, texts), texts]
    assert looks(store, reviews) == 3
    told = capsys.readouterr().out
    assert "float32; scored now: version 2\n" in told
    assert "this test split was scored 3 times" in told
    (*_, move) = versions.standing(store[0], "sentiment").moves.values()
    assert move.figures["champion/test/accuracy"] == accuracy_of(worse, reviews[1])
    assert move.figures["test/accuracy"] == accuracy_of(better, reviews[1])


def test_refused_promotions_score_once_and_rescore_scores_again(
    store: Store, better_and_worse: Pair, reviews: Reviews, asked: list[int]
) -> None:
    win(store, better_and_worse[0], reviews, "first")
    texts = len(reviews[1].splits["test"].texts)
    for _ in range(3):
        assert promote(store, reviews, "--min-accuracy", "1") == 1
    assert asked == [texts]
    assert looks(store, reviews) == 2  # the sweep's and this one
    assert promote(store, reviews, "--min-accuracy", "1", "--rescore") == 1
    assert asked == [texts, texts]
    assert looks(store, reviews) == 3


def test_predictions_that_were_changed_are_not_believed(
    store: Store,
    better_and_worse: Pair,
    reviews: Reviews,
    asked: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, worse, reviews, "first")
    file = keep(store, reviews, 1, worse)
    win(store, better, reviews, "second", valid=0.8)
    # The better model's predictions in the place of the worse one's.
    file.write_bytes(keep(store, reviews, 2, better).read_bytes())
    assert promote(store, reviews, "--version", "1", "--dry-run") == 0
    told = capsys.readouterr()
    assert "note: version 1 is scored again: the file of its predictions was changed" in told.err
    assert f"{accuracy_of(worse, reviews[1]):.4f}" in told.out
    file.unlink()
    for left in file.parent.iterdir():
        left.unlink()
    assert promote(store, reviews, "--version", "1", "--dry-run") == 0
    assert "scored again: its predictions can't be had" in capsys.readouterr().err
    texts = len(reviews[1].splits["test"].texts)
    assert asked == [texts, texts]


def test_predictions_of_other_files_or_texts_are_not_taken(
    store: Store, better_and_worse: Pair, reviews: Reviews, tmp_path: Path
) -> None:
    client = store[0]
    win(store, better_and_worse[0], reviews, "first")
    keep(store, reviews, 1, better_and_worse[0])
    candidate = versions.find_candidate(client, "sentiment")
    checksum = candidate.tags["checksums_sha256"]

    def read(fingerprint: str, checksum: str) -> IsolatedPredictions | None:
        return recorded_predictions.read_predictions(
            client,
            candidate.run_id,
            candidate.model_id,
            fingerprint=fingerprint,
            model_checksum=checksum,
        )

    fingerprint = reviews[1].fingerprint
    known = read(fingerprint, checksum)
    assert known is not None
    assert known.label_names == reviews[1].label_names
    assert known.log_probabilities.dtype == np.float32
    assert len(known.log_probabilities) == len(reviews[1].splits["test"].texts)
    assert read(fingerprint, "0" * 64) is None
    assert read(fewer_reviews(reviews, tmp_path)[1].fingerprint, checksum) is None
    # Of data whose fingerprint starts alike.
    assert read(f"{fingerprint[:12]}{'0' * 52}", checksum) is None
    tag = f"predictions.test.{fingerprint[:12]}"
    client.set_logged_model_tags(candidate.model_id, {tag: "../../../etc/passwd"})
    with pytest.raises(RecordedPredictionsError, match="holds no sha256"):
        read(fingerprint, checksum)


def test_a_model_that_predicts_otherwise_in_isolation_is_refused(
    store: Store,
    better_and_worse: Pair,
    reviews: Reviews,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worse = better_and_worse[1]
    win(store, worse, reviews, "first")
    keep(store, reviews, 1, worse)

    def ask(model: Path, texts: Sequence[str], padded: bool = False) -> IsolatedPredictions:
        known = answers_here(model, texts)
        return IsolatedPredictions(
            known.label_names, np.log(1 - np.exp(known.log_probabilities)), padded
        )

    monkeypatch.setattr(isolated_scoring, "score_in_subprocess", ask)
    for _ in range(2):
        assert promote(store, reviews) == 1
        told = capsys.readouterr().err
        assert "refused: version 1 does not predict in isolation what is recorded" in told
    # What a padded model says of a text follows from the others in its batch.
    monkeypatch.setattr(
        isolated_scoring, "score_in_subprocess", lambda model, texts: ask(model, texts, padded=True)
    )
    assert promote(store, reviews) == 0


def test_a_run_without_a_registered_model_is_counted_when_it_has_one(
    store: Store,
    better_and_worse: Pair,
    reviews: Reviews,
    asked: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = store[0]
    run_id, _ = train(store, better_and_worse[0], reviews[1])
    assert promote(store, reviews, "--run", run_id, "--dry-run") == 0
    assert "this test split was scored once" in capsys.readouterr().out
    assert client.search_registered_models() == []
    assert promote(store, reviews, "--run", run_id) == 0
    assert asked == [len(reviews[1].splits["test"].texts)]
    assert count_looks(client, "sentiment", reviews[1].fingerprint) == 1
    assert alias(store, "champion") == 1


def test_versions_from_before_there_was_a_count_are_counted(
    store: Store, better_and_worse: Pair, reviews: Reviews, tmp_path: Path
) -> None:
    client, fingerprint = store[0], reviews[1].fingerprint
    for sweep in ("first", "second"):
        win(store, better_and_worse[0], reviews, sweep)
    win(store, better_and_worse[0], fewer_reviews(reviews, tmp_path), "of other data")
    assert looks(store, reviews) == 2
    client.delete_registered_model_tag("sentiment", f"test_looks.{fingerprint[:12]}")
    assert count_looks(client, "sentiment", fingerprint) == 2
    assert win(store, better_and_worse[0], reviews, "third").test_looks == 3
    client.set_registered_model_tag("sentiment", f"test_looks.{fingerprint[:12]}", "many")
    assert look_count.add_look(client, "sentiment", fingerprint) == 4
    assert count_looks(client, "films", fingerprint) == 0
    assert look_count.add_look(client, "films", fingerprint) == 1


def test_looks_at_once_on_one_machine_are_all_counted(
    store: Store, better_and_worse: Pair, reviews: Reviews
) -> None:
    win(store, better_and_worse[0], reviews, "first")

    def look(_: int) -> int:
        client = MlflowClient(store[0].tracking_uri)
        return look_count.add_look(client, "sentiment", reviews[1].fingerprint)

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(look, range(8))) == list(range(2, 10))
    assert looks(store, reviews) == 9
