"""Integrated gradients: what each token of a text adds to a linear function of the RNN's logits.

Sundararajan, Taly and Yan (2017, arXiv:1703.01365): along the straight line from a baseline to the
text's word vectors, a token's weight is the integral of the function's gradient with respect to
its vector, times the vector's difference from the baseline. The weights add up to the function at
the text less that at the baseline (completeness).

The baseline is the zero vector for every token. It is the embedding of the padding and what
dropout leaves of a word, so a model has met it and it says nothing; and the length of the text
stays, which the state of a recurrent layer depends on.

Quadrature is adaptive. Each interval of the line has four Gauss-Lobatto nodes, which include its
ends, so the error of its integral is known: the sum over the tokens must be the change of the
function between the ends. Until these errors add up to less than the tolerance, and their sizes to
less than a few times that, the intervals with an error above the mean are halved. The nodes of all
texts are batched, each a sequence of its own.

A plain RNN may settle in one of two states, and pass from one to the other within less of the line
than float32 tells apart. A text whose weights miss the tolerance is weighed again in float64.

Shapes: n texts, T tokens of a text, E features, K logits, S sequences, N rows in
packed order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.classifier import Classifier

TOLERANCE = 0.01
"""Most that the weights of a text may miss in sum, in units of the logit."""
LOCAL_ERRORS = 10
"""Times the tolerance that the errors of all intervals may add up to whatever their signs."""
INTERVALS = 4
"""Intervals that the line is divided into at first."""
MOST_INTERVALS = 256
"""Intervals of a text from which on none is halved, whatever the error."""

_BATCH_ROWS = 16_384
# Gauss-Lobatto on [0, 1], exact for polynomials of degree 5.
_NODES = np.array([0.0, 0.5 - 0.05**0.5, 0.5 + 0.05**0.5, 1.0])
_WEIGHTS = np.array([1.0, 5.0, 5.0, 1.0]) / 12


class Text(NamedTuple):
    """A text and a linear function of its logits.

    Attributes:
        ids: int64 (T,), the word ids of the tokens that the RNN reads; at least one.
        direction: float32 (K,), the factors of the logits.
    """

    ids: np.ndarray
    direction: np.ndarray


class Attribution(NamedTuple):
    """What the tokens of a text add to a linear function of its logits.

    Attributes:
        weights: float64 (T,).
        baseline: the function where every word vector is zero.
    """

    weights: np.ndarray
    baseline: float


@dataclass
class _Interval:
    text: int
    start: float
    width: float
    weights: np.ndarray
    first: float = 0.0
    error: float = 0.0


def logits(model: Classifier, ids: Sequence[np.ndarray]) -> np.ndarray:
    """Return float32 logits (n, K) of texts by their word ids, each as if it were alone."""
    model.eval()
    result = np.empty((len(ids), model.head.out_features), dtype=np.float32)
    with torch.no_grad():
        for rows in _batches([len(each) for each in ids]):
            vectors, layout, _ = _packed(model, [ids[row] for row in rows])
            result[rows] = model.classify(vectors, layout, layout).numpy()
    return result


def attribute(
    model: Classifier,
    texts: Sequence[Text],
    tolerance: float = TOLERANCE,
    intervals: int = INTERVALS,
) -> list[Attribution]:
    """Return what the tokens of each text add to a linear function of its logits.

    Args:
        model: in float32 on the CPU.
        texts: n of them.
        tolerance: most that the weights of a text may miss in sum, in the function's units.
        intervals: that the line is divided into at first.
    """
    model.eval()
    found = _attribute(model, texts, tolerance, intervals)
    missed = [row for row, (_, is_exact) in enumerate(found) if not is_exact]
    if missed:
        double = copy.deepcopy(model).double()
        again = _attribute(double, [texts[row] for row in missed], tolerance, intervals)
        for row, each in zip(missed, again, strict=True):
            found[row] = each
    return [attribution for attribution, _ in found]


def _attribute(
    model: Classifier, texts: Sequence[Text], tolerance: float, intervals: int
) -> list[tuple[Attribution, bool]]:
    """Return what the tokens of each text add, and whether that is within the tolerance."""
    starts = np.arange(intervals) / intervals
    pending = [
        _Interval(text, start, 1 / intervals, np.zeros(len(each.ids)))
        for text, each in enumerate(texts)
        for start in starts.tolist()
    ]
    done: list[list[_Interval]] = [[] for _ in texts]
    while pending:
        _integrate(model, texts, pending)
        for each in pending:
            done[each.text].append(each)
        touched = {each.text for each in pending}
        pending = [half for text in sorted(touched) for half in _halved(done[text], tolerance)]
    return [
        (
            Attribution(
                weights=np.sum([each.weights for each in own], axis=0),
                baseline=next(each.first for each in own if each.start == 0),
            ),
            _is_exact(own, tolerance),
        )
        for own in done
    ]


def _is_exact(done: Sequence[_Interval], tolerance: float) -> bool:
    errors = np.array([each.error for each in done])
    sizes = np.abs(errors)
    return bool(abs(errors.sum()) <= tolerance and sizes.sum() <= LOCAL_ERRORS * tolerance)


def _halved(done: list[_Interval], tolerance: float) -> list[_Interval]:
    """Take out a text's intervals that hold most of its error, and return their halves."""
    if len(done) >= MOST_INTERVALS or _is_exact(done, tolerance):
        return []
    sizes = np.array([abs(each.error) for each in done])
    is_coarse = sizes >= sizes.mean()
    coarse = [each for each, chosen in zip(done, is_coarse, strict=True) if chosen]
    done[:] = [each for each, chosen in zip(done, is_coarse, strict=True) if not chosen]
    return [
        _Interval(each.text, start, each.width / 2, np.zeros_like(each.weights))
        for each in coarse
        for start in (each.start, each.start + each.width / 2)
    ]


def _integrate(model: Classifier, texts: Sequence[Text], intervals: list[_Interval]) -> None:
    """Fill in the weights of intervals, the function at their starts, and their errors."""
    values = np.empty((len(intervals), len(_NODES)))
    sequences = [(place, node) for place in range(len(intervals)) for node in range(len(_NODES))]
    lengths = [len(intervals[place].weights) for place, _ in sequences]
    for rows in _batches(lengths):
        chosen = [sequences[row] for row in rows]
        own = [intervals[place] for place, _ in chosen]
        nodes = _NODES[[node for _, node in chosen]]
        along = [each.start + each.width * node for each, node in zip(own, nodes, strict=True)]
        found, weights = _evaluate(model, [texts[each.text] for each in own], along)
        for (place, node), value, each in zip(chosen, found, weights, strict=True):
            values[place, node] = value
            intervals[place].weights += each * (intervals[place].width * _WEIGHTS[node])
    for interval, (first, *_, last) in zip(intervals, values.tolist(), strict=True):
        interval.first = first
        interval.error = float(interval.weights.sum()) - (last - first)


def _evaluate(
    model: Classifier, texts: Sequence[Text], along: Sequence[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the function (S,) of texts on their lines, and each gradient times the vectors (T,).

    Args:
        model: the model.
        texts: S of them by falling length, a text several times.
        along: S places on the lines: 0 is the baseline, 1 the text.
    """
    vectors, layout, order = _packed(model, [each.ids for each in texts])
    factors = torch.tensor(along, dtype=vectors.dtype)[layout.sequence].unsqueeze(1)
    moved = (vectors * factors).requires_grad_()
    directions = torch.from_numpy(np.stack([each.direction for each in texts])).to(vectors)
    with torch.enable_grad():
        values = (model.classify(moved, layout, layout) * directions).sum(1)
        (gradient,) = torch.autograd.grad(values.sum(), moved)
    products = (gradient.double() * vectors).sum(1)[order]
    lengths = [len(each.ids) for each in texts]
    return values.detach().numpy(), [each.numpy() for each in products.split(lengths)]


def _packed(
    model: Classifier, ids: Sequence[np.ndarray]
) -> tuple[torch.Tensor, PackedLayout, torch.Tensor]:
    """Return word vectors (N, E) of texts by falling length, their layout, and the way back.

    The last holds the rows of the first text's tokens, then those of the second, and so on.
    """
    lengths = torch.tensor([len(each) for each in ids])
    layout = PackedLayout.of(lengths)
    firsts = lengths.cumsum(0) - lengths
    place = firsts[layout.sequence] + layout.step
    order = torch.empty_like(place)
    order[place] = torch.arange(len(place))
    flat = torch.from_numpy(np.concatenate(ids))
    with torch.no_grad():
        return model.embedding(flat[place]), layout, order


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indexes of sequences by falling length, about `_BATCH_ROWS` rows at a time."""
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    start = 0
    while start < len(order):
        size = max(1, _BATCH_ROWS // lengths[order[start]])
        yield order[start : start + size]
        start += size
