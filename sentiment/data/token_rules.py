"""The rules that split a text into tokens.

Every one takes any `str`: a lone surrogate, which no file could hold, becomes U+FFFD. A byte order
mark in front, which an editor or a shell has left there, is no part of the text.

This file imports nothing of the project, since an exported model brings a copy of it along
(`sentiment.deployment.onnx_folder`).
"""

from __future__ import annotations

import pkgutil
import re
import unicodedata
from collections.abc import Callable, Sequence
from string import punctuation
from typing import Any

Splitter = Callable[[str], list[str]]

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"

LINE_BREAK = re.compile(r"</?br\s*/?>", re.IGNORECASE)
"""Markup for a line break, which a space replaces."""
_SURROGATE = re.compile("[\ud800-\udfff]")

# spaCy takes quadratic time over a run without white space ("!!!!…"), so longer runs are cut.
# No run in IMDb's reviews is longer than 80 characters.
_LONGEST_RUN = 100
_LONG_RUN = re.compile(rf"(\S{{{_LONGEST_RUN}}})(?=\S)")

# The same for the languages that are written without spaces.
_LONGEST_PIECE = 10_000

# Bounds the memory of a process that never ends, such as a server. The runs of 25,000 reviews
# (236,000 different ones) fit.
_REMEMBERED_RUNS = 2**18


class LanguageError(ValueError):
    """spaCy can't split texts of a language.

    Attributes:
        known: the languages that spaCy has; empty where a package for the language is missing.
    """

    def __init__(self, message: str, known: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.known = known


def text_splitter(rules: str, language: str, lowercase: bool, strip_markup: bool) -> Splitter:
    """Return the function from a text to its tokens; the arguments are fields of `TextConfig`.

    It drops a byte order mark, replaces markup and lower-cases where told to, then splits. No
    token is empty or white space alone; a text may have no token.

    Args:
        rules: the tokenizer: spacy, whitespace or basic.
        language: of spaCy's rules.
        lowercase: whether to lower-case.
        strip_markup: whether a space replaces line breaks' markup.

    Raises:
        LanguageError: spaCy has no such language, or lacks a package that the language needs.
    """
    split = _splitter(rules, language)

    def tokens(text: str) -> list[str]:
        text = encodable(text).removeprefix(BYTE_ORDER_MARK)
        if strip_markup:
            text = LINE_BREAK.sub(" ", text)
        if lowercase:
            text = text.lower()
        return split(text)

    return tokens


def _splitter(rules: str, language: str) -> Splitter:
    if rules == "spacy":
        return _spacy(language)
    if rules == "basic":
        return _basic
    return str.split


def encodable(text: str) -> str:
    """Return a text that UTF-8 can write: lone surrogates become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text


class _WithoutPunctuation(dict[int, int | None]):
    """Drops ASCII's punctuation, with symbols such as $ and ~, and Unicode's."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        drop = character in punctuation or unicodedata.category(character).startswith("P")
        self[code] = None if drop else code
        return self[code]


WITHOUT_PUNCTUATION = _WithoutPunctuation()
"""For `str.translate`: the characters that the tokenizer `basic` drops."""


def _basic(text: str) -> list[str]:
    return text.lower().translate(WITHOUT_PUNCTUATION).split()


def _spacy(language: str) -> Splitter:
    from spacy.tokenizer import Tokenizer as RuleTokenizer

    rules = _blank(language)
    if not isinstance(rules, RuleTokenizer):
        # Chinese and others, whose words no white space separates.
        return lambda text: [
            word for piece in _pieces(text, _LONGEST_PIECE) for word in _words(rules(piece))
        ]
    if any(len(rule.split()) > 1 for rule in rules.rules):
        # Spanish and others have rules that reach over a space ("EE. UU.").
        return lambda text: _words(rules(_LONG_RUN.sub(r"\1 ", text)))
    return _SpacyRuns(language, rules)


class _SpacyRuns:
    """spaCy's rules, applied to one run between white space at a time, and remembered.

    The rules of most languages never look past white space, so the tokens of a run are
    always the same. Remembering them makes the second and later sight of a run cost a look-up.
    """

    def __init__(self, language: str, rules: Any) -> None:
        self._language = language
        self._rules = rules
        self._remembered: dict[str, list[str]] = {}

    def __call__(self, text: str) -> list[str]:
        tokens: list[str] = []
        remembered = self._remembered.get
        for run in text.split():
            tokens += remembered(run) or self._split(run)
        return tokens

    def _split(self, run: str) -> list[str]:
        if len(run) > _LONGEST_RUN:
            return self(" ".join(_pieces(run, _LONGEST_RUN)))
        if len(self._remembered) >= _REMEMBERED_RUNS:
            self._forget()
        tokens = self._remembered[run] = _words(self._rules(run))
        return tokens

    def _forget(self) -> None:
        self._remembered = {}
        # spaCy remembers every string it has seen as well.
        self._rules = _blank(self._language)


def _pieces(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


def _words(doc: Any) -> list[str]:
    return [word for word in (token.text for token in doc) if not word.isspace()]


def _blank(language: str) -> Any:
    """Return the tokenizer of spaCy's blank pipeline of a language."""
    import spacy
    import spacy.lang

    known = [module.name for module in pkgutil.iter_modules(spacy.lang.__path__) if module.ispkg]
    if language not in known:
        raise LanguageError(f"spaCy has no language {language!r}", sorted(known))
    try:
        return spacy.blank(language).tokenizer
    except ImportError as error:
        raise LanguageError(str(error)) from error
