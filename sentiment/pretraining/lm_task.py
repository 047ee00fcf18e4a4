"""One direction's language model of one data set: what names it, its training, its cache entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from sentiment.config import Config, fingerprint
from sentiment.data.batching import TextDataset
from sentiment.data.corpus import Corpus, EncodedSplit, text_key, unlabelled_texts
from sentiment.data.vocabulary import SPECIALS, build_vocabulary
from sentiment.embeddings.sources import VectorSpec, embedding_matrix, load_many
from sentiment.io.cache import cached, is_cached
from sentiment.nn.devices import (
    configure_threads,
    pick_device,
    recurrent_precision,
)
from sentiment.nn.matmul import precision_name
from sentiment.pretraining.language_model import LanguageModel
from sentiment.pretraining.lm_training import LanguageModelTraining
from sentiment.pretraining.partial import PartialPretraining

KIND = "language-model"
FORWARD, BACKWARD = "forward", "backward"
SHAPE = ("cell", "layers", "hidden_dim")
"""Settings of the recurrent layers that it shares with a classifier."""
TEXT = ("vocabulary_size", "min_count", "max_length", "truncation")
"""Settings of how it reads the texts, beside those that change the tokens."""
OF_TASK = (*SHAPE, *TEXT, "embedding", "embedding_dim", "init_std", "pretraining_epochs")
"""All settings that a language model depends on, beside those that change the tokens."""
DROPOUT = 0.1

# Part of the fingerprint: raise it when training or the files change in another way.
_FORMAT = 1
_SEED = 1234
_HISTORY, _TENSORS = "history.json", "model.safetensors"


@dataclass(frozen=True)
class LanguageModelTask:
    """One direction's language model of one corpus.

    Attributes:
        config: settings with `pretraining: lm`; those of the texts, the shape and the embedding
            count.
        corpus: train and, where the data set has it, unsup are learnt from.
        direction: `FORWARD` or `BACKWARD`.
    """

    config: Config
    corpus: Corpus
    direction: str

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that it depends on."""
        return task_fingerprint(self.config, self.corpus.dataset_fingerprint, self.direction)

    def is_built(self) -> bool:
        """Whether the cache has it."""
        return is_cached(KIND, self.fingerprint)

    def build(self) -> Path:
        """Train it unless the cache has it; return its folder.

        Raises:
            TrainingError: the loss is not finite.
        """
        return cached(KIND, self.fingerprint, self._train)

    def load(self) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
        """Return its weights by name, and the evaluations of its training."""
        folder = self.build()
        history = json.loads((folder / _HISTORY).read_text(encoding="utf-8"))
        return load_file(folder / _TENSORS), history

    @property
    def partial(self) -> PartialPretraining:
        """What it leaves while it is trained."""
        return PartialPretraining(self.fingerprint)

    def training(self) -> LanguageModelTraining:
        """Return its training, from the start or where one has stopped.

        It has one thread: a second brings a tenth, and where other work keeps a core busy the two
        wait for one another at every step.
        """
        configure_threads(1)
        device, text = pick_device(), self.config.text
        split = unlabelled_texts(self.corpus)
        vocabulary = build_vocabulary(
            self.corpus.words, self.corpus.counts, text.vocabulary_size, text.min_count
        )
        counts = _counts(split, vocabulary.size)
        model = self._model(vocabulary.size, counts).to(device)
        dtype = _dtype(self.config, device)
        if dtype != torch.float32:
            model.recurrent.compute_dtype = dtype
        valid = self.corpus.splits.get("valid")
        return LanguageModelTraining(
            model,
            TextDataset(split, text, vocabulary.size, device),
            None if valid is None else TextDataset(valid, text, vocabulary.size, device),
            counts,
            epochs=self.config.training.pretraining_epochs,
            seed=_SEED,
            partial=self.partial,
        )

    def _train(self, folder: Path) -> None:
        training = self.training()
        history = training.run()
        kept = {
            name: value.cpu().numpy()
            for name, value in training.model.state_dict().items()
            if name.startswith(("embedding.", "recurrent."))
        }
        save_file(kept, folder / _TENSORS)
        (folder / _HISTORY).write_text(json.dumps(history), encoding="utf-8")
        self.partial.remove()

    def _model(self, known: int, counts: np.ndarray) -> LanguageModel:
        model = self.config.model
        vectors = load_many([self._spec], self.corpus, self.config.text)[self._spec]
        generator = torch.Generator().manual_seed(_SEED)
        matrix = embedding_matrix(vectors, known, self._spec.dim, model.init_std, generator)
        torch.manual_seed(_SEED)
        shares = np.maximum(counts, 1) / max(1, counts.sum())
        return LanguageModel(
            model.cell,
            model.layers,
            model.hidden_dim,
            matrix,
            torch.from_numpy(np.log(shares)).float(),
            backward=self.direction == BACKWARD,
            share_dropped=DROPOUT,
        )

    @property
    def _spec(self) -> VectorSpec:
        return first_vectors(self.config)


def directions_of(config: Config) -> tuple[str, ...]:
    """Return the directions of the language models that a classifier starts from."""
    return (FORWARD, BACKWARD) if config.model.bidirectional else (FORWARD,)


def task_fingerprint(config: Config, dataset_fingerprint: str, direction: str) -> str:
    """Return the hexadecimal sha256 over all that a language model depends on."""
    flat = config.flat()
    return fingerprint(
        {
            "format": _FORMAT,
            "dataset": dataset_fingerprint,
            "text": [text_key(config.text), *(flat[name] for name in TEXT)],
            "shape": [flat[name] for name in SHAPE],
            "vectors": [*first_vectors(config), flat["init_std"]],
            "epochs": flat["pretraining_epochs"],
            "precision": precision_name(_dtype(config, pick_device())),
            "direction": direction,
            "seed": _SEED,
        }
    )


def first_vectors(config: Config) -> VectorSpec:
    """Return the word vectors that a language model starts from: those of one direction."""
    model = config.model
    dim = model.embedding_dim // len(directions_of(config))
    return VectorSpec.of(model.model_copy(update={"embedding_dim": dim}))._replace(dim=dim)


def _dtype(config: Config, device: torch.device) -> torch.dtype:
    model, training = config.model, config.training
    return recurrent_precision(training.precision, device, model.cell, model.hidden_dim)


def shape(config: Config) -> str:
    """Return what the recurrent layers are, in a word: `lstm-1×512`."""
    model = config.model
    return f"{model.cell}-{model.layers}×{model.hidden_dim}"


def _counts(split: EncodedSplit, known: int) -> np.ndarray:
    """Return (V,) how often each word of the vocabulary stands in the texts; 0 for special ones."""
    ranks = split.tokens[(split.tokens >= 0) & (split.tokens < known)]
    return np.concatenate([np.zeros(len(SPECIALS)), np.bincount(ranks, minlength=known)])
