"""Language models of a data set: trained once by all cores, cached, and as a classifier takes them.

A direction is a language model of its own, so that two are trained side by side and one serves
classifiers of one and of both directions. A classifier of both has the embeddings of the two side
by side, and each of its directions reads its own half: the other half of the input weights is zero,
as are, above the first layer, those of the other direction's outputs. So each direction starts as
the language model that it was.

Shapes: V words of the vocabulary with the special ones, E embedding size of the classifier, D
directions, G gates, H hidden units.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sentiment.config import Config, fingerprint
from sentiment.data.corpus import Corpus, text_key, unlabelled_texts
from sentiment.embeddings.sources import load_many
from sentiment.io.processes import available_cores, in_processes
from sentiment.pretraining.lm_task import (
    OF_TASK,
    LanguageModelTask,
    directions_of,
    first_vectors,
    shape,
)
from sentiment.wording import duration

SHOWN_SECONDS = 30.0
"""Seconds between two lines of progress."""

# With less text than this, starting processes takes longer than they save.
_SMALL_TOKENS = 20_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PretrainedLayers:
    """What a classifier starts from.

    Attributes:
        config: settings that ask for it.
        weights: by the classifier's names of its parameters: `embedding.weight` (V, E) and those of
            `recurrent`.
        histories: by direction, the evaluations of its language model's training.
        fingerprints: by direction, what names the language model.
    """

    config: Config
    weights: dict[str, np.ndarray]
    histories: dict[str, list[dict[str, float]]]
    fingerprints: dict[str, str]

    @property
    def embedding_dim(self) -> int:
        """E."""
        return int(self.weights["embedding.weight"].shape[1])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights as tensors."""
        return {name: torch.tensor(value) for name, value in self.weights.items()}


def pretraining_key(config: Config) -> str | None:
    """Return the fingerprint of the settings that name the layers; None without pretraining."""
    if config.training.pretraining == "none":
        return None
    flat = config.flat()
    named = {name: flat[name] for name in (*OF_TASK, "bidirectional", "precision")}
    return fingerprint([text_key(config.text), named])


def load_pretrained(
    corpora: Mapping[str, Corpus], configs: Sequence[Config], progress: Progress | None = None
) -> dict[str, PretrainedLayers]:
    """Return the layers that some configurations start from, by `pretraining_key`.

    What the cache lacks is trained on all cores, a direction in a process.

    Args:
        corpora: by `text_key`.
        configs: those without pretraining are passed over.
        progress: called with a line on what is being done, with the time left.

    Raises:
        InputError: there are too few texts to train the first word vectors on.
        TrainingError: a loss is not finite.
    """
    wanted: dict[str, list[LanguageModelTask]] = {}
    for config in configs:
        key = pretraining_key(config)
        if key is not None:
            corpus = corpora[text_key(config.text)]
            wanted[key] = [
                LanguageModelTask(config, corpus, each) for each in directions_of(config)
            ]
    tasks = {task.fingerprint: task for own in wanted.values() for task in own}
    _build([task for task in tasks.values() if not task.is_built()], progress)
    return {key: _layers(own) for key, own in wanted.items()}


def _build(missing: Sequence[LanguageModelTask], progress: Progress | None) -> None:
    if not missing:
        return
    for task in missing:  # by one process, before several want the same
        load_many([first_vectors(task.config)], task.corpus, task.config.text, progress)
    if progress:
        texts = len(unlabelled_texts(missing[0].corpus))
        names = ", ".join(f"{shape(task.config)} {task.direction}" for task in missing)
        progress(f"pretraining language models on {texts:,} texts: {names}")
    if all(len(unlabelled_texts(task.corpus).tokens) < _SMALL_TOKENS for task in missing):
        for task in missing:
            task.build()
        return
    workers = min(len(missing), available_cores())
    with _shown(missing, progress):
        for _ in in_processes(LanguageModelTask.build, [(task,) for task in missing], workers):
            pass


@contextmanager
def _shown(tasks: Sequence[LanguageModelTask], progress: Progress | None) -> Iterator[None]:
    """Report how far the tasks are while they run."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(SHOWN_SECONDS):
            line = _line(tasks)
            if line is not None:
                progress(line)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _line(tasks: Sequence[LanguageModelTask]) -> str | None:
    """Return how far the tasks that run now are, None if none has begun."""
    found = [each for each in (task.partial.read_progress() for task in tasks) if each is not None]
    if not found:
        return None
    slowest = max(found, key=lambda each: each.seconds_left)
    share = min(each.step / each.steps for each in found)
    losses = ", ".join(f"{each.loss:.2f}" for each in found)
    return f"  pretraining {share:.0%}, loss {losses}, {duration(slowest.seconds_left)} left"


def _layers(tasks: Sequence[LanguageModelTask]) -> PretrainedLayers:
    loaded = {task.direction: task.load() for task in tasks}
    return PretrainedLayers(
        tasks[0].config,
        classifier_weights([weights for weights, _ in loaded.values()]),
        {direction: history for direction, (_, history) in loaded.items()},
        {task.direction: task.fingerprint for task in tasks},
    )


def classifier_weights(directions: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return a classifier's weights from those of a language model for each direction.

    Args:
        directions: `embedding.weight` (V, E / D) and `recurrent.weight_ih_l0` (G H, E / D) and so
            on, as torch names them; the forward one first.
    """
    result = {
        "embedding.weight": np.concatenate(
            [each["embedding.weight"] for each in directions], axis=1
        )
    }
    for place, weights in enumerate(directions):
        for name, value in weights.items():
            if not name.startswith("recurrent."):
                continue
            if "weight_ih" in name:
                columns = value.shape[1]
                wide = np.zeros((len(value), columns * len(directions)), value.dtype)
                wide[:, place * columns : (place + 1) * columns] = value
                value = wide
            result[f"{name}{'_reverse' if place else ''}"] = value
    return result
