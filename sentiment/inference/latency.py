"""How long a saved model takes for a single text."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from sentiment.inference.ensemble import TextModel

WARM_UP = 3
"""Predictions before any is timed: of the first the tokenizer and the kernels are slower."""
LONGEST = 0.5
"""Seconds after which no further text is timed."""


def single_text_latency(model: TextModel, texts: Sequence[str]) -> float:
    """Return the median milliseconds of a prediction of one text, from its characters on.

    It is what a server takes for a request of one text beside HTTP: on the CPU, in float32, on as
    many threads as torch has here. What else the machine does counts too.

    Args:
        model: the model.
        texts: one prediction each, some at the start once more to warm up.

    Raises:
        ValueError: there are no texts.
    """
    if not texts:
        raise ValueError("a latency needs texts")
    for text in texts[:WARM_UP]:
        model.predict([text])
    taken: list[float] = []
    for text in texts:
        started = time.perf_counter()
        model.predict([text])
        taken.append(time.perf_counter() - started)
        if sum(taken) > LONGEST:
            break
    return 1000 * statistics.median(taken)
