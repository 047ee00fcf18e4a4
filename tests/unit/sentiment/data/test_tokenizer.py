from __future__ import annotations

import time
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.config import TextConfig
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.tokenizer import tokenizer
from sentiment.errors import InputError

CONFIGS = [
    TextConfig(),
    TextConfig(language="es"),
    TextConfig(language="zh"),
    TextConfig(tokenizer="whitespace"),
    TextConfig(tokenizer="basic"),
]


@pytest.mark.parametrize(
    ("config", "text", "tokens"),
    [
        (TextConfig(), "I can't wait.<br /><br/>Really!", "i ca n't wait . really !"),
        (TextConfig(), "<BR>one</br>two<br\n/>three", "one two three"),
        (TextConfig(lowercase=False), "This Film Isn't BAD", "This Film Is n't BAD"),
        (TextConfig(), "  a \n\n\t b\u2003c ", "a b c"),
        (TextConfig(language="de"), "Das ist z.B. gut", "das ist z.b. gut"),
        (
            TextConfig(language="es", lowercase=False),
            "los EE. UU.  y el cine",
            "los|EE. UU.|y|el|cine",
        ),
        (TextConfig(language="zh"), "好看 的电影", "好 看 的 电 影"),
        (TextConfig(tokenizer="whitespace"), "It's GOOD<br />, really .", "it's good , really ."),
        (TextConfig(tokenizer="whitespace", lowercase=False), "It's GOOD", "It's GOOD"),
        (TextConfig(tokenizer="basic"), "It's “good”—really… $5, o.k.?", "its goodreally 5 ok"),
        (TextConfig(tokenizer="basic", lowercase=False), "GOOD", "good"),
        (TextConfig(tokenizer="basic"), "...!", ""),
        (TextConfig(), "", ""),
        (TextConfig(), " \n ", ""),
        (TextConfig(language="zh"), "", ""),
    ],
)
def test_tokens(config: TextConfig, text: str, tokens: str) -> None:
    assert tokenizer(config)(text) == tokens.split("|" if "|" in tokens else None)


def test_markup_is_kept_when_told_to() -> None:
    config = TextConfig(strip_markup=False, tokenizer="whitespace")
    assert tokenizer(config)("good<br />film") == ["good<br", "/>film"]
    assert tokenizer(TextConfig(strip_markup=False))("good <br />") == ["good", "<", "br", "/", ">"]


def test_spacy_tokens_are_those_of_spacys_own_pipeline() -> None:
    import spacy

    rules = spacy.blank("en").tokenizer
    tokens = tokenizer(TextConfig(lowercase=False))
    texts = load_dataset(DataConfig(dataset="rotten-tomatoes")).splits["test"].texts[:500]
    texts += load_dataset(DataConfig()).splits["test"].texts[:150]
    for text in texts:
        expected = [word.text for word in rules(text.replace("<br />", " ")) if not word.is_space]
        assert tokens(text) == expected


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_any_string_has_tokens_that_are_words(config: TextConfig) -> None:
    tokens = tokenizer(config)

    @settings(max_examples=60, deadline=None)
    @given(st.text(st.characters(exclude_categories=())))
    def check(text: str) -> None:
        result = tokens(text)
        assert all(word.strip() and word.encode() for word in result)
        assert tokens(text) == result

    check()


@pytest.mark.parametrize("config", CONFIGS[:2] + CONFIGS[3:], ids=str)
@pytest.mark.parametrize("piece", ["!?", "😀", "x", "a ", "<br ", "\ud800", "\0", "it's "])
def test_long_texts_take_linear_time(config: TextConfig, piece: str) -> None:
    tokens = tokenizer(config)

    def seconds(size: int) -> float:
        text = (piece * size)[:size]
        start = time.process_time()
        tokens(text)
        return time.process_time() - start

    seconds(1_000)
    assert seconds(400_000) < 40 * seconds(40_000) + 0.5


def test_long_chinese_texts_take_linear_time() -> None:
    tokens = tokenizer(TextConfig(language="zh"))
    start = time.process_time()
    assert len(tokens("好" * 100_000)) == 100_000
    seconds = time.process_time() - start
    assert len(tokens("好" * 1_000_000)) == 1_000_000
    assert time.process_time() - start < 30 * seconds


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert tokenizer(TextConfig())("good \ud800 film") == ["good", "\ufffd", "film"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment.data.token_rules._REMEMBERED_RUNS", 3)
    tokens = tokenizer(TextConfig())
    assert tokens("a can't b c d can't") == ["a", "ca", "n't", "b", "c", "d", "ca", "n't"]


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("een", "did you mean en"),
        ("../en", "unknown language"),
        ("tokenizer_exceptions", "unknown language"),
        ("th", "needs packages of its own: pip install pythainlp .*PyThaiNLP"),
    ],
)
def test_a_language_that_spacy_lacks(language: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(TextConfig(language=language))


@pytest.mark.parametrize(
    ("language", "packages"),
    [("ja", "sudachipy sudachidict_core"), ("th", "pythainlp"), ("vi", "pyvi"), ("ko", "natto-py")],
)
def test_languages_that_need_packages_say_which(language, packages):
    if find_spec(packages.split()[0].removesuffix("-py")):
        pytest.skip(f"{packages} is installed")
    with pytest.raises(
        InputError, match=f"language={language}: it needs packages .*: pip install {packages}"
    ):
        tokenizer(TextConfig(language=language))


@pytest.mark.parametrize("name", ["spacy", "whitespace", "basic"])
def test_a_byte_order_mark_in_front_is_no_token(name):
    tokens = tokenizer(TextConfig(tokenizer=name))
    assert tokens("\ufeffgood film") == tokens("good film") == ["good", "film"]
    assert tokens("\ufeff") == []
