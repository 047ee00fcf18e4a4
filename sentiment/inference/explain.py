"""Why a model gives a text its label: the weight of each word in the logit.

The logit is the log-odds of the predicted label against all others, log p / (1 - p). For one logit
it is that logit; for C of them z_c - logsumexp of the others. With q the softmax of the others at
the text, the latter is (z_c - sum q_k z_k) - H(q), H being q's entropy: linear in the logits but
for a number that belongs to no word. So the RNN and the n-grams, whose logits are added, each have
weights of their own that add up:

- the RNN's by integrated gradients over the word vectors (`integrated_gradients`);
- an n-gram's by the branch's weights, exactly. It is divided equally among the words of all places
  where the n-gram stands.

Shapes: n texts, K logits, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp, softmax

from sentiment.data.batching import FIRST_WORD_ID, TextDataset
from sentiment.data.corpus import EncodedSplit
from sentiment.data.token_spans import token_spans
from sentiment.data.vocabulary import UNK
from sentiment.errors import InputError
from sentiment.inference.batch_predict import to_log_probabilities
from sentiment.inference.bundle import Bundle
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


def explain(
    bundle: Bundle,
    texts: Sequence[str],
    tolerance: float = TOLERANCE,
    intervals: int = INTERVALS,
) -> list[Explanation]:
    """Return the prediction of each text with the weight of each of its words.

    Each text is judged as if it were alone, also by a model of `packing: padded`. A text without a
    token is read as one `<unk>`, which then is its token. Tokens that the model's maximum length
    cuts off have weights by n-grams alone.

    Args:
        bundle: the model.
        texts: n of them.
        tolerance: most that the weights of a text may miss, in units of the logit; the
            explanation's `residual` is what they do.
        intervals: see `attribute`.

    Raises:
        InputError: the RNN reads more than `LONGEST` tokens of a text.
    """
    if not texts:
        return []
    tokens = [bundle.tokenize(text) for text in texts]
    split = bundle.encode(tokens)
    read, ids = _read(bundle, split)
    if (longest := max(map(len, ids))) > LONGEST:
        raise InputError(
            f"a text of {longest:,} words is too long to be explained: give {LONGEST:,} at most"
        )
    recurrent = logits(bundle.model, ids)
    branch = None if bundle.ngrams is None else bundle.ngrams.logits(split)
    both = recurrent if branch is None else recurrent + branch
    probabilities = np.exp(to_log_probabilities(bundle.model, both))
    label = probabilities.argmax(axis=1)
    directions, offsets = _directions(both, label)
    found = attribute(
        bundle.model,
        [Text(*each) for each in zip(ids, directions, strict=True)],
        tolerance,
        intervals,
    )
    weights = np.zeros(len(split.tokens))
    weights[read] = np.concatenate([each.weights for each in found])
    bias = np.array([each.baseline for each in found]) + offsets
    ngrams: list[tuple[NgramWeight, ...]] = [()] * len(texts)
    if bundle.ngrams is not None:
        bias += directions @ bundle.ngrams.bias
        ngrams = _add_ngrams(bundle, bundle.ngrams, split, directions, weights)
    logit = (both.astype(np.float64) * directions).sum(axis=1) + offsets
    result = []
    for row, text in enumerate(texts):
        own = weights[split.offsets[row] : split.offsets[row + 1]]
        result.append(
            Explanation(
                label=bundle.label_names[label[row]],
                probability=float(probabilities[row].max()),
                probabilities={
                    name: float(value)
                    for name, value in zip(bundle.label_names, probabilities[row], strict=True)
                },
                logit=float(logit[row]),
                bias=float(bias[row]),
                residual=float(logit[row] - bias[row] - own.sum()),
                tokens=_token_weights(bundle, text, tokens[row], own),
                ngrams=ngrams[row],
            )
        )
    return result


def _token_weights(
    bundle: Bundle, text: str, tokens: Sequence[str], weights: np.ndarray
) -> tuple[TokenWeight, ...]:
    spans = token_spans(text, tokens, bundle.config.text) or [None]
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
    """Return factors of the logits, float32 (n, K), and offsets (n,): together the log-odds.

    Args:
        both: float32 (n, K) logits of both parts together.
        label: (n,) the predicted classes.
    """
    rows = np.arange(len(both))
    if both.shape[1] == 1:
        return np.where(label == 1, 1, -1)[:, None].astype(np.float32), np.zeros(len(both))
    others = both.astype(np.float64)
    others[rows, label] = -np.inf
    shares = softmax(others, axis=1)
    directions = -shares
    directions[rows, label] = 1
    directions = directions.astype(np.float32)
    exact = both[rows, label].astype(np.float64) - logsumexp(others, axis=1)
    return directions, exact - (both.astype(np.float64) * directions).sum(axis=1)


def _add_ngrams(
    bundle: Bundle,
    branch: NgramModel,
    split: EncodedSplit,
    directions: np.ndarray,
    weights: np.ndarray,
) -> list[tuple[NgramWeight, ...]]:
    """Add the weights of n-grams to those of their words, and return each text's n-grams.

    Args:
        bundle: the model.
        branch: its n-gram branch.
        split: n texts.
        directions: (n, K) factors of the logits.
        weights: float64, of all tokens of the split; changed.
    """
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
    result = []
    for first, last in zip(features.indptr[:-1], features.indptr[1:], strict=True):
        order = first + np.argsort(-np.abs(own[first:last]), kind="stable")
        result.append(
            tuple(
                NgramWeight(bundle.ngram_words(int(features.indices[each])), float(own[each]))
                for each in order
            )
        )
    return result
