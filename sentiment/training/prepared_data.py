"""All that models of one data set share: corpora, word vectors, n-grams, pretrained layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sentiment.config import Config, TextConfig
from sentiment.data.corpus import Corpus, load_corpus, text_key
from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.embeddings.sources import VectorSpec, WordVectors, load_many
from sentiment.ngrams.blend import Blend
from sentiment.ngrams.fit import FittedNgrams, load_ngrams, ngram_key
from sentiment.pretraining.pretrained import PretrainedLayers, load_pretrained, pretraining_key


@dataclass(frozen=True)
class PreparedData:
    """A data set, ready for every configuration that `prepare` was given.

    Attributes:
        dataset: texts, labels and splits.
        corpora: encoded splits by `text_key`.
        vectors: word vectors by `text_key`, source and size; None for random ones.
        ngrams: n-gram branches by `ngram_key`.
        blends: by the settings' fingerprint, how their branch is blended with the RNN where there
            is no validation split.
        pretrained: layers that models start from, by `pretraining_key`.
    """

    dataset: Dataset
    corpora: dict[str, Corpus]
    vectors: dict[tuple[str, VectorSpec], WordVectors | None]
    ngrams: dict[str, FittedNgrams] = field(default_factory=dict, kw_only=True)
    blends: dict[str, Blend] = field(default_factory=dict, kw_only=True)
    pretrained: dict[str, PretrainedLayers] = field(default_factory=dict, kw_only=True)

    def for_config(self, config: Config) -> tuple[Corpus, WordVectors | None]:
        """Return what a model of these settings is trained on.

        Raises:
            KeyError: `prepare` was not given such settings.
        """
        key = text_key(config.text)
        return self.corpora[key], self.vectors[key, VectorSpec.of_config(config)]

    def ngrams_for(self, config: Config) -> FittedNgrams | None:
        """Return the n-gram branch of a model of these settings; None if it has none.

        Raises:
            KeyError: `prepare` was not given such settings.
        """
        key = ngram_key(config)
        if key is None:
            return None
        fitted = self.ngrams[key]
        return replace(fitted, blend=self.blends.get(config.fingerprint, fitted.blend))

    def pretrained_for(self, config: Config) -> PretrainedLayers | None:
        """Return the layers that a model of these settings starts from; None without pretraining.

        Raises:
            KeyError: `prepare` was not given such settings.
        """
        key = pretraining_key(config)
        return None if key is None else self.pretrained[key]


def prepare(
    data: DataConfig | Dataset,
    configs: Sequence[Config],
    progress: Callable[[str], None] | None = None,
) -> PreparedData:
    """Build what the configurations need of a data set's corpora and vectors.

    What the cache lacks is built on all cores; sources of vectors that are trained on the
    texts are trained side by side.

    Args:
        data: the data set, or where to load it from.
        configs: of the models to be trained.
        progress: called with a line on what is being done.

    Raises:
        InputError: the data or a source of vectors is not as it should be.
        TrainingError: a pretraining fails.
    """
    wanted: dict[str, set[VectorSpec]] = {}
    texts: dict[str, TextConfig] = {}
    branches: dict[str, Config] = {}
    for config in configs:
        key = text_key(config.text)
        texts[key] = config.text
        wanted.setdefault(key, set()).add(VectorSpec.of_config(config))
        branch = ngram_key(config)
        if branch is not None:
            branches[branch] = config
    dataset = data if isinstance(data, Dataset) else load_dataset(data, progress)
    corpora: dict[str, Corpus] = {}
    vectors: dict[tuple[str, VectorSpec], WordVectors | None] = {}
    for key, text in texts.items():
        corpora[key] = load_corpus(dataset, text, progress=progress)
        for spec, loaded in load_many(wanted[key], corpora[key], text, progress).items():
            vectors[key, spec] = loaded
    ngrams = {
        key: load_ngrams(corpora[text_key(config.text)], config, progress)
        for key, config in branches.items()
    }
    pretrained = load_pretrained(corpora, configs, progress)
    return PreparedData(dataset, corpora, vectors, ngrams=ngrams, pretrained=pretrained)
