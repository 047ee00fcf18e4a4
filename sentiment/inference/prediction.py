"""What a model answers to a text: its prediction, and why."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Prediction:
    """The answer to one text.

    Attributes:
        label: the most probable label.
        probability: that label's probability.
        probabilities: of every label, in the order of the model's labels; they add up to 1.
    """

    label: str
    probability: float
    probabilities: dict[str, float]

    def to_json(self) -> str:
        """Return a JSON object of all attributes, in one line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class TokenWeight:
    """What a token of a text adds to the logit of the predicted label.

    Attributes:
        token: as the tokenizer made it.
        start: its first character in the text; None if it does not stand there as it is.
        end: the character after its last.
        weight: above zero: for the predicted label; below: against it.
    """

    token: str
    start: int | None
    end: int | None
    weight: float


@dataclass(frozen=True)
class NgramWeight:
    """What an n-gram of a text adds to the logit; its words' weights hold it in equal shares.

    Attributes:
        words: its words, blanks between them.
        weight: as that of a token.
    """

    words: str
    weight: float


@dataclass(frozen=True)
class Explanation(Prediction):
    """The answer to one text with the weight of each word in it.

    `logit` is `bias`, the weights of all tokens, and `residual` together.

    Attributes:
        logit: log-odds of the predicted label against all others, log p / (1 - p).
        bias: what no word adds: the logit where all word vectors are zero and no n-gram is there.
        residual: what the weights miss, as their integrals are approximate.
        tokens: in their order.
        ngrams: of a model with an n-gram branch, by falling size of the weight.
    """

    logit: float
    bias: float
    residual: float
    tokens: tuple[TokenWeight, ...]
    ngrams: tuple[NgramWeight, ...]

    def heaviest(self, count: int) -> list[tuple[str, float]]:
        """Return the tokens with the largest weights for or against, like tokens together."""
        totals: dict[str, float] = defaultdict(float)
        for each in self.tokens:
            totals[each.token] += each.weight
        return sorted(totals.items(), key=lambda pair: -abs(pair[1]))[:count]


@dataclass(frozen=True)
class Piece:
    """A piece of a text.

    Attributes:
        text: its characters.
        weight: of the token that it is; None between tokens.
        strength: the weight as a share of the largest in the text, from -1 to 1.
    """

    text: str
    weight: float | None = None
    strength: float = 0.0


def pieces(text: str, tokens: Sequence[TokenWeight]) -> Iterator[Piece]:
    """Cut a text into its tokens and what is between them.

    Args:
        text: that was explained, or the start of it.
        tokens: of its explanation.
    """
    largest = max((abs(each.weight) for each in tokens), default=0.0) or 1.0
    end = 0
    for each in tokens:
        if each.start is None or each.end is None or each.start < end or each.end > len(text):
            continue
        if each.start > end:
            yield Piece(text[end : each.start])
        yield Piece(text[each.start : each.end], each.weight, each.weight / largest)
        end = each.end
    if end < len(text):
        yield Piece(text[end:])
