"""Encoded splits say what tokenizing the texts says, however many processes did it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from sentiment.config import TextConfig
from sentiment.data.corpus import Corpus, load_corpus, text_key
from sentiment.data.datasets import DataConfig, Dataset, Split, load_dataset
from sentiment.data.tokenizer import tokenizer
from sentiment.data.vocabulary import build_vocabulary

WHITESPACE = TextConfig(tokenizer="whitespace")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def dataset(fingerprint: str = "f" * 64, **texts: list[str]) -> Dataset:
    splits = {
        name: Split(some, np.arange(len(some)) % 2 if name != "unsup" else np.empty(0, np.int64))
        for name, some in texts.items()
    }
    return Dataset("tiny", ("neg", "pos"), splits, fingerprint)


TINY = dataset(
    train=["b a b", "", "c a b <pad>", "d <unk>"],
    valid=["a z", "<pad> z"],
    test=[" "],
    unsup=["b", "y c"],
)


def decoded(corpus: Corpus, split: str) -> list[list[str]]:
    encoded = corpus.splits[split]
    return [
        [corpus.words[rank] if rank >= 0 else "?" for rank in encoded.tokens[start:end]]
        for start, end in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]


def test_a_group_has_one_number_in_all_splits_and_a_text_of_none_its_own() -> None:
    groups = {"train": ["b", None, "b", "a", None], "valid": ["a", None], "test": ["c"]}
    splits = {
        name: Split([f"{name} {row}" for row in range(len(own))], np.zeros(len(own), int), own)
        for name, own in groups.items()
    }
    splits["unsup"] = Split(["text"], np.empty(0, np.int64))
    corpus = load_corpus(Dataset("grouped", ("neg", "pos"), splits, "9" * 64), WHITESPACE)
    found = {name: split.groups for name, split in corpus.splits.items()}
    assert found.pop("unsup") is None
    assert {name: own.tolist() for name, own in found.items()} == {
        "train": [0, 1, 0, 2, 3],
        "valid": [2, 4],
        "test": [5],
    }
    assert all(split.groups is None for split in load_corpus(TINY, WHITESPACE).splits.values())


def test_every_array_of_a_tiny_data_set() -> None:
    corpus = load_corpus(TINY, WHITESPACE)
    assert corpus.words == ("b", "a", "c", "d")  # train alone; the special words are none
    assert corpus.counts.tolist() == [3, 2, 1, 1]
    train = corpus.splits["train"]
    assert train.tokens.tolist() == [0, 1, 0, -1, 2, 1, 0, -1, 3, -1]
    assert train.offsets.tolist() == [0, 3, 4, 8, 10]
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert decoded(corpus, "valid") == [["a", "?"], ["?", "?"]]
    assert decoded(corpus, "test") == [["?"]]
    assert decoded(corpus, "unsup") == [["b"], ["?", "c"]]
    assert corpus.splits["unsup"].labels.tolist() == []
    assert train.tokens.dtype == np.int32
    assert {train.offsets.dtype, train.labels.dtype, corpus.counts.dtype} == {np.dtype("int64")}
    assert len(train) == 4
    assert (corpus.dataset, corpus.dataset_fingerprint) == ("tiny", "f" * 64)


def test_the_cache_gives_the_same_and_is_keyed_by_what_changes_tokens(cache: Path) -> None:
    said: list[str] = []
    first = load_corpus(TINY, WHITESPACE, progress=said.append)
    same = load_corpus(
        TINY, TextConfig(tokenizer="whitespace", max_length=3, min_count=2), progress=said.append
    )
    assert said == ["tokenizing 9 texts on 1 core"]
    assert first.words == same.words
    for name, split in first.splits.items():
        for array in ("tokens", "offsets", "labels"):
            np.testing.assert_array_equal(getattr(split, array), getattr(same.splits[name], array))
    load_corpus(TINY, WHITESPACE.model_copy(update={"lowercase": False}), progress=said.append)
    load_corpus(dataset("e" * 64, train=["other"]), WHITESPACE, progress=said.append)
    assert len(said) == 3
    assert len(list((cache / "corpus").iterdir())) == 3


def test_the_key_knows_only_what_changes_tokens() -> None:
    keys = {
        text_key(TextConfig(**{"tokenizer": "spacy", "language": "en", **change}))
        for change in (
            {},
            {"tokenizer": "basic"},
            {"language": "de"},
            {"lowercase": False},
            {"strip_markup": False},
        )
    }
    assert len(keys) == 5
    unchanged = TextConfig(max_length=9, truncation="tail", vocabulary_size=7, min_count=3)
    assert text_key(unchanged) == text_key(TextConfig())


def test_words_with_any_character() -> None:
    texts = ["naïve \ud83d \U0001f600 a\0b", "\ud83d\ude00 naïve"]
    corpus = load_corpus(dataset(train=texts), WHITESPACE)
    expected = [tokenizer(WHITESPACE)(text) for text in texts]
    assert decoded(corpus, "train") == expected


def test_rotten_tomatoes_as_the_tokenizer_reads_it() -> None:
    data = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    text = TextConfig(lowercase=False, strip_markup=False)
    corpus = load_corpus(data, text)
    tokenize = tokenizer(text)
    counter = Counter(
        token for content in data.splits["train"].texts for token in tokenize(content)
    )
    assert dict(zip(corpus.words, corpus.counts.tolist(), strict=True)) == counter
    vocabulary = build_vocabulary(corpus.words, corpus.counts, 25_000, 1)
    assert vocabulary.itos[:10] == (
        "<unk>", "<pad>", ".", "the", ",", "a", "and", "of", "to", "-",
    )  # fmt: skip
    for name, split in data.splits.items():
        encoded = corpus.splits[name]
        assert encoded.labels.tolist() == split.labels.tolist()
        for i in (0, len(encoded) // 2, len(encoded) - 1):
            expected = [token if token in counter else "?" for token in tokenize(split.texts[i])]
            ranks = encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]]
            assert [corpus.words[rank] if rank >= 0 else "?" for rank in ranks] == expected


def many_texts() -> Dataset:
    words = [f"w{number % 977}" for number in range(120_000)]
    texts = [" ".join(words[start : start + 300]) for start in range(0, 12_000, 3)]
    return dataset(train=texts, valid=["w1 nowhere"] * 10, test=["w2"])


def test_processes_give_what_one_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    several = load_corpus(many_texts(), WHITESPACE, workers=2, progress=said.append)
    assert said == ["tokenizing 4,011 texts on 2 cores"]
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "other"))
    one = load_corpus(many_texts(), WHITESPACE, workers=1)
    assert several.words == one.words
    np.testing.assert_array_equal(several.counts, one.counts)
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(several.splits[name].tokens, one.splits[name].tokens)
        np.testing.assert_array_equal(several.splits[name].offsets, one.splits[name].offsets)


# No `if __name__ == "__main__"`: spawned processes must not run the script again.
SCRIPT = """
import sys
from sentiment.config import TextConfig
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import Dataset, Split
import numpy as np
print("started", flush=True)
texts = [f"w{i % 97} {'x' * 990}{i % 89}" for i in range(int(sys.argv[1]))]
data = Dataset("d", ("a", "b"), {"train": Split(texts, np.zeros(len(texts), np.int64))}, "f")
print(len(load_corpus(data, TextConfig(tokenizer=sys.argv[2]), workers=2).words))
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, str(script), "5000", "whitespace"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["started", "186"]
    assert ended.stderr == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), "200000", "basic"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        workers: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        # Two workers, and the tracker of multiprocessing's resources.
        while len(workers) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
            workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 3
        time.sleep(0.5)
        os.kill(process.pid, how)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
    assert process.returncode != 0
    assert psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.slow
def test_the_words_of_the_tutorials() -> None:
    data = load_dataset(DataConfig())
    corpus = load_corpus(data, TextConfig(lowercase=False, strip_markup=False))
    vocabulary = build_vocabulary(corpus.words, corpus.counts, 25_000, 1)
    # Those of the tutorials; in which half "a" and "and" stand first depends on the split.
    expected = ("<unk>", "<pad>", "the", ",", ".", "a", "and", "of", "to", "is")
    assert vocabulary.itos[:10] == expected
    assert corpus.counts[:5].tolist() == [203_068, 192_889, 166_433, 109_675, 109_483]
    assert len(vocabulary) == 25_002
