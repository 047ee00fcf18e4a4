"""The saved model: a folder of JSON and safetensors, and its predictions of texts.

Nothing in it is a pickle. It holds the text settings and the vocabulary beside the weights, so a
text is read in serving as it was in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sentiment.config import Config
from sentiment.data.batching import FIRST_WORD_ID, TextDataset
from sentiment.data.corpus import EncodedSplit
from sentiment.data.tokenizer import Tokenizer, tokenizer
from sentiment.data.vocabulary import Vocabulary
from sentiment.errors import InputError
from sentiment.inference.batch_predict import predict_logits, to_log_probabilities
from sentiment.inference.model_folder import read_json, read_strings, write_json, written_whole
from sentiment.inference.quantization import dequantize, quantize
from sentiment.io.processes import in_processes
from sentiment.ngrams.model import PREFIX, NgramModel
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import configure_threads

FORMAT = 1
QUANTIZED_FORMAT = 2
"""Format of a folder whose large tensors are in 8 bits, see `quantization`."""
TEXTS_PER_WORKER = 1_500
"""With fewer texts than this each, processes take longer to start than they save."""
FILES = ("config.json", "vocabulary.json", "labels.json", "weights.safetensors")


@dataclass
class Bundle:
    """A model with all that it needs to read a raw text.

    Attributes:
        config: all settings that it was trained with.
        vocabulary: its words.
        label_names: the classes' names, by their index.
        weights: the state dict, float32 on the CPU, and the tensors of the n-gram branch, if the
            model has one (`sentiment.ngrams.model.NgramModel.tensors`).
        metadata: what it was trained on and how well it did; JSON.
    """

    config: Config
    vocabulary: Vocabulary
    label_names: tuple[str, ...]
    weights: dict[str, torch.Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path | str, in_8_bits: bool = False) -> Path:
        """Write the bundle: whole under its name, or not at all.

        Args:
            folder: where.
            in_8_bits: whether its large tensors are written in 8 bits, near what they are.
        """
        folder = Path(folder)
        weights = quantize(self.weights) if in_8_bits else self.weights
        described = {
            "format": QUANTIZED_FORMAT if in_8_bits else FORMAT,
            "settings": self.config.model_dump(mode="json"),
            "metadata": self.metadata,
        }
        with written_whole(folder) as temporary:
            write_json(temporary / "config.json", described)
            write_json(temporary / "vocabulary.json", list(self.vocabulary.itos))
            write_json(temporary / "labels.json", list(self.label_names))
            save_file(
                {name: value.contiguous() for name, value in weights.items()},
                temporary / "weights.safetensors",
            )
            # It was written for its owner alone, unlike the other files.
            (temporary / "weights.safetensors").chmod(0o644)
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read a bundle and check that its parts fit each other.

        Weights in 8 bits become float32.

        Raises:
            InputError: a file is missing, torn, of another format, or does not fit the others.
        """
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(f"{folder} is not a saved model: it has no {missing[0]}")
        described = read_json(folder / "config.json", dict)
        written = described.get("format")
        if written not in (FORMAT, QUANTIZED_FORMAT):
            raise InputError(
                f"{folder / 'config.json'}: format {written!r}, "
                f"this version reads formats {FORMAT} and {QUANTIZED_FORMAT}"
            )
        try:
            config = Config.model_validate(described.get("settings"))
        except ValueError as error:
            reason = str(error).splitlines()
            raise InputError(
                f"{folder / 'config.json'}: settings of another version or damaged "
                f"({' '.join(line.strip() for line in reason[1:3])})"
            ) from None
        words = read_strings(folder / "vocabulary.json")
        labels = read_strings(folder / "labels.json")
        if len(labels) < 2:
            raise InputError(f"{folder / 'labels.json'}: fewer than two labels")
        try:
            weights = load_file(folder / "weights.safetensors")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{folder / 'weights.safetensors'}: can't be read: {error}") from None
        if written == QUANTIZED_FORMAT:
            try:
                weights = dequantize(weights)
            except ValueError as error:
                raise InputError(f"{folder / 'weights.safetensors'}: {error}") from None
        metadata = described.get("metadata", {})
        if not isinstance(metadata, dict):
            raise InputError(f"{folder / 'config.json'}: metadata is not an object")
        try:
            vocabulary = Vocabulary(tuple(words))
        except ValueError as error:
            raise InputError(f"{folder / 'vocabulary.json'}: {error}") from None
        bundle = cls(config, vocabulary, tuple(labels), weights, metadata)
        bundle._check(folder)
        return bundle

    def quantized(self) -> Bundle:
        """Return the bundle that is read from where this one was written in 8 bits."""
        return replace(self, weights=dequantize(quantize(self.weights)))

    @cached_property
    def model(self) -> Classifier:
        """The classifier in float32 on the CPU, ready to predict."""
        rows, dim = self.weights["embedding.weight"].shape
        model = Classifier(self.config.model, rows, dim, len(self.label_names))
        model.load_state_dict(self._recurrent_weights)
        return model.eval()

    @cached_property
    def ngrams(self) -> NgramModel | None:
        """The n-gram branch, its weights scaled by its share in the blend; None without one."""
        longest = self.config.model.ngrams
        tensors = {n: each for n, each in self.weights.items() if n.startswith(PREFIX)}
        if not longest and not tensors:
            return None
        outputs = len(self.weights["head.bias"])
        return NgramModel.from_tensors(tensors, longest, self.vocabulary.size, outputs)

    @property
    def _recurrent_weights(self) -> dict[str, torch.Tensor]:
        return {n: each for n, each in self.weights.items() if not n.startswith(PREFIX)}

    @cached_property
    def tokenize(self) -> Tokenizer:
        """The function from a text to its tokens."""
        return tokenizer(self.config.text)

    def encode(self, tokens: Sequence[Sequence[str]]) -> EncodedSplit:
        """Return tokenized texts as a corpus holds them; one without a token is one `<unk>`."""
        encoded = [self.vocabulary.encode(each) for each in tokens]
        # Ids become the ranks that a corpus holds: its first word has rank 0, <unk> has -1.
        ranks = np.concatenate(encoded).astype(np.int32) - FIRST_WORD_ID
        return EncodedSplit(
            tokens=np.maximum(ranks, -1),
            offsets=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
            labels=np.zeros(len(encoded), dtype=np.int64),
        )

    def predict(self, texts: list[str], workers: int = 1) -> np.ndarray:
        """Return float32 probabilities (n, C), rows in the order of the texts.

        Always in float32, whatever precision trained, and alike whatever else is in the batch
        (but for `packing: padded`, whose result depends on the padding by nature).

        Args:
            texts: n of them.
            workers: processes that share many texts; few are predicted in this one.
        """
        return np.exp(self.log_probabilities(texts, workers))

    def log_probabilities(self, texts: list[str], workers: int = 1) -> np.ndarray:
        """Return float32 log probabilities (n, C), rows in the order of the texts."""
        if not texts:
            return np.empty((0, len(self.label_names)), dtype=np.float32)
        workers = min(workers, len(texts) // TEXTS_PER_WORKER)
        if workers > 1:
            return self._in_processes(texts, workers)
        recurrent, ngrams = self._logits(texts)
        return to_log_probabilities(self.model, recurrent if ngrams is None else recurrent + ngrams)

    def _logits(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return float32 logits (n, K) of the RNN and of the n-gram branch, if there is one."""
        split = self.encode([self.tokenize(text) for text in texts])
        view = TextDataset(split, self.config.text, self.vocabulary.size)
        ngrams = None if self.ngrams is None else self.ngrams.logits(split)
        return predict_logits(self.model, view), ngrams

    def part_log_probabilities(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return float32 log probabilities (n, C) of the RNN, of the n-grams, and of the `blend`.

        Empty for a model without an n-gram branch.
        """
        if self.ngrams is None or not texts:
            return {}
        recurrent, ngrams = self._logits(texts)
        assert ngrams is not None
        return {
            "RNN": to_log_probabilities(self.model, recurrent),
            "n-grams": to_log_probabilities(self.model, ngrams),
            "blend": to_log_probabilities(self.model, recurrent + ngrams),
        }

    def heaviest_ngrams(self, count: int) -> dict[str, list[tuple[str, float]]]:
        """Return for each class the n-grams with the largest weights for it, as they are blended.

        Empty for a model without an n-gram branch.
        """
        if self.ngrams is None:
            return {}
        weights = self.ngrams.weights
        if weights.shape[1] == 1:
            weights = np.concatenate([-weights, weights], axis=1)
        found = {}
        for label, column in zip(self.label_names, weights.T, strict=True):
            order = np.argsort(-column, kind="stable")[:count].tolist()
            found[label] = [(self.ngram_words(place), float(column[place])) for place in order]
        return found

    def ngram_words(self, column: int) -> str:
        """Return the words of the n-gram in a column of the branch's table, blanks between them."""
        assert self.ngrams is not None
        ranks = self.ngrams.table.ngram(column)
        return " ".join(self.vocabulary.itos[FIRST_WORD_ID + rank] for rank in ranks)

    def _in_processes(self, texts: list[str], workers: int) -> np.ndarray:
        bare = replace(self)  # without the model, which each process makes for itself
        tasks = [(bare, texts[first::workers]) for first in range(workers)]
        result = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        for first, rows in in_processes(_share, tasks, workers):
            result[first::workers] = rows
        return result

    def _check(self, folder: Path) -> None:
        """Raise an InputError where the weights don't fit the settings or the vocabulary."""
        embedding = self.weights.get("embedding.weight")
        if embedding is None or embedding.dim() != 2 or len(embedding) != len(self.vocabulary):
            shape = None if embedding is None else tuple(embedding.shape)
            raise InputError(
                f"{folder}: {len(self.vocabulary)} words in vocabulary.json don't fit "
                f"embedding weights of shape {shape} in weights.safetensors"
            )
        file, (rows, dim) = folder / "weights.safetensors", embedding.shape
        try:
            # Without memory: settings that were tampered with may ask for any amount.
            with torch.device("meta"):
                outline = Classifier(self.config.model, rows, dim, len(self.label_names))
            outline.load_state_dict(
                {name: value.to("meta") for name, value in self._recurrent_weights.items()},
                assign=True,
            )
        except (RuntimeError, TypeError) as error:
            first = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise InputError(f"{file}: does not fit config.json: {first[-1]}") from None
        try:
            branch = self.ngrams
        except ValueError as error:
            raise InputError(f"{file}: does not fit config.json: {error}") from None
        checked = self._recurrent_weights
        if branch is not None:
            checked |= {n: self.weights[PREFIX + n] for n in ("weight", "bias")}
        for name, value in checked.items():
            if not value.is_floating_point() or not value.isfinite().all():
                raise InputError(f"{file}: {name} holds something else than finite numbers")


def _share(bundle: Bundle, texts: list[str]) -> np.ndarray:
    """What one process predicts."""
    configure_threads(1)
    return bundle.log_probabilities(texts)
