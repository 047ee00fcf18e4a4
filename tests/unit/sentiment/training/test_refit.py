"""The refit: which texts it sees, for how long, and what of the choice it keeps."""

from dataclasses import replace

import numpy as np
import pytest
from toy_corpus import config_of, corpus_of

from sentiment.data.corpus import text_key
from sentiment.data.datasets import Dataset
from sentiment.embeddings.sources import VectorSpec
from sentiment.ngrams.blend import Blend
from sentiment.ngrams.fit import fit_ngrams, ngram_key
from sentiment.training.prepared_data import PreparedData
from sentiment.training.refit import joined, refit_config, refit_data
from sentiment.training.trainer import Trainer

CONFIG = config_of(ngrams=2, epochs=2, evaluations_per_epoch=2)


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """A model with its data, as a choice finds them."""
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    corpus = corpus_of()
    key = text_key(CONFIG.text)
    prepared = PreparedData(
        Dataset("toy", ("neg", "pos"), {}, "0" * 64),
        {key: corpus},
        {(key, VectorSpec.of(CONFIG.model)): None},
        ngrams={ngram_key(CONFIG): fit_ngrams(corpus, CONFIG)},
    )
    trainer = Trainer(CONFIG, corpus, ngrams=prepared.ngrams_for(CONFIG))
    list(trainer.evaluations())
    return prepared, trainer


def test_it_trains_on_both_splits(chosen):
    prepared, trainer = chosen
    config = refit_config(CONFIG, trainer.best_examples, trainer.train_texts.size)
    data = refit_data(prepared, [(config, trainer.best.metadata)])
    corpus, _ = data.for_config(config)
    assert set(corpus.splits) == {"train"}
    assert len(corpus.splits["train"]) == 300 + 90
    again = Trainer(config, corpus, ngrams=data.ngrams_for(config))
    list(again.evaluations())
    assert again.examples == pytest.approx(
        config.training.epochs * 390, abs=CONFIG.training.batch_size
    )
    assert again.vocabulary == trainer.vocabulary


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("best", [0.5, 2, 6])
def test_it_learns_as_much_as_the_best_checkpoint_had(schedule, best):
    chosen = CONFIG.replace(schedule=schedule, epochs=6)
    again = refit_config(chosen, best_examples=int(100 * best), train_size=100)
    if schedule != "cosine":
        assert again.training.epochs == best
        return
    # The learning rates of a cosine up to there, and those of a whole one.
    steps = np.arange(0, best, 1e-4)
    learnt = (0.5 * (1 + np.cos(np.pi * steps / 6))).sum() * 1e-4
    assert again.training.epochs / 2 == pytest.approx(learnt, rel=1e-3)
    assert best <= again.training.epochs <= 6


def test_the_branch_keeps_its_strength_and_its_share(chosen):
    prepared, trainer = chosen
    metadata = trainer.best.metadata
    branch = refit_data(prepared, [(CONFIG, metadata)]).ngrams_for(CONFIG)
    assert branch.regularization == prepared.ngrams_for(CONFIG).regularization
    assert branch.blend == Blend(*metadata["blend"])
    assert branch.valid_logits is None
    both = joined(*(prepared.for_config(CONFIG)[0].splits[name] for name in ("train", "valid")))
    assert branch.model.logits(both).shape == (390, 1)
    assert not np.array_equal(branch.model.weights, prepared.ngrams_for(CONFIG).model.weights)


def test_models_of_one_branch_are_refit_side_by_side_each_with_its_share(chosen):
    prepared, trainer = chosen
    metadata, other = trainer.best.metadata, CONFIG.replace(hidden_dim=9)
    both = [(CONFIG, metadata), (other, {**metadata, "blend": [0.5, 2.0]})]
    data = refit_data(prepared, [*both, (CONFIG.replace(ngrams=0), {})])
    assert len(data.ngrams) == len(data.corpora) == 1
    assert data.ngrams_for(CONFIG).blend == Blend(*metadata["blend"])
    assert data.ngrams_for(other).blend == Blend(0.5, 2.0)


def test_without_a_branch_there_is_none(chosen):
    prepared, _ = chosen
    config = CONFIG.replace(ngrams=0)
    assert refit_data(prepared, [(config, {})]).ngrams == {}


def test_joined_splits_hold_the_texts_of_both():
    corpus = corpus_of()
    first, second = corpus.splits["valid"], corpus.splits["train"]
    both = joined(first, replace(second))
    assert len(both) == len(first) + len(second)
    for split, shift in ((first, 0), (second, len(first))):
        for row in (0, 7, len(split) - 1):
            text = split.tokens[split.offsets[row] : split.offsets[row + 1]]
            place = row + shift
            found = both.tokens[both.offsets[place] : both.offsets[place + 1]]
            assert np.array_equal(found, text)
            assert both.labels[place] == split.labels[row]


def test_joined_splits_keep_their_groups_where_both_have_some():
    corpus = corpus_of()
    first, second = corpus.splits["valid"], corpus.splits["train"]
    grouped = replace(first, groups=np.arange(90)), replace(second, groups=np.arange(90, 390))
    assert joined(*grouped).groups.tolist() == list(range(390))
    assert joined(grouped[0], second).groups is None
    assert joined(first, grouped[1]).groups is None
