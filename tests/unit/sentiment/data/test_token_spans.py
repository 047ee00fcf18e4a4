"""Where tokens stand in a text: every tokenizer, and what each replaces or drops."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.config import TextConfig
from sentiment.data.token_spans import token_spans
from sentiment.data.tokenizer import tokenizer

CASES = [
    TextConfig(tokenizer="spacy"),
    TextConfig(tokenizer="spacy", lowercase=False, strip_markup=False),
    TextConfig(tokenizer="spacy", language="es"),
    TextConfig(tokenizer="basic"),
    TextConfig(tokenizer="whitespace"),
]


def parts(text, config):
    tokens = tokenizer(config)(text)
    spans = token_spans(text, tokens, config)
    return [(token, text[slice(*span)]) for token, span in zip(tokens, spans, strict=True)]


def test_what_stands_at_the_spans():
    text = "\ufeffDon't  miss it!<br /><br/>GREAT"
    assert parts(text, CASES[0]) == [
        ("do", "Do"),
        ("n't", "n't"),
        ("miss", "miss"),
        ("it", "it"),
        ("!", "!"),
        ("great", "GREAT"),
    ]
    assert parts(text, CASES[3]) == [
        ("dont", "Don't"),
        ("miss", "miss"),
        ("it", "it"),
        ("great", "GREAT"),
    ]


def test_capitals_that_become_two_characters():
    assert parts("İİ ΣΟΦΟΣ ok", CASES[4]) == [("i̇i̇", "İİ"), ("σοφος", "ΣΟΦΟΣ"), ("ok", "ok")]


def test_runs_that_are_cut():
    tokens = parts("x" * 250 + " end", CASES[0])
    assert [len(span) for _, span in tokens] == [100, 100, 50, 3]


def test_a_token_that_is_not_there_has_no_span():
    assert token_spans("a b", ["a", "c", "b"], CASES[4]) == [(0, 1), None, (2, 3)]


@pytest.mark.parametrize("config", CASES, ids=str)
def test_every_token_has_a_span_after_the_one_before(config):
    split = tokenizer(config)  # spaCy's takes long to make

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.one_of(st.text(max_size=9), st.sampled_from(["<br />", "İ", "U.S.", "can't"])))
    )
    def check(pieces):
        text = " ".join(pieces)
        tokens = split(text)
        spans = token_spans(text, tokens, config)
        assert None not in spans
        for token, (start, end) in zip(tokens, spans, strict=True):
            assert token[0] == (text[start].lower()[0] if config.lowercase else text[start])
            assert 0 <= start < end <= len(text)
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start or text[start : start + 1] == "İ"

    check()
