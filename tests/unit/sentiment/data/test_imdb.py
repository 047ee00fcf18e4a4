from __future__ import annotations

import hashlib
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sentiment.data import imdb
from sentiment.errors import InputError

REVIEWS = {
    "train/neg/0_3.txt": "bad zero",
    "train/neg/2_1.txt": "bad two <br />\x85",
    "train/neg/10_4.txt": "bad ten",
    "train/pos/0_9.txt": "good zero é",
    "train/pos/11_8.txt": "good eleven",
    "train/unsup/1_0.txt": "unknown one",
    "train/unsup/0_0.txt": "unknown zero",
    "test/neg/0_2.txt": "bad test",
    "test/pos/0_10.txt": "good test",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The official layout with nine reviews, and files that are none."""
    folder = tmp_path / "data" / "aclImdb"
    others = {"README": "x", "train/labeledBow.feat": "x", "train/pos/._0_9.txt": "x"}
    for name, text in (REVIEWS | others).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def tarball(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "served" / "aclImdb_v1.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "aclImdb")
    return path


@pytest.fixture
def served(tarball: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the tarball on a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tarball.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{tarball.name}"
        server.shutdown()
        thread.join()


def test_reviews_come_in_the_order_of_their_numbers(folder: Path) -> None:
    splits = imdb.load(str(folder))
    assert list(splits) == ["train", "test", "unsup"]
    assert splits["train"].texts == [
        "bad zero",
        "bad two <br />\x85",
        "bad ten",
        "good zero é",
        "good eleven",
    ]
    assert splits["train"].labels.tolist() == [0, 0, 0, 1, 1]
    assert splits["test"].texts == ["bad test", "good test"]
    assert splits["test"].labels.tolist() == [0, 1]
    assert splits["unsup"].texts == ["unknown zero", "unknown one"]
    assert splits["unsup"].labels.shape == (0,)


def test_every_way_to_name_the_data_gives_the_same(folder: Path, tarball: Path) -> None:
    expected = imdb.load(str(folder))
    for given in (folder.parent, tarball, tarball.parent):
        splits = imdb.load(str(given))
        assert list(splits) == list(expected)
        for name, split in splits.items():
            assert split.texts == expected[name].texts
            assert split.labels.tolist() == expected[name].labels.tolist()


def test_the_download_is_kept_in_the_cache(
    served: str, tarball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    checksum = f"md5:{hashlib.md5(tarball.read_bytes()).hexdigest()}"
    said: list[str] = []
    splits = imdb.load(None, said.append, url=served, checksum=checksum)
    assert len(splits["train"]) == 5
    assert served in said[0]
    assert "84 MB" in said[0]
    tarball.unlink()
    assert len(imdb.load(None, url=served, checksum=checksum)["train"]) == 5


def test_a_mirror_must_have_the_official_file(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SENTIMENT_IMDB_URL", served)
    with pytest.raises(InputError, match="checksum is not md5:7c2ac02c03563afcf9b574c7e56c153a"):
        imdb.load(None)
    assert not (tmp_path / "cache" / "downloads").exists()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment.io.download._PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SENTIMENT_IMDB_URL", "http://127.0.0.1:9/aclImdb_v1.tar.gz")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(InputError) as caught:
        imdb.load(None)
    message = str(caught.value)
    assert message.count("\n") == 1
    assert "can't download http://127.0.0.1:9/aclImdb_v1.tar.gz" in message
    assert "--data-dir" in message
    assert not (tmp_path / "cache" / "downloads").exists()


def _without(folder: Path, *parts: str) -> None:
    for part in parts:
        for path in (folder / part).iterdir():
            path.unlink()


def test_the_train_half_is_missing(folder: Path) -> None:
    _without(folder, "train/neg", "train/pos")
    with pytest.raises(InputError, match=r"the train half is missing, .*train/neg and train/pos"):
        imdb.load(str(folder))


def test_half_of_the_test_half_is_missing(folder: Path) -> None:
    _without(folder, "test/neg")
    with pytest.raises(InputError, match=r"the test half is missing, .*test/neg"):
        imdb.load(str(folder))


def test_without_a_test_half_there_is_train_alone(folder: Path) -> None:
    _without(folder, "test/neg", "test/pos")
    said: list[str] = []
    splits = imdb.load(str(folder), said.append)
    assert set(splits) == {"train", "unsup"}
    assert said == ["imdb: there is no test half; a test split is drawn from the train half"]


def _urls(folder: Path) -> None:
    for half in ("train", "test"):
        for name in ("neg", "pos"):
            lines = [f"http://films/{half[1]}{i // 2}/usercomments" for i in range(12)]
            (folder / half / f"urls_{name}.txt").write_text("\n".join(lines) + "\n")


def test_films_by_the_lists_of_urls(folder: Path, tarball: Path) -> None:
    _urls(folder)
    splits = imdb.load(str(folder), groups=True)
    # Line i is of the review with the id i: 0, 2, 10 of neg, 0 and 11 of pos.
    assert splits["train"].groups == [f"http://films/r{film}" for film in (0, 1, 5, 0, 5)]
    assert splits["test"].groups == ["http://films/e0"] * 2
    assert splits["unsup"].groups is None
    assert imdb.load(str(folder))["train"].groups is None


def test_films_without_their_lists_are_refused(folder: Path, tarball: Path) -> None:
    for source in (folder, tarball):
        with pytest.raises(InputError, match=r"no train/urls_neg\.txt with a line for each review"):
            imdb.load(str(source), groups=True)


def test_wrong_data_dirs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        imdb.load(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds neither aclImdb/ nor aclImdb_v1"):
        imdb.load(str(folder / "train" / "pos"))
    with pytest.raises(InputError, match="can't be read as a tar archive"):
        imdb.load(str(folder / "README"))
    (folder / "train/pos/0_9.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"train/pos/0_9\.txt is not UTF-8 \(byte 3\)"):
        imdb.load(str(folder))
