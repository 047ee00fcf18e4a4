"""Where in a text its tokens stand, whatever the tokenizer replaced, lower-cased or dropped."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.config import TextConfig
from sentiment.data.token_rules import (
    BYTE_ORDER_MARK,
    LINE_BREAK,
    WITHOUT_PUNCTUATION,
    encodable,
)

Span = tuple[int, int]


def token_spans(text: str, tokens: Sequence[str], config: TextConfig) -> list[Span | None]:
    """Return the first character of each token and the one after its last.

    They count the characters (code points) of the text as it was given. A token that holds
    characters which the tokenizer dropped (`dont` of `don't`) spans them too.

    Args:
        text: the text.
        tokens: what `tokenizer(config)` makes of it.
        config: how the text was tokenized.

    Returns:
        A span a token; None for a token that does not stand in the text as it is.
    """
    read, origin = _as_read(text, config)
    spans: list[Span | None] = []
    cursor = 0
    for token in tokens:
        start = read.find(token, cursor)
        # Tokenizers drop nothing but white space: anything else between would be another's.
        if start < 0 or read[cursor:start].strip():
            spans.append(None)
            continue
        cursor = start + len(token)
        spans.append((origin[start], origin[cursor - 1] + 1))
    return spans


def _as_read(text: str, config: TextConfig) -> tuple[str, Sequence[int]]:
    """Return the characters that the tokenizer splits, and where in the text each comes from."""
    read: str = encodable(text)
    origin: Sequence[int] = range(len(read))
    if read.startswith(BYTE_ORDER_MARK):
        read, origin = read[1:], origin[1:]
    if config.strip_markup:
        read, origin = _without_markup(read, origin)
    if config.lowercase or config.tokenizer == "basic":
        # A few capitals become two characters.
        lengths = [len(character.lower()) for character in read]
        if sum(lengths) != len(read):
            origin = [at for at, size in zip(origin, lengths, strict=True) for _ in range(size)]
        read = read.lower()
    if config.tokenizer == "basic":
        kept = [place for place, c in enumerate(read) if WITHOUT_PUNCTUATION[ord(c)] is not None]
        read, origin = "".join(read[place] for place in kept), [origin[place] for place in kept]
    return read, origin


def _without_markup(text: str, origin: Sequence[int]) -> tuple[str, Sequence[int]]:
    """Put a space where each line break's markup was."""
    places: list[int] = []
    end = 0
    for found in LINE_BREAK.finditer(text):
        places += [*origin[end : found.start()], origin[found.start()]]
        end = found.end()
    return LINE_BREAK.sub(" ", text), [*places, *origin[end:]] if end else origin
