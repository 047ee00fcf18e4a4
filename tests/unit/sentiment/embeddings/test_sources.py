"""Every source of word vectors, from real files, a real server and real training."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from sentiment.config import ModelConfig, TextConfig
from sentiment.data.corpus import Corpus, EncodedSplit, load_corpus
from sentiment.data.datasets import DataConfig, Dataset, Split, load_dataset
from sentiment.embeddings.catalog import DOWNLOADS, Download, load_named
from sentiment.embeddings.sources import (
    VectorSpec,
    WordVectors,
    coverage,
    embedding_matrix,
    load_many,
    load_vectors,
)
from sentiment.embeddings.trained import InDomain
from sentiment.errors import InputError

TEXT = TextConfig(tokenizer="whitespace")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def corpus_of(*words: str) -> Corpus:
    return Corpus(words, np.arange(len(words), 0, -1), {}, ("neg", "pos"), "tiny", "f" * 64)


CORPUS = corpus_of("good", "bad", "café", "nowhere", "New York")
EXPECTED = np.array([[1, 2, 3], [4, 5, 6], [-0.5, 1e-3, 0], [0, 0, 0], [7, 8, 9]], np.float32)
FOUND = [True, True, True, False, True]
ROWS = "good 1 2 3\nother 9 9 9\nbad 4 5 6\ngood 0 0 0\ncafé -.5 1e-3 0\nNew York 7 8 9\n"


def load(source: str | Path, corpus: Corpus = CORPUS) -> WordVectors:
    vectors = load_vectors(ModelConfig(embedding=str(source)), corpus, TEXT)
    assert vectors is not None
    assert vectors.source == str(source)
    return vectors


def assert_expected(vectors: WordVectors) -> None:
    assert vectors.found.tolist() == FOUND
    np.testing.assert_array_equal(vectors.vectors, EXPECTED)
    assert vectors.vectors.dtype == np.float32


# --- random and packaged


def test_random_has_no_vectors() -> None:
    assert load_vectors(ModelConfig(embedding="random"), CORPUS, TEXT) is None


def test_glove_is_the_packaged_one() -> None:
    vectors = load("glove", corpus_of("the", "great", "aa1bb2", "unk"))
    assert vectors.found.tolist() == [True, True, False, True]
    # As the published glove.6B.50d.txt has them.
    np.testing.assert_array_equal(
        vectors.vectors[0, :4], np.array([0.418, 0.24968, -0.41242, 0.1217], np.float32)
    )
    assert vectors.dim == 50
    assert not vectors.vectors[2].any()


def look_up(words: list[str], backup: bool, **changes: str) -> WordVectors:
    model = ModelConfig(**{"embedding": "glove", "lower_case_backup": backup, **changes})
    vectors = load_vectors(model, corpus_of(*words), TEXT)
    assert vectors is not None
    return vectors


def test_a_word_without_a_vector_takes_that_of_its_lower_case_form() -> None:
    words = ["the", "The", "THE", "aA1bB2"]
    vectors = look_up(words, backup=True)
    assert vectors.found.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(vectors.vectors[1], vectors.vectors[0])
    assert look_up(words, backup=False).found.tolist() == [True, False, False, False]


def test_the_backup_is_torchtexts(tmp_path: Path) -> None:
    from torchtext import vocab

    path = tmp_path / "cased.txt"
    path.write_text("Apple 1 2 3\napple 4 5 6\npear 7 8 9\nPLUM 1 1 1\n")
    words = ["Apple", "apple", "APPLE", "Pear", "plum", "PLUM"]
    theirs = vocab.Vectors(path.name, cache=str(tmp_path))
    for backup in (False, True):
        ours = look_up(words, backup, embedding=str(path))
        expected = theirs.get_vecs_by_tokens(words, lower_case_backup=backup).numpy()
        np.testing.assert_array_equal(ours.vectors, expected)
        assert ours.found.tolist() == expected.any(axis=1).tolist()


def test_what_is_drawn_or_trained_has_no_backup() -> None:
    for source, dim in (("random", 0), ("word2vec", 100), ("fasttext", 100)):
        for backup in (False, True):
            model = ModelConfig(embedding=source, lower_case_backup=backup)
            assert VectorSpec.of(model) == VectorSpec(source, dim)
    assert VectorSpec.of(ModelConfig(embedding="glove")).lower_case_backup


# --- files


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("glove.txt", ROWS.encode()),
        ("crlf.txt", ROWS.replace("\n", "\r\n").encode()),
        ("fasttext.vec", f"6 3\n{ROWS}".replace("\n", " \n").encode()),
        ("tabs.txt", ROWS.replace(" ", "\t").replace("New\tY", "New Y").encode()),
        ("unended.txt", ROWS.rstrip().encode()),
        ("packed.txt.gz", gzip.compress(f"6 3\n{ROWS}".encode(), mtime=0)),
    ],
)
def test_text_formats(name: str, contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(contents)
    assert_expected(load(path))


def test_word2vecs_binary_format(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(3)
    vectors.add_vectors(["good", "bad", "café"], EXPECTED[:3])
    vectors.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    loaded = load(tmp_path / "v.bin")
    np.testing.assert_array_equal(loaded.vectors[:3], EXPECTED[:3])
    assert loaded.found.tolist() == [True, True, True, False, False]
    (tmp_path / "bad.bin").write_bytes((tmp_path / "v.bin").read_bytes()[:-5])
    with pytest.raises(InputError, match=r"bad\.bin: not in word2vec's binary format"):
        load(tmp_path / "bad.bin")


def test_a_file_is_converted_once(tmp_path: Path, cache: Path) -> None:
    said: list[str] = []
    for name in ("v.txt", "copy.txt"):
        (tmp_path / name).write_text(ROWS)
        model = ModelConfig(embedding=str(tmp_path / name))
        load_vectors(model, CORPUS, TEXT, said.append)
    assert said == [f"{tmp_path / 'v.txt'}: converting"]
    (tmp_path / "v.txt").write_text("good 3 2 1\n")
    assert load(tmp_path / "v.txt").vectors[0].tolist() == [3, 2, 1]
    assert len(list((cache / "pretrained").iterdir())) == 2


@pytest.mark.parametrize("rows", [1, 4095, 4096, 4097, 10_000])
def test_tables_of_any_length(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("".join(f"w{row} {row} {row + 0.5}\n" for row in range(rows)))
    words = [f"w{row}" for row in range(rows)]
    vectors = load(path, corpus_of(*words))
    assert vectors.found.all()
    expected = np.arange(rows, dtype=np.float32)
    np.testing.assert_array_equal(vectors.vectors, np.stack([expected, expected + 0.5], axis=1))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"good 1 2 3\nbad 4 5\n", "line 2: 2 numbers after the word, not 3"),
        (b"good 1 2 3\nbad 4 5 six\n", "line 2: what follows the word is not 3 numbers"),
        (b"good 1 2 3\nbad 4 nan 6\n", "line 2: a number is not finite"),
        (b"good 1 2 3\nbad 4 inf 6\n", "line 2: a number is not finite"),
        (b"good 1 2 3\nbad 4 1e99 6\n", "line 2: a number is not finite"),
        (b"good 1 2 3\n\nbad 4 5 6\n", "line 2: 0 numbers after the word, not 3"),
        (b"good 1 2 3\ncaf\xe9 4 5 6\n", "line 2: the word is not UTF-8"),
        (b"3 3\ngood 1 2 3\nbad 4 5 6\n", "line 1 promises 3 vectors, there are 2"),
        (b"2 3\ngood 1 2 3\nbad 4 5 6 7\n3 3 3", "line 4: 2 numbers after the word, not 3"),
        (b"good\n", "line 1: a word and its numbers are needed"),
        (b"", "line 1: a word and its numbers are needed"),
        (b"0 3\n", "there is no vector in it"),
    ],
)
def test_a_wrong_line_is_named(contents: bytes, message: str, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(contents)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert list(cache.rglob("*")) == []


def test_a_torn_gz_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(ROWS.encode() * 50)[:-20])
    with pytest.raises(InputError, match=r"v\.txt\.gz, line \d+: "):
        load(tmp_path / "v.txt.gz")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("glove.6b.100d", "did you mean glove.6B.100d"),
        ("word2vek", "did you mean word2vec"),
        ("nonsense", "there are: random, glove, word2vec, fasttext, glove.6B.50d"),
        ("/nowhere/v.txt", "embedding=/nowhere/v.txt: there is no such file"),
        ("mine.vec", "embedding=mine.vec: there is no such file"),
    ],
)
def test_an_unknown_source(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        VectorSpec.of(ModelConfig(embedding=source))


# --- downloads


def test_names_and_addresses_are_torchtexts() -> None:
    from torchtext import vocab

    assert set(DOWNLOADS) == set(vocab.pretrained_aliases)
    for name, source in DOWNLOADS.items():
        kind, _, rest = name.partition(".")
        stem, _, dim = rest.rpartition(".")
        theirs = {
            "glove": lambda stem=stem: vocab.GloVe.url[stem],
            "fasttext": lambda stem=stem: vocab.FastText.url_base.format(stem),
            "charngram": lambda: vocab.CharNGram.url,
        }[kind]()
        assert source.url.partition("://")[2] == theirs.partition("://")[2]
        assert dim == f"{source.dim}d"
        member = {"glove": f"{name}.txt", "charngram": vocab.CharNGram.name}.get(kind)
        assert source.member == member


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a server shows it."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def tarred(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(f"jmt/{name}")
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def publish(
    monkeypatch: pytest.MonkeyPatch,
    web: tuple[Path, str],
    name: str,
    contents: bytes,
    dim: int = 3,
    checksum: str | None = None,
) -> None:
    """Let a mirror hold a small file in the place of a source's large one."""
    folder, url = web
    real = DOWNLOADS[name]
    (folder / real.url.rpartition("/")[2]).write_bytes(contents)
    checksum = checksum or f"sha256:{hashlib.sha256(contents).hexdigest()}"
    monkeypatch.setitem(DOWNLOADS, name, Download(real.url, dim, checksum, real.member))
    monkeypatch.setenv("SENTIMENT_VECTORS_URL", f"{url}/")


def test_a_member_of_a_zip_is_downloaded_once(
    web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    members = {"glove.6B.50d.txt": "good 1\n", "glove.6B.100d.txt": ROWS}
    publish(monkeypatch, web, "glove.6B.100d", zipped(members))
    assert_expected(load("glove.6B.100d"))
    monkeypatch.setenv("SENTIMENT_VECTORS_URL", "http://127.0.0.1:9/nothing/is/here")
    assert_expected(load("glove.6B.100d"))
    assert [path.name for path in (cache / "downloads").iterdir()] == ["glove.6B.zip"]


def test_published_files_hold_odd_words(
    web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = f"8 3\n{ROWS} 1 1 1\n".encode() + b"caf\xe9 1 1 1\n"
    publish(monkeypatch, web, "fasttext.simple.300d", odd)
    assert_expected(load("fasttext.simple.300d"))


def test_character_ngrams(web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "2gram-#BEGIN#a 1 0\n2gram-ab 0 1\n3gram-ab#END# 4 4\n2gram-zz 9 9\n"
    publish(monkeypatch, web, "charngram.100d", tarred("charNgram.txt", text), dim=2)
    vectors = load("charngram.100d", corpus_of("ab", "qq", "a"))
    assert vectors.found.tolist() == [True, False, True]
    np.testing.assert_allclose(vectors.vectors, [[5 / 3, 5 / 3], [0, 0], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("contents", "checksum", "message"),
    [
        (zipped({"glove.6B.100d.txt": ROWS}), f"sha256:{'0' * 64}", "checksum"),
        (zipped({"glove.6B.50d.txt": ROWS}), None, "it lacks glove.6B.100d.txt"),
        (zipped({"glove.6B.100d.txt": f"{ROWS}torn 1"}), None, "line 7: 1 numbers after"),
        (b"<html>Not today</html>", None, "File is not a zip file"),
    ],
)
def test_a_download_that_is_not_what_it_should_be(
    contents: bytes,
    checksum: str | None,
    message: str,
    web: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
) -> None:
    publish(monkeypatch, web, "glove.6B.100d", contents, checksum=checksum)
    with pytest.raises(InputError, match=message):
        load("glove.6B.100d")
    assert not (cache / "pretrained").exists()


def test_no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr("sentiment.io.download._ATTEMPTS", 1)
    monkeypatch.setenv("SENTIMENT_VECTORS_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"can't download http://127\.0\.0\.1:9/wiki\.en\.vec"):
        load("fasttext.en.300d")
    assert list(cache.rglob("*")) == []


# --- trained on the texts


RARE = 50


def topics(unsup: bool = False) -> Dataset:
    """Texts of two topics, whose words never stand together, and words of one text alone."""
    generator = np.random.default_rng(0)
    words = np.array([[f"{topic}{number}" for number in range(150)] for topic in ("sun", "rain")])
    texts = [" ".join(generator.choice(words[number % 2], 40)) for number in range(1_000)]
    for number in range(RARE):
        texts[number] += f" rare{number}"
    texts[-1] += " q"
    splits = {"train": Split(texts, np.arange(1_000) % 2), "valid": Split(["sun1"], np.zeros(1))}
    if unsup:
        splits["unsup"] = Split(["sun1 rain1 unseen"] * 2_000, np.empty(0))
    return Dataset("topics", ("neg", "pos"), splits, "ab" * 32 if unsup else "cd" * 32)


def similarity(vectors: WordVectors, corpus: Corpus, first: str, second: str) -> float:
    a, b = (vectors.vectors[corpus.words.index(word)] for word in (first, second))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_training_learns_topics_and_is_repeatable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus = load_corpus(topics(), TEXT)
    specs = [VectorSpec("word2vec", 8), VectorSpec("fasttext", 8), VectorSpec("random", 0)]
    said: list[str] = []
    together = load_many(specs, corpus, TEXT, said.append)
    assert said == ["training fasttext 8d and word2vec 8d on the texts of topics"]
    assert together[VectorSpec("random", 0)] is None
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "other"))
    repeated = np.array([not word.startswith("rare") for word in corpus.words])
    for source in ("word2vec", "fasttext"):
        model = ModelConfig(embedding=source, embedding_dim=8)
        alone = load_vectors(model, corpus, TEXT)
        vectors = together[VectorSpec.of(model)]
        assert vectors is not None and alone is not None
        np.testing.assert_array_equal(vectors.vectors, alone.vectors)
        assert vectors.vectors.shape == (301 + RARE, 8)
        assert np.isfinite(vectors.vectors).all()
        same = similarity(vectors, corpus, "sun1", "sun2")
        assert same > similarity(vectors, corpus, "sun1", "rain2") + 0.5
        # A word seen once has only its characters to go by, and q has too few of them.
        expected = repeated if source == "word2vec" else np.ones_like(repeated)
        expected[corpus.words.index("q")] = False
        np.testing.assert_array_equal(vectors.found, expected)
        np.testing.assert_array_equal(vectors.vectors.any(axis=1), expected)
        other_seed = load_vectors(model, corpus, TEXT, seed=5)
        assert other_seed is not None
        assert not np.allclose(other_seed.vectors, vectors.vectors)
    assert capfd.readouterr() == ("", "")


def test_the_cache_is_keyed_by_what_changes_the_vectors() -> None:
    corpus, more = load_corpus(topics(), TEXT), load_corpus(topics(unsup=True), TEXT)
    keys = {
        InDomain(*arguments).fingerprint
        for arguments in (
            ("word2vec", 8, corpus, "k", 1),
            ("fasttext", 8, corpus, "k", 1),
            ("word2vec", 9, corpus, "k", 1),
            ("word2vec", 8, more, "k", 1),
            ("word2vec", 8, corpus, "other", 1),
            ("word2vec", 8, corpus, "k", 2),
        )
    }
    assert len(keys) == 6


def test_unlabelled_texts_are_trained_on() -> None:
    """In them alone do sun1 and rain1 stand together."""
    plain, more = load_corpus(topics(), TEXT), load_corpus(topics(unsup=True), TEXT)
    assert plain.words == more.words
    spec = VectorSpec("word2vec", 8)
    similarities = []
    for corpus in (plain, more):
        vectors = load_many([spec], corpus, TEXT)[spec]
        assert vectors is not None
        similarities.append(similarity(vectors, corpus, "sun1", "rain1"))
    assert similarities[1] > similarities[0] + 0.2


@pytest.mark.parametrize("source", ["word2vec", "fasttext"])
def test_too_few_texts_to_train_on(source: str) -> None:
    data = Dataset("few", ("a", "b"), {"train": Split(["x y z"], np.zeros(1))}, "e" * 64)
    corpus = load_corpus(data, TEXT)
    with pytest.raises(InputError, match=f"embedding={source}: few has too few texts"):
        load(source, corpus)


@pytest.mark.parametrize("source", ["word2vec", "fasttext"])
def test_words_with_white_space_and_odd_characters(source: str) -> None:
    words = ("New York", "a\xa0b", "tab\tbed", "�", "naïve", "x" * 300, "\x00")
    tokens = np.tile(np.arange(len(words), dtype=np.int32), 40)
    train = EncodedSplit(tokens, np.arange(0, len(tokens) + 1, 14), np.zeros(20, np.int64))
    counts = np.full(len(words), 40)
    corpus = Corpus(words, counts, {"train": train}, ("a", "b"), "odd", "d" * 64)
    vectors = load(source, corpus)
    assert vectors.found.all()
    assert vectors.vectors.any(axis=1).all()


@pytest.mark.slow
def test_vectors_trained_on_imdb_know_what_is_good() -> None:
    """Neighbours are sensible, and a linear model on mean vectors passes 85%."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    corpus = load_corpus(load_dataset(DataConfig()), TextConfig())
    specs = [VectorSpec("word2vec", 100), VectorSpec("fasttext", 100)]
    for spec, vectors in load_many(specs, corpus, TextConfig()).items():
        assert vectors is not None
        assert coverage(vectors, 25_000) == 1
        likeness = partial(similarity, vectors, corpus)
        assert likeness("terrible", "awful") > likeness("terrible", "great") + 0.2

        def means(name: str, of: np.ndarray = vectors.vectors) -> np.ndarray:
            split = corpus.splits[name]
            rows = of[split.tokens] * (split.tokens >= 0)[:, None]
            return np.add.reduceat(rows, split.offsets[:-1]) / np.diff(split.offsets)[:, None]

        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(means("train"), corpus.splits["train"].labels)
        accuracy = model.score(means("valid"), corpus.splits["valid"].labels)
        assert accuracy >= 0.85, spec


# --- the matrix


def matrix(
    vectors: WordVectors | None, known: int, seed: int = 0, std: float = 0.1
) -> torch.Tensor:
    return embedding_matrix(vectors, known, 3, std, torch.Generator().manual_seed(seed))


def vectors_of(found: list[bool]) -> WordVectors:
    mask = np.array(found)
    rows = np.arange(1, 3 * len(found) + 1, dtype=np.float32).reshape(-1, 3)
    return WordVectors(np.where(mask[:, None], rows, 0).astype(np.float32), mask, "test")


def test_rows_of_the_matrix() -> None:
    weights = matrix(vectors_of([True, False, True, True]), known=3)
    assert weights.shape == (5, 3)
    assert weights.dtype == torch.float32
    assert weights[:2].abs().sum() == 0  # <unk> and <pad>
    assert weights[2].tolist() == [1, 2, 3]
    assert weights[4].tolist() == [7, 8, 9]
    assert (weights[3] != 0).all()
    assert weights[3].abs().max() < 0.6
    torch.testing.assert_close(weights, matrix(vectors_of([True, False, True, True]), known=3))
    still = matrix(vectors_of([True, False, True, True]), known=3, std=0)
    assert still[3].tolist() == [0, 0, 0]


def test_a_random_matrix_draws_unk_too() -> None:
    weights = matrix(None, known=20_000)
    assert weights.shape == (20_002, 3)
    assert weights[1].tolist() == [0, 0, 0]
    assert (weights[0] != 0).all()
    assert weights[2:].std().item() == pytest.approx(0.1, rel=0.02)
    assert not torch.equal(weights, matrix(None, known=20_000, seed=1))


def test_coverage_is_the_share_of_known_words() -> None:
    vectors = vectors_of([True, False, True, True])
    assert [coverage(vectors, known) for known in (0, 1, 2, 4)] == [0, 1, 0.5, 0.75]
    assert coverage(None, 4) == 0


def test_a_table_of_a_source_is_not_read_into_memory(
    web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, web, "glove.6B.100d", zipped({"glove.6B.100d.txt": ROWS}))
    table = load_named("glove.6B.100d")
    assert isinstance(table.vectors, np.memmap)
