"""Predict with a model that was exported to ONNX: by ONNX Runtime, without the project it is from.

    python predict.py "This film is great" ...

prints each text's label and that label's probability; without a text, of each line of standard
input. From Python: `OnnxModel(FOLDER).predict(["This film is great"])`.

Shapes: n texts, C classes, B texts of a batch, T tokens of its longest text, P n-grams of the text
that holds the most.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from sentiment.data.token_rules import text_splitter

BATCH_TOKENS = 16_384
"""Tokens that are predicted together, padding included; a longer text is a batch of its own."""
UNKNOWN, FIRST_WORD = 0, 2
"""Ids of `<unk>` and of the commonest word; `<pad>`, between them, is no word of a text."""


class OnnxModel:
    """A model in a folder that was exported to ONNX.

    Attributes:
        labels: names of the C classes.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        settings = json.loads((folder / "settings.json").read_bytes())
        words = json.loads((folder / "vocabulary.json").read_bytes())
        self.labels: list[str] = json.loads((folder / "labels.json").read_bytes())
        self._ids = {word: number for number, word in enumerate(words)}
        text = settings["text"]
        self._split = text_splitter(
            text["tokenizer"], text["language"], text["lowercase"], text["strip_markup"]
        )
        self._max_length, self._truncation = text["max_length"], text["truncation"]
        self._keys: list[np.ndarray] = []
        if settings["ngrams"]:
            with np.load(folder / "ngrams.npz", allow_pickle=False) as arrays:
                self._keys = [arrays[str(n)] for n in range(1, settings["ngrams"] + 1)]
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probabilities of texts, float32 (n, C)."""
        result = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        encoded = [self.encode(text) for text in texts]
        for places in _batches([len(ids) for ids in encoded]):
            inputs = self.inputs([encoded[place] for place in places])
            (result[places],) = self._session.run(["probabilities"], inputs)
        return result

    def encode(self, text: str) -> np.ndarray:
        """Return the word ids of a whole text, int64; one without a word is one `<unk>`."""
        ids = [self._ids.get(token, UNKNOWN) for token in self._split(text)]
        array = np.array(ids or [UNKNOWN], dtype=np.int64)
        array[array < FIRST_WORD] = UNKNOWN
        return array

    def inputs(self, encoded: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return what the ONNX model takes for a batch of encoded texts.

        Returns:
            `ids` (B, T) and `lengths` (B,), and with an n-gram branch `ngrams` (B, P); int64.
        """
        kept = [self._truncated(ids) for ids in encoded]
        found = {
            "ids": _padded(kept, UNKNOWN),
            "lengths": np.array([len(ids) for ids in kept], dtype=np.int64),
        }
        if self._keys:
            # The n-grams are those of the whole text.
            total = sum(len(keys) for keys in self._keys)
            found["ngrams"] = _padded([self.ngrams(ids) for ids in encoded], total)
        return found

    def ngrams(self, ids: np.ndarray) -> np.ndarray:
        """Return the columns of the n-grams that an encoded text holds, each once.

        An n-gram is found by its key: the place of its first n - 1 words among the n-grams that are
        one word shorter, times the size of the vocabulary, plus its last word.
        """
        words = ids - FIRST_WORD  # below 0 for an unknown word
        vocabulary = len(self._ids) - FIRST_WORD
        columns, before, first = [], np.zeros(len(words), dtype=np.int64), 0
        for length, keys in enumerate(self._keys, start=1):
            last = words[length - 1 :]
            before = before[: len(last)]
            wanted = np.where((before >= 0) & (last >= 0), before * vocabulary + last, -1)
            before = np.full(len(wanted), -1, dtype=np.int64)
            if len(keys):
                places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
                before = np.where(keys[places] == wanted, places, -1)
            columns.append(np.unique(before[before >= 0]) + first)
            first += len(keys)
        return np.concatenate(columns)

    def _truncated(self, ids: np.ndarray) -> np.ndarray:
        most = self._max_length
        if not most or len(ids) <= most:
            return ids
        head = {"head": most, "tail": 0, "head_tail": (most + 1) // 2}[self._truncation]
        return np.concatenate([ids[:head], ids[len(ids) - (most - head) :]])


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts of like lengths, so that a batch has little padding."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _padded(rows: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Return rows of different lengths as one array, int64; it has a column at least."""
    width = max(1, *(len(row) for row in rows))
    result = np.full((len(rows), width), value, dtype=np.int64)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def main() -> None:
    """Print the label and its probability of each text of the command line, or line of input."""
    model = OnnxModel(Path(__file__).parent)
    for text in sys.argv[1:] or (line.rstrip("\r\n") for line in sys.stdin):
        (row,) = model.predict([text])
        print(f"{model.labels[row.argmax()]}\t{row.max():.4f}", flush=True)


if __name__ == "__main__":
    main()
