"""The server goes along with what its alias names, and stays where a new version fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.request import url2pathname

import pytest
from winners import Registry

from sentiment.errors import InputError
from sentiment.tracking.model_uri import find_model
from sweeps.serving import follower
from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.follower import Alias, Answering, Follower
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.served_model import check_answers, load_served


@pytest.mark.parametrize(
    "reference",
    ["models:/sentiment/3", "models:/m-0123", "runs:/abc", "0" * 32, "some/folder", "./folder"],
)
def test_what_never_changes_is_no_alias(reference: str) -> None:
    with pytest.raises(InputError, match=r"^--follow: .+ is always the same model; name an alias"):
        Alias(reference, None)


@pytest.fixture
def followed(registry: Registry) -> tuple[Registry, BatchedClassifier, Follower]:
    """Two versions of which the first is the champion, and a follower that serves it."""
    registry.win(registry.worse, "one")
    registry.win(registry.better, "two")
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    alias = Alias("models:/sentiment@champion", registry.client.tracking_uri)
    classifier = BatchedClassifier(load_served(alias.find()), 1)
    return (
        registry,
        classifier,
        Follower(Answering(classifier, ServingMetrics("sentiment/1")), alias),
    )


def test_a_moved_alias_brings_the_other_version(
    followed: tuple[Registry, BatchedClassifier, Follower],
) -> None:
    registry, classifier, following = followed
    assert classifier.model.name == "sentiment/1"
    assert following.newer() is None
    registry.client.set_registered_model_alias("sentiment", "champion", "2")
    newer = following.newer()
    assert newer is not None
    assert newer.name == "sentiment/2"
    expected = load_served(find_model(str(registry.better))).bundle.predict(["great"])
    assert newer.bundle.predict(["great"]).tolist() == expected.tolist()
    check_answers(newer)


def test_a_version_that_fails_is_reported_once_and_tried_again_later(
    followed: tuple[Registry, BatchedClassifier, Follower],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, _, following = followed
    folder = _files_of(registry, "2")
    kept = folder.with_name("kept")
    folder.rename(kept)
    registry.client.set_registered_model_alias("sentiment", "champion", "2")
    assert following.newer() is None
    assert following.newer() is None
    said = capsys.readouterr().err
    assert said.startswith("warning: the alias can't be followed (")
    assert said.endswith("; sentiment/1 goes on answering\n")
    assert said.count("\n") == 1

    shutil.copytree(kept, folder)
    (folder / "artifacts" / "bundle" / "weights.safetensors").write_bytes(b"torn")
    assert following.newer() is None
    assert "warning: sentiment/2 can't be followed (" in capsys.readouterr().err
    shutil.rmtree(folder)
    kept.rename(folder)
    assert following.newer() is None  # its next try is not due yet
    monkeypatch.setattr(follower, "RETRY_INTERVAL", 0.0)
    following._retry_at = 0.0
    newer = following.newer()
    assert newer is not None
    assert newer.name == "sentiment/2"


def test_an_alias_that_is_gone_leaves_the_model(
    followed: tuple[Registry, BatchedClassifier, Follower], capsys: pytest.CaptureFixture[str]
) -> None:
    registry, classifier, following = followed
    registry.client.delete_registered_model_alias("sentiment", "champion")
    assert following.newer() is None
    assert "has no champion yet" in capsys.readouterr().err
    assert classifier.model.name == "sentiment/1"


def _files_of(registry: Registry, version: str) -> Path:
    found = registry.client.get_model_version("sentiment", version)
    model_id = (found.source or "").rpartition("/")[2]
    location: str = registry.client.get_logged_model(model_id).artifact_location
    return Path(url2pathname(location.removeprefix("file://")))
