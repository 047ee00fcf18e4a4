"""Why a model gives a text its label: the weight of each word in the logit.

The logit is the log-odds of the predicted label against all others, log p / (1 - p). For one logit
it is that logit; for C of them z_c - logsumexp of the others. With q the softmax of the others at
the text, the latter is (z_c - sum q_k z_k) - H(q), H being q's entropy: linear in the logits but
for a number that belongs to no word. So the RNN and the n-grams, whose logits are added, and the
members of an ensemble, whose logits are averaged, each have weights of their own that add up:

- the RNN's by integrated gradients over the word vectors (`integrated_gradients`);
- an n-gram's by the branch's weights, exactly. It is divided equally among the words of all places
  where the n-gram stands.

Shapes: n texts, K logits, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from sentiment.data.batching import FIRST_WORD_ID, TextDataset
from sentiment.data.corpus import EncodedSplit
from sentiment.data.token_spans import token_spans
from sentiment.data.vocabulary import UNK
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import TextModel, weighted_members
from sentiment.inference.integrated_gradients import (
    INTERVALS,
    TOLERANCE,
    Text,
    attribute,
    logits,
)
from sentiment.inference.prediction import Explanation, NgramWeight, TokenWeight
from sentiment.ngrams.model import NgramModel, root_counts

LONGEST = 50_000
"""Tokens that are weighed of a text at most: a gradient keeps the states of all steps in memory."""


@dataclass(frozen=True)
class _Reading:
    """Texts as one model reads them.

    Attributes:
        bundle: the model.
        split: the texts, encoded.
        read: the places of the tokens that the RNN reads, text by text.
        ids: each text's ids of those.
        logits: float32 (n, K) of both parts together.
    """

    bundle: Bundle
    split: EncodedSplit
    read: np.ndarray
    ids: list[np.ndarray]
    logits: np.ndarray

    @classmethod
    def of(cls, bundle: Bundle, tokens: Sequence[Sequence[str]]) -> _Reading:
        split = bundle.encode(tokens)
        read, ids = _read(bundle, split)
        if (longest := max(map(len, ids))) > LONGEST:
            raise InputError(
                f"a text of {longest:,} words is too long to be explained: give {LONGEST:,} at most"
            )
        found = logits(bundle.model, ids)
        if bundle.ngrams is not None:
            found = found + bundle.ngrams.logits(split)
        return cls(bundle, split, read, ids, found)

    def class_logits(self) -> np.ndarray:
        """Return float64 logits (n, C), one a class; the first of two under one logit has 0."""
        found = self.logits.astype(np.float64)
        return np.insert(found, 0, 0, axis=1) if found.shape[1] == 1 else found


def explain(
    model: TextModel,
    texts: Sequence[str],
    tolerance: float = TOLERANCE,
    intervals: int = INTERVALS,
) -> list[Explanation]:
    """Return the prediction of each text with the weight of each of its words.

    Each text is judged as if it were alone, also by a model of `packing: padded`. A text without a
    token is read as one `<unk>`, which then is its token. Tokens that the model's maximum length
    cuts off have weights by n-grams alone.

    Args:
        model: the model.
        texts: n of them.
        tolerance: most that the weights of a text may miss, in units of the logit; the
            explanation's `residual` is what they do.
        intervals: see `attribute`.

    Raises:
        InputError: the RNN reads more than `LONGEST` tokens of a text.
    """
    if not texts:
        return []
    tokens = [model.tokenize(text) for text in texts]
    members = [(weight, _Reading.of(bundle, tokens)) for weight, bundle in weighted_members(model)]
    both = np.sum([weight * reading.class_logits() for weight, reading in members], axis=0)
    probabilities = softmax(both, axis=1)
    label = probabilities.argmax(axis=1)
    directions, bias = _directions(both, label)
    logit = (both * directions).sum(axis=1) + bias
    # All members tokenize alike.
    offsets = members[0][1].split.offsets
    weights = np.zeros(offsets[-1])
    ngrams: list[dict[str, float]] = [{} for _ in texts]
    for weight, reading in members:
        own = directions if reading.logits.shape[1] > 1 else directions[:, 1:]
        found = attribute(
            reading.bundle.model,
            [Text(*each) for each in zip(reading.ids, own, strict=True)],
            tolerance,
            intervals,
        )
        weights[reading.read] += weight * np.concatenate([each.weights for each in found])
        bias += weight * np.array([each.baseline for each in found])
        if reading.bundle.ngrams is not None:
            bias += weight * (own @ reading.bundle.ngrams.bias)
            branch = _add_ngrams(reading, reading.bundle.ngrams, weight * own, weights)
            for held, more in zip(ngrams, branch, strict=True):
                for words, value in more:
                    held[words] = held.get(words, 0.0) + value
    result = []
    for row, text in enumerate(texts):
        own_weights = weights[offsets[row] : offsets[row + 1]]
        heaviest = sorted(ngrams[row].items(), key=lambda pair: -abs(pair[1]))
        result.append(
            Explanation(
                label=model.label_names[label[row]],
                probability=float(probabilities[row].max()),
                probabilities={
                    name: float(value)
                    for name, value in zip(model.label_names, probabilities[row], strict=True)
                },
                logit=float(logit[row]),
                bias=float(bias[row]),
                residual=float(logit[row] - bias[row] - own_weights.sum()),
                tokens=_token_weights(model, text, tokens[row], own_weights),
                ngrams=tuple(NgramWeight(*each) for each in heaviest),
            )
        )
    return result


def _token_weights(
    model: TextModel, text: str, tokens: Sequence[str], weights: np.ndarray
) -> tuple[TokenWeight, ...]:
    spans = token_spans(text, tokens, model.config.text) or [None]
    places = [span or (None, None) for span in spans]
    return tuple(
        TokenWeight(token, start, end, weight)
        for token, (start, end), weight in zip(
            tokens or [UNK], places, weights.tolist(), strict=True
        )
    )


def _read(bundle: Bundle, split: EncodedSplit) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the places of the tokens that the RNN reads, text by text, and each text's ids."""
    view = TextDataset(split, bundle.config.text, bundle.vocabulary.size)
    read = view.read_positions().numpy()
    ids = split.tokens[read].astype(np.int64) + FIRST_WORD_ID
    ids[split.tokens[read] < 0] = bundle.vocabulary.stoi[UNK]
    return read, np.split(ids, np.cumsum(view.lengths)[:-1])


def _directions(both: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return factors of the logits, float32 (n, C), and offsets (n,): together the log-odds.

    Args:
        both: float64 (n, C) logits of the model.
        label: (n,) the predicted classes.
    """
    rows = np.arange(len(both))
    others = both.copy()
    others[rows, label] = -np.inf
    directions = -softmax(others, axis=1)
    directions[rows, label] = 1
    directions = directions.astype(np.float32)
    exact = both[rows, label] - logsumexp(others, axis=1)
    return directions, exact - (both * directions).sum(axis=1)


def _add_ngrams(
    reading: _Reading, branch: NgramModel, directions: np.ndarray, weights: np.ndarray
) -> list[list[tuple[str, float]]]:
    """Add the weights of n-grams to those of their words, and return each text's n-grams.

    Args:
        reading: n texts.
        branch: the n-gram branch of the model that reads them.
        directions: (n, K) factors of its logits.
        weights: float64, of all tokens of the split; changed.
    """
    split = reading.split
    features = branch.table.features(split)
    size = np.diff(features.indptr)
    row = np.repeat(np.arange(len(split)), size)
    own = (branch.weights[features.indices].astype(np.float64) * directions[row]).sum(axis=1)
    own /= root_counts(features)[row]
    # Columns rise within a row, so a text and a column together rise over all.
    key = row * len(branch.table) + features.indices
    text = np.repeat(np.arange(len(split)), np.diff(split.offsets))
    found = [
        (length, places, np.searchsorted(key, text[places] * len(branch.table) + columns))
        for length, places, columns in branch.table.occurrences(split)
    ]
    times = np.zeros(len(own))
    for _, _, which in found:
        times += np.bincount(which, minlength=len(own))
    for length, places, which in found:
        share = own[which] / (times[which] * length)
        for word in range(length):
            np.add.at(weights, places + word, share)
    words = [reading.bundle.ngram_words(column) for column in features.indices.tolist()]
    pairs = list(zip(words, own.tolist(), strict=True))
    bounds = zip(features.indptr[:-1], features.indptr[1:], strict=True)
    return [pairs[first:last] for first, last in bounds]
