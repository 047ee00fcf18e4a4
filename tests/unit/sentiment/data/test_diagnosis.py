"""Warnings: what they are raised by, and above all what they are not raised by."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.config import TextConfig
from sentiment.data.corpus import Corpus, load_corpus
from sentiment.data.datasets import DataConfig, Dataset, Split, load_dataset
from sentiment.data.diagnosis import LAUNCH, TRAIN, answer_warnings, tokenization_warning

CHINESE = [
    "这部电影很好看，我非常喜欢。",
    "剧情太无聊了，浪费时间！",
    "演员的表演十分精彩",
    "音乐难听得要命",
]
JAPANESE = [
    "この映画はとても面白いです。",
    "ストーリーがつまらなかった、残念。",
    "素晴らしい演技に感動しました",
]
THAI = ["หนังเรื่องนี้สนุกมากและน่าติดตาม", "นักแสดงเล่นได้แย่มากเสียเวลาเปล่า"]
ENGLISH = ["great film", "so bad lol", "meh", "@you loved it 😂 #wow", "http://t.co/x boring !!"]
KOREAN = ["이 영화는 정말 재미있다", "시간 낭비였다"]
RUSSIAN = ["отличный фильм", "скука смертная"]


def corpus_of(texts: list[str], text: TextConfig, monkeypatch, tmp_path) -> Corpus:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    many = [f"{a}{b}" for a in texts for b in texts]
    train, valid = many[::2], many[1::2]
    splits = {
        name: Split(part, np.zeros(len(part), dtype=np.int64))
        for name, part in (("train", train), ("valid", valid))
    }
    return load_corpus(Dataset("tiny.csv", ("a", "b"), splits, "f" * 64), text, workers=1)


@pytest.mark.parametrize(
    ("texts", "tokenizer", "told"),
    [
        (CHINESE, "spacy", ["are Chinese", "language en", "give --language zh"]),
        (CHINESE, "whitespace", ["(whitespace)", "--set tokenizer=spacy, with --language zh"]),
        (JAPANESE, "spacy", ["are Japanese", "give --language ja"]),
        (THAI, "basic", ["are Thai", "--language th"]),
    ],
)
def test_texts_without_blanks_that_were_not_split(texts, tokenizer, told, monkeypatch, tmp_path):
    text = TextConfig(tokenizer=tokenizer)
    corpus = corpus_of(texts, text, monkeypatch, tmp_path)
    warning = tokenization_warning(corpus, text, LAUNCH)
    assert warning is not None
    for part in told:
        assert part in warning
    assert "tokens a text" in warning and "stand nowhere in train" in warning
    assert "--set language=" in str(tokenization_warning(corpus, text, TRAIN))


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (CHINESE, TextConfig(language="zh")),
        ([" ".join(each) for each in CHINESE], TextConfig(tokenizer="whitespace")),
        (ENGLISH, TextConfig()),
        (ENGLISH, TextConfig(tokenizer="whitespace")),
        ([*ENGLISH, "ok 好看"], TextConfig()),
        (KOREAN, TextConfig()),
        (RUSSIAN, TextConfig()),
        (["12345", "!!!!", "😀😀😀"], TextConfig()),
    ],
)
def test_no_false_alarm(texts, text, monkeypatch, tmp_path):
    corpus = corpus_of([f"{each} " for each in texts], text, monkeypatch, tmp_path)
    assert tokenization_warning(corpus, text, LAUNCH) is None


def test_no_false_alarm_on_reviews():
    corpus = load_corpus(load_dataset(DataConfig(dataset="rotten-tomatoes")), TextConfig())
    assert tokenization_warning(corpus, TextConfig(), LAUNCH) is None


def warnings_of(confusion, names=("ham", "spam"), **changes) -> list[str]:
    settings = {"objective": "valid/accuracy", "class_weights": "none", "options": LAUNCH}
    return answer_warnings(np.array(confusion), names, model="it", **{**settings, **changes})


def test_a_model_that_answers_one_label():
    (told,) = warnings_of([[982, 0], [18, 0]])
    assert told == (
        "it answers 'ham' to every text of validation: its accuracy of 0.9820 is that label's "
        "share; try --objective valid/f1 and --set class_weights=balanced"
    )
    (told,) = warnings_of([[982, 0], [18, 0]], objective="valid/f1")
    assert told.endswith("; try --set class_weights=balanced")
    (told,) = warnings_of([[98, 0], [2, 0]], objective="valid/f1", class_weights="balanced")
    assert told.endswith("is that label's share")
    (told,) = warnings_of([[50, 0], [50, 0]])
    assert told.endswith("; try a longer training (--max-epochs)")
    (told,) = warnings_of([[50, 0], [50, 0]], unsplit=True)
    assert told.endswith("; try what the warning of the tokenizer says")
    (told,) = warnings_of([[0, 98], [0, 2]])
    assert "answers 'spam' to every text" in told and "0.0200" in told


def test_a_model_that_is_no_better_than_the_commonest_label():
    (told,) = warnings_of([[90, 5], [5, 0]])
    assert "accuracy 0.9000 on validation, no more than always answering 'ham'" in told
    assert "(0.9500)" in told
    assert warnings_of([[94, 1], [3, 2]]) == []


def test_labels_that_are_never_answered():
    names = [f"label {i}" for i in range(40)]
    confusion = np.eye(40, dtype=int) * 5
    confusion[20:, 0], confusion[20:, 20:] = 5, 0
    (told,) = warnings_of(confusion, names)
    assert "never answers 20 of the 40 labels of validation: label 20, label 21" in told
    assert "and 12 more" in told
    confusion[21:] = np.eye(40, dtype=int)[21:] * 5
    assert warnings_of(confusion, names) == []
