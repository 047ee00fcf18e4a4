from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from winners import Registry

from sweeps.registry.checksums import changes, checksum, differences, file_checksums
from sweeps.registry.versions import Candidate

pytestmark = pytest.mark.usefixtures("in_process")


def checksum_list(artifacts: Path, candidate: Candidate) -> Path:
    """Return the file with the list of a model's checksums, among the artifacts of its run."""
    return artifacts / "checksums" / f"{candidate.model_id}.json"


@pytest.mark.parametrize("file", ["artifacts/bundle/weights.safetensors", "pyfunc.py"])
def test_files_that_were_changed_are_refused(
    registry: Registry, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = registry.client
    registry.win(registry.better, "first")
    candidate, folder, artifacts = registry.find()
    listed = checksum_list(artifacts, candidate)
    assert json.loads(listed.read_text()) == file_checksums(folder)
    assert (
        candidate.tags["checksums_sha256"]
        == checksum(file_checksums(folder))
        == hashlib.sha256(listed.read_bytes()).hexdigest()
    )
    # All that stands on the version's page is short, but for where the data is.
    assert all(len(v) <= 64 for name, v in candidate.tags.items() if name != "data")
    original = (folder / file).read_bytes()
    (folder / file).write_bytes(original[:-1] + b"?")
    assert registry.promote() == 1
    told = capsys.readouterr().err
    assert told == (
        f"refused: the files of version 1 are not those registered: {file} is not the file it was\n"
    )
    (folder / file).write_bytes(original)
    (folder / "more.py").write_text("")
    assert registry.promote() == 1
    assert "more.py was not there" in capsys.readouterr().err
    (folder / "more.py").unlink()
    (folder / "code/sentiment/__pycache__").mkdir()
    (folder / "code/sentiment/__pycache__/text.cpython-311.pyc").write_bytes(b"x")
    (folder / "registered_model_meta").write_text("model_name: sentiment")
    assert registry.promote() == 0
    client.delete_model_version_tag("sentiment", "1", "checksums_sha256")
    client.delete_registered_model_alias("sentiment", "champion")
    assert registry.promote() == 1
    assert "checksums of its files were not recorded" in capsys.readouterr().err


def test_a_list_that_was_rewritten_with_the_files_is_found_out(registry: Registry) -> None:
    client = registry.client
    registry.win(registry.better, "first")
    candidate, folder, artifacts = registry.find()
    listed = checksum_list(artifacts, candidate)
    listed.unlink()

    def found() -> list[str]:
        now = file_checksums(folder)
        return changes(client, candidate.tags, candidate.run_id, candidate.model_id, now)

    assert found() == []  # the list only names files; the tag decides
    (folder / "pyfunc.py").write_text("import os")
    assert found() == ["their checksum differs, and the list of checksums is gone"]
    listed.write_text(json.dumps(file_checksums(folder)))
    assert found() == ["their checksum differs, and the list of checksums was changed too"]


def test_versions_with_the_whole_list_as_a_tag_verify_still(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    client = registry.client
    registry.win(registry.better, "first")
    candidate, folder, artifacts = registry.find()
    listed = checksum_list(artifacts, candidate)
    client.delete_model_version_tag("sentiment", "1", "checksums_sha256")
    client.set_model_version_tag("sentiment", "1", "sha256", json.dumps(file_checksums(folder)))
    listed.unlink()
    original = (folder / "pyfunc.py").read_bytes()
    (folder / "pyfunc.py").write_bytes(original + b"\n")
    assert registry.promote() == 1
    assert "pyfunc.py is not the file it was" in capsys.readouterr().err
    (folder / "pyfunc.py").write_bytes(original)
    assert registry.promote() == 0


def test_differences_between_lists() -> None:
    assert differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"}) == [
        "c is missing",
        "b is not the file it was",
        "d was not there",
    ]
    assert checksum({"a": "1", "b": "2"}) == checksum({"b": "2", "a": "1"})
    assert checksum({"a": "1", "b": "2"}) != checksum({"a": "2", "b": "1"})
