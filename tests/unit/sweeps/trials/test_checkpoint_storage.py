"""Where checkpoints lie: on a disk, or in a bucket."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from services import answers, free_port, wait_until

from sentiment.errors import InputError
from sweeps.trials.checkpoint_storage import Storage


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The address of a bucket in an S3-compatible store of the tests' own."""
    import boto3

    port = free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    key, secret = "key", uuid.uuid4().hex
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: answers(port), process, log)
        boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        ).create_bucket(Bucket="checkpoints")
        where = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        yield f"s3://{key}:{secret}@checkpoints/{{folder}}?{where}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=["disk", "bucket"])
def storage(request, tmp_path):
    if request.param == "disk":
        return Storage(tmp_path / "deep" / "store")
    return Storage(request.getfixturevalue("bucket").format(folder=uuid.uuid4().hex))


def test_what_is_written_is_read_by_whoever_knows_the_address(storage):
    assert not storage.exists()
    assert storage.names() == []
    (storage / "00001-a" / "checkpoint_000000").write("manifest.json", "{}\n")
    (storage / "00002-b").write("notes", "é")
    assert storage.exists()
    assert storage.names() == ["00001-a", "00002-b"]
    other = pickle.loads(pickle.dumps(storage))  # noqa: S301 - as Ray does
    assert (other / "00002-b").read("notes") == "é"
    with (other / "00001-a" / "checkpoint_000000").on_disk() as folder:
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        assert (folder / "manifest.json").read_text() == "{}\n"
    assert folder.exists() == (storage.local is not None)
    (storage / "00001-a").remove()
    assert storage.names() == ["00002-b"]
    storage.remove()
    storage.remove()
    assert not storage.exists()


def test_a_folder_is_put_in_place_of_what_was_there(storage, tmp_path):
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"\x00\x01")
    (folder / "notes").write_text("é")
    (storage / "00001-a").write("earlier", "gone")
    (storage / "00001-a").put(folder)
    (storage / "00001-a").put(folder)
    with (storage / "00001-a").on_disk() as copy:
        found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
        assert found == {"model/weights", "notes"}
        assert (copy / "model" / "weights").read_bytes() == b"\x00\x01"
    assert (folder / "notes").read_text() == "é"


def test_a_relative_path_is_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = Storage("here") / "there"
    monkeypatch.chdir("/")
    assert storage.local == Path(tmp_path, "here", "there")
    assert storage.path == str(tmp_path / "here" / "there")


def test_a_question_mark_is_part_of_a_path_on_a_disk(tmp_path):
    assert (Storage(tmp_path / "why?") / "00001-a").local == tmp_path / "why?" / "00001-a"


def test_what_others_have_put_there_stays(storage):
    (storage / "theirs").write("notes", "a")
    storage.remove_empty()
    assert storage.names() == ["theirs"]
    (storage / "theirs").remove()
    storage.remove_empty()
    storage.remove_empty()
    assert not storage.exists()


def test_credentials_are_not_shown(bucket):
    storage = Storage(bucket.format(folder="a")) / "b"
    assert storage.path == "checkpoints/a/b"
    secret = bucket.split("@")[0].rpartition(":")[2]
    assert secret in storage.address
    assert secret not in str(storage)
    assert "checkpoints/a/b" in str(storage)


@pytest.mark.parametrize("address", ["ftp://host/folder", "gs:// ", "nothing://x"])
def test_an_address_of_no_storage_is_refused(address):
    with pytest.raises(InputError, match=r"--storage .*give a folder, s3://bucket"):
        _ = (Storage(address) / "name").filesystem


def test_a_bucket_is_named():
    with pytest.raises(InputError, match="name a bucket too, as in s3://bucket/folder"):
        Storage("s3://")
