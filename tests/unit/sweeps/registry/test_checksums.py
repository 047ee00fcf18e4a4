from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from winners import Store, promote, win

from sentiment.data.datasets import Dataset
from sweeps.registry import versions
from sweeps.registry.checksums import changes, checksum, differences, digests

pytestmark = pytest.mark.usefixtures("only_store", "in_process")


def candidate_of(store: Store) -> tuple[versions.Candidate, Path, Path]:
    """Return the challenger, the folder of its model, and the list of its checksums."""
    client = store[0]
    candidate = versions.find_candidate(client, "sentiment")
    folder = Path(client.get_logged_model(candidate.model_id).artifact_location)
    artifacts = Path(client.get_run(candidate.run_id).info.artifact_uri)
    return candidate, folder, artifacts / "checksums" / f"{candidate.model_id}.json"


@pytest.mark.parametrize("file", ["artifacts/bundle/weights.safetensors", "pyfunc.py"])
def test_files_that_were_changed_are_refused(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    file: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = store[0]
    win(store, better_and_worse[0], reviews, "first")
    candidate, folder, listed = candidate_of(store)
    assert json.loads(listed.read_text()) == digests(folder)
    assert (
        candidate.tags["checksums_sha256"]
        == checksum(digests(folder))
        == hashlib.sha256(listed.read_bytes()).hexdigest()
    )
    # All that stands on the version's page is short, but for where the data is.
    assert all(len(v) <= 64 for name, v in candidate.tags.items() if name != "data")
    original = (folder / file).read_bytes()
    (folder / file).write_bytes(original[:-1] + b"?")
    assert promote(store, reviews) == 1
    told = capsys.readouterr().err
    assert told == (
        f"refused: the files of version 1 are not those registered: {file} is not the file it was\n"
    )
    (folder / file).write_bytes(original)
    (folder / "more.py").write_text("")
    assert promote(store, reviews) == 1
    assert "more.py was not there" in capsys.readouterr().err
    (folder / "more.py").unlink()
    (folder / "code/sentiment/__pycache__").mkdir()
    (folder / "code/sentiment/__pycache__/text.cpython-311.pyc").write_bytes(b"x")
    (folder / "registered_model_meta").write_text("model_name: sentiment")
    assert promote(store, reviews) == 0
    client.delete_model_version_tag("sentiment", "1", "checksums_sha256")
    client.delete_registered_model_alias("sentiment", "champion")
    assert promote(store, reviews) == 1
    assert "digests of its files were not recorded" in capsys.readouterr().err


def test_a_list_that_was_rewritten_with_the_files_is_found_out(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    win(store, better_and_worse[0], reviews, "first")
    candidate, folder, listed = candidate_of(store)
    listed.unlink()

    def found() -> list[str]:
        now = digests(folder)
        return changes(client, candidate.tags, candidate.run_id, candidate.model_id, now)

    assert found() == []  # the list only names files; the tag decides
    (folder / "pyfunc.py").write_text("import os")
    assert found() == ["their checksum differs, and the list of checksums is gone"]
    listed.write_text(json.dumps(digests(folder)))
    assert found() == ["their checksum differs, and the list of checksums was changed too"]


def test_versions_with_the_whole_list_as_a_tag_verify_still(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = store[0]
    win(store, better_and_worse[0], reviews, "first")
    _, folder, listed = candidate_of(store)
    client.delete_model_version_tag("sentiment", "1", "checksums_sha256")
    client.set_model_version_tag("sentiment", "1", "sha256", json.dumps(digests(folder)))
    listed.unlink()
    original = (folder / "pyfunc.py").read_bytes()
    (folder / "pyfunc.py").write_bytes(original + b"\n")
    assert promote(store, reviews) == 1
    assert "pyfunc.py is not the file it was" in capsys.readouterr().err
    (folder / "pyfunc.py").write_bytes(original)
    assert promote(store, reviews) == 0


def test_differences_between_lists() -> None:
    assert differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"}) == [
        "c is missing",
        "b is not the file it was",
        "d was not there",
    ]
    assert checksum({"a": "1", "b": "2"}) == checksum({"b": "2", "a": "1"})
    assert checksum({"a": "1", "b": "2"}) != checksum({"a": "2", "b": "1"})
