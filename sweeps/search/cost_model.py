"""What a trial's settings cost on the CPU, before it has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sentiment.config import Config
from sentiment.nn.packed_rnn import GATES

CHARACTERS_A_TOKEN = 4.9
OTHER_WEIGHTS = 80_000
"""What a token takes beside the recurrent layers (embedding, pooling, optimizer), in weights.

Measured on 100 trials of the space for the CPU: from it and the recurrent weights follow their
seconds within a factor of 1.4, two times out of three.
"""
ADVERSARIAL_PASSES = 2
"""How many times as long a step takes with a perturbed copy of each text."""
VIRTUAL_PASSES = 2
"""Steps that the virtual adversarial loss of as many texts takes beside: three passes forward, the
first of which keeps nothing, and two backward."""
_DEFAULTS = Config().flat()


class TrialCost:
    """Operations that training on one text takes, by a trial's settings."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Take the lengths of the texts of the train split."""
        self._lengths = np.array([len(text) for text in texts]) / CHARACTERS_A_TOKEN

    @property
    def texts(self) -> int:
        """Texts of the train split."""
        return len(self._lengths)

    def batch_lengths(self, size: int, settings: Mapping[str, Any]) -> np.ndarray:
        """Return the tokens of the texts of a typical batch, falling, int64 (size,)."""
        shares = (np.arange(size) + 0.5) / size
        tokens = np.quantile(self._tokens({**_DEFAULTS, **settings}), shares[::-1])
        return np.maximum(1, tokens.round()).astype(np.int64)

    def _tokens(self, known: Mapping[str, Any]) -> np.ndarray:
        return np.minimum(self._lengths, known["max_length"] or np.inf)

    def __call__(self, settings: Mapping[str, Any]) -> float:
        """Return the operations; a setting that is missing has its default.

        A recurrent weight costs two operations a token forward and four backward.
        """
        known = {**_DEFAULTS, **settings}
        tokens = self._tokens(known).mean()
        hidden, layers = known["hidden_dim"], known["layers"]
        directions = 1 + known["bidirectional"]
        inputs = known["embedding_dim"] + (layers - 1) * hidden * directions
        weights = directions * GATES[known["cell"]] * hidden * (inputs + layers * hidden)
        passes = ADVERSARIAL_PASSES if known["adversarial_epsilon"] else 1
        if known["virtual_adversarial_weight"]:
            passes += VIRTUAL_PASSES
        elif known["entropy_weight"]:
            passes += 1
        return float(6 * passes * tokens * (weights + OTHER_WEIGHTS))
