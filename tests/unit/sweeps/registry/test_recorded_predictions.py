"""Predictions of a test split that are kept, and how often the split was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from winners import Registry, answers_here, fewer_reviews

from sweeps.registry import isolated_scoring, look_count, recorded_predictions, versions
from sweeps.registry.champion import champion_state
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.registry.look_count import count_looks
from sweeps.registry.recorded_predictions import RecordedPredictionsError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each model was given in isolation, one number a call."""
    counts: list[int] = []

    def ask(model: Path, texts: Sequence[str]) -> IsolatedPredictions:
        counts.append(len(texts))
        return answers_here(model, texts)

    monkeypatch.setattr(isolated_scoring, "score_in_subprocess", ask)
    return counts


def keep(registry: Registry, version: int) -> Path:
    """Record a version's predictions as a sweep does that has scored it; return their file."""
    candidate, folder, artifacts = registry.find(version)
    dataset = registry.reviews[1]
    recorded_predictions.keep_predictions(
        registry.client,
        candidate.run_id,
        candidate.model_id,
        answers_here(folder, dataset.splits["test"].texts),
        dataset.fingerprint,
    )
    (file,) = (artifacts / "predictions" / candidate.model_id).iterdir()
    return file


def looks(registry: Registry) -> int:
    """Return the recorded number of scorings of the test split."""
    tags = registry.client.get_registered_model("sentiment").tags
    return int(tags[f"test_looks.{registry.reviews[1].fingerprint[:12]}"])


def test_what_the_sweep_has_scored_is_not_scored_again(
    registry: Registry, asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "first")
    keep(registry, 1)
    assert looks(registry) == 1
    assert registry.promote("--min-accuracy", "1") == 1
    # Once a model must run in isolation, on a sample of the texts.
    texts = len(registry.reviews[1].splits["test"].texts)
    assert asked == [min(64, texts)]
    for _ in range(2):
        assert registry.promote("--min-accuracy", "1") == 1
    assert asked == [min(64, texts)]
    assert looks(registry) == 1
    told = capsys.readouterr().out
    assert f"{texts} texts, float32; scored before" in told
    assert f"{registry.accuracy_of(registry.worse):.4f}" in told
    assert "this test split was scored once for models of sentiment" in told
    assert registry.promote() == 0
    # The second has no record, the champion has.
    registry.win(registry.better, "second", valid=0.8)
    assert registry.promote("--significant") == 0
    assert asked == [min(64, texts), texts]
    assert looks(registry) == 3
    told = capsys.readouterr().out
    assert "float32; scored now: version 2\n" in told
    assert "this test split was scored 3 times" in told
    (*_, move) = champion_state(registry.client, "sentiment").moves.values()
    assert move.figures["champion/test/accuracy"] == registry.accuracy_of(registry.worse)
    assert move.figures["test/accuracy"] == registry.accuracy_of(registry.better)


def test_refused_promotions_score_once_and_rescore_scores_again(
    registry: Registry, asked: list[int]
) -> None:
    registry.win(registry.better, "first")
    texts = len(registry.reviews[1].splits["test"].texts)
    for _ in range(3):
        assert registry.promote("--min-accuracy", "1") == 1
    assert asked == [texts]
    assert looks(registry) == 2  # the sweep's and this one
    assert registry.promote("--min-accuracy", "1", "--rescore") == 1
    assert asked == [texts, texts]
    assert looks(registry) == 3


def test_predictions_that_were_changed_are_not_believed(
    registry: Registry, asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "first")
    file = keep(registry, 1)
    registry.win(registry.better, "second", valid=0.8)
    # The better model's predictions in the place of the worse one's.
    file.write_bytes(keep(registry, 2).read_bytes())
    assert registry.promote("--version", "1", "--dry-run") == 0
    told = capsys.readouterr()
    assert "note: version 1 is scored again: the file of its predictions was changed" in told.err
    assert f"{registry.accuracy_of(registry.worse):.4f}" in told.out
    file.unlink()
    for left in file.parent.iterdir():
        left.unlink()
    assert registry.promote("--version", "1", "--dry-run") == 0
    assert "scored again: its predictions can't be had" in capsys.readouterr().err
    texts = len(registry.reviews[1].splits["test"].texts)
    assert asked == [texts, texts]


def test_predictions_of_other_files_or_texts_are_not_taken(
    registry: Registry, tmp_path: Path
) -> None:
    client = registry.client
    registry.win(registry.better, "first")
    keep(registry, 1)
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

    fingerprint = registry.reviews[1].fingerprint
    known = read(fingerprint, checksum)
    assert known is not None
    assert known.label_names == registry.reviews[1].label_names
    assert known.log_probabilities.dtype == np.float32
    assert len(known.log_probabilities) == len(registry.reviews[1].splits["test"].texts)
    assert read(fingerprint, "0" * 64) is None
    assert read(fewer_reviews(registry.reviews, tmp_path)[1].fingerprint, checksum) is None
    # Of data whose fingerprint starts alike.
    assert read(f"{fingerprint[:12]}{'0' * 52}", checksum) is None
    tag = f"predictions.test.{fingerprint[:12]}"
    client.set_logged_model_tags(candidate.model_id, {tag: "../../../etc/passwd"})
    with pytest.raises(RecordedPredictionsError, match="holds no sha256"):
        read(fingerprint, checksum)


def test_a_model_that_predicts_otherwise_in_isolation_is_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.win(registry.worse, "first")
    keep(registry, 1)

    def ask(model: Path, texts: Sequence[str], padded: bool = False) -> IsolatedPredictions:
        known = answers_here(model, texts)
        return IsolatedPredictions(
            known.label_names, np.log(1 - np.exp(known.log_probabilities)), padded
        )

    monkeypatch.setattr(isolated_scoring, "score_in_subprocess", ask)
    for _ in range(2):
        assert registry.promote() == 1
        told = capsys.readouterr().err
        assert "refused: version 1 does not predict in isolation what is recorded" in told
    # What a padded model says of a text follows from the others in its batch.
    monkeypatch.setattr(
        isolated_scoring, "score_in_subprocess", lambda model, texts: ask(model, texts, padded=True)
    )
    assert registry.promote() == 0


def test_a_run_without_a_registered_model_is_counted_when_it_has_one(
    registry: Registry, asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    client = registry.client
    run_id, _ = registry.train(registry.better)
    assert registry.promote("--run", run_id, "--dry-run") == 0
    assert "this test split was scored once" in capsys.readouterr().out
    assert client.search_registered_models() == []
    assert registry.promote("--run", run_id) == 0
    assert asked == [len(registry.reviews[1].splits["test"].texts)]
    assert count_looks(client, "sentiment", registry.reviews[1].fingerprint) == 1
    assert registry.alias("champion") == 1


def test_versions_from_before_there_was_a_count_are_counted(
    registry: Registry, tmp_path: Path
) -> None:
    client, fingerprint = registry.client, registry.reviews[1].fingerprint
    for sweep in ("first", "second"):
        registry.win(registry.better, sweep)
    registry.win(
        registry.better, "of other data", reviews=fewer_reviews(registry.reviews, tmp_path)
    )
    assert looks(registry) == 2
    client.delete_registered_model_tag("sentiment", f"test_looks.{fingerprint[:12]}")
    assert count_looks(client, "sentiment", fingerprint) == 2
    assert registry.win(registry.better, "third").test_looks == 3
    client.set_registered_model_tag("sentiment", f"test_looks.{fingerprint[:12]}", "many")
    assert look_count.add_look(client, "sentiment", fingerprint) == 4
    assert count_looks(client, "films", fingerprint) == 0
    assert look_count.add_look(client, "films", fingerprint) == 1


def test_looks_at_once_on_one_machine_are_all_counted(registry: Registry) -> None:
    registry.win(registry.better, "first")

    def look(_: int) -> int:
        client = MlflowClient(registry.client.tracking_uri)
        return look_count.add_look(client, "sentiment", registry.reviews[1].fingerprint)

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(look, range(8))) == list(range(2, 10))
    assert looks(registry) == 9
