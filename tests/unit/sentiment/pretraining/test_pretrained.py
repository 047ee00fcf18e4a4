"""Layers that a classifier starts from: each of its directions is a language model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_corpus import WORDS, config_of, corpus_of, split_of

from sentiment.config import Config
from sentiment.data.batching import TextDataset
from sentiment.data.corpus import text_key, unlabelled_texts
from sentiment.data.vocabulary import SPECIALS
from sentiment.errors import InputError
from sentiment.nn.packed_rnn import PackedRNN
from sentiment.pretraining.lm_task import BACKWARD, FORWARD, LanguageModelTask
from sentiment.pretraining.pretrained import classifier_weights, load_pretrained, pretraining_key
from sentiment.training.trainer import Trainer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))


def lm_config(**settings: object) -> Config:
    return config_of(**{"pretraining": "lm", "pretraining_epochs": 0.2, **settings})


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_each_direction_of_a_classifier_runs_as_its_language_model(cell: str) -> None:
    """In two layers, the second of which sees the outputs of both directions."""
    torch.manual_seed(2)
    alone = [PackedRNN(cell, 3, 5, 2) for _ in range(2)]
    tables = [torch.randn(9, 3) for _ in range(2)]
    weights = classifier_weights(
        [
            {"embedding.weight": table.numpy()}
            | {f"recurrent.{name}": value.numpy() for name, value in each.state_dict().items()}
            for each, table in zip(alone, tables, strict=True)
        ]
    )
    both = PackedRNN(cell, 6, 5, 2, bidirectional=True)
    own = {name.removeprefix("recurrent."): torch.tensor(v) for name, v in weights.items()}
    table = own.pop("embedding.weight")
    both.load_state_dict(own)
    texts = TextDataset(split_of(20, 4), config_of().text, len(WORDS))
    ((_, batch),) = texts.batches([np.argsort(-texts.lengths)])
    outputs = both(table[batch.ids % 9], batch.layout)
    backwards = batch.ids[batch.layout.reversed_index]
    for direction, ids in enumerate((batch.ids, backwards)):
        expected = alone[direction](tables[direction][ids % 9], batch.layout)[:, 0]
        torch.testing.assert_close(outputs[:, direction], expected, rtol=1e-4, atol=1e-5)


def test_a_trainer_starts_from_the_layers() -> None:
    corpus, config = corpus_of(), lm_config(bidirectional=True, cell="gru")
    layers = load_pretrained({text_key(config.text): corpus}, [config])[pretraining_key(config)]
    assert set(layers.histories) == {FORWARD, BACKWARD}
    assert layers.embedding_dim == 6
    trainer = Trainer(config, corpus, pretrained=layers)
    started = trainer.model.state_dict()
    assert set(layers.weights) == {name for name in started if not name.startswith("head")}
    for name, value in layers.weights.items():
        np.testing.assert_array_equal(started[name].numpy(), value)
    assert not np.allclose(*np.split(layers.weights["embedding.weight"], 2, axis=1)), (
        "the directions have vectors of their own"
    )
    first = next(trainer.evaluations())
    assert first.metrics["train/loss"] < 0.75
    # The layers are shared by all trials of a process.
    np.testing.assert_array_equal(layers.weights["recurrent.bias_hh_l0"], started_copy(layers))
    with pytest.raises(ValueError, match="pretraining=lm"):
        Trainer(config, corpus)
    with pytest.raises(ValueError, match="pretraining=none"):
        Trainer(config_of(), corpus, pretrained=layers)


def started_copy(layers: object) -> np.ndarray:
    corpus, config = corpus_of(), lm_config(bidirectional=True, cell="gru")
    again = load_pretrained({text_key(config.text): corpus}, [config])[pretraining_key(config)]
    return again.weights["recurrent.bias_hh_l0"]


def test_one_direction_serves_classifiers_of_one_and_of_both() -> None:
    corpus = corpus_of()
    one = lm_config(bidirectional=False, embedding_dim=3)
    both = lm_config(bidirectional=True, embedding_dim=6)
    tasks = [LanguageModelTask(each, corpus, FORWARD) for each in (one, both)]
    assert tasks[0].fingerprint == tasks[1].fingerprint
    assert pretraining_key(one) != pretraining_key(both)
    said: list[str] = []
    loaded = load_pretrained({text_key(one.text): corpus}, [one, both, config_of()], said.append)
    assert len(loaded) == 2
    assert said == ["pretraining language models on 300 texts: lstm-1×8 forward, lstm-1×8 backward"]
    of_both = loaded[pretraining_key(both)].weights
    np.testing.assert_array_equal(
        loaded[pretraining_key(one)].weights["embedding.weight"],
        of_both["embedding.weight"][:, :3],
    )
    again: list[str] = []
    load_pretrained({text_key(one.text): corpus}, [both], again.append)
    assert again == []


def test_what_names_a_language_model() -> None:
    corpus, other = corpus_of(), replace(corpus_of(), dataset_fingerprint="1" * 64)
    base = lm_config()
    tasks = [LanguageModelTask(base, corpus, FORWARD), LanguageModelTask(base, corpus, BACKWARD)]
    tasks.append(LanguageModelTask(base, other, FORWARD))
    for change in (
        {"hidden_dim": 9},
        {"layers": 2},
        {"cell": "gru"},
        {"embedding_dim": 8},
        {"pretraining_epochs": 0.3},
        {"vocabulary_size": 5},
        {"max_length": 7},
        {"lowercase": False},
    ):
        tasks.append(LanguageModelTask(base.replace(**change), corpus, FORWARD))
    names = {task.fingerprint for task in tasks}
    assert len(names) == len(tasks)
    for change in ({"dropout": 0.3}, {"seed": 5}, {"pooling": "mean"}, {"learning_rate": 0.1}):
        same = LanguageModelTask(base.replace(**change), corpus, FORWARD)
        assert same.fingerprint in names
        assert pretraining_key(base.replace(**change)) == pretraining_key(base)


def test_the_texts_are_those_of_train_and_unsup() -> None:
    corpus = corpus_of()
    unlabelled = replace(split_of(40, 9), labels=np.empty(0, np.int64))
    more = replace(corpus, splits={**corpus.splits, "unsup": unlabelled})
    texts = unlabelled_texts(more)
    assert len(texts) == 340
    assert len(texts.labels) == 340
    last = unlabelled.tokens[unlabelled.offsets[-2] :]
    np.testing.assert_array_equal(texts.tokens[texts.offsets[-2] :], last)
    np.testing.assert_array_equal(unlabelled_texts(corpus).tokens, corpus.splits["train"].tokens)
    assert len(SPECIALS) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding": "glove"}, "set embedding=word2vec, fasttext or random, not glove"),
        ({"embedding_dim": 7}, "half of embedding_dim, which 7 has not"),
    ],
)
def test_settings_that_exclude_one_another(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lm_config(**{"bidirectional": True, **settings})
