"""Settings: one flat name each, checked, with a fingerprint."""

import pytest

from sentiment.config import SECTION_OF, Config, describe, fingerprint, parse_assignments
from sentiment.errors import InputError


def test_flat_and_back():
    config = Config.from_flat({"cell": "gru", "max_length": 100, "optimizer": "sgd"})
    assert Config.from_flat(config.flat()) == config
    assert config.flat().keys() == SECTION_OF.keys()
    assert (config.model.cell, config.text.max_length) == ("gru", 100)


def test_the_fingerprint_depends_on_every_setting():
    first = Config()
    prints = {first.fingerprint}
    for change in ({"seed": 1}, {"cell": "rnn"}, {"tokenizer": "basic"}, {"dropout": 0.41}):
        prints.add(first.replace(**change).fingerprint)
    assert len(prints) == 5
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cel": "gru"}, "unknown hyperparameter 'cel': did you mean cell"),
        ({"cell": "qrnn"}, "cell=qrnn: input should be 'rnn', 'gru' or 'lstm'"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"layers": 5}, "layers=5"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum is for sgd and rmsprop"),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        Config.from_flat(values)


def test_assignments():
    read = parse_assignments(["cell=gru", "learning_rate=1e-3", "bidirectional=false", "seed=7"])
    assert read == {"cell": "gru", "learning_rate": 0.001, "bidirectional": False, "seed": 7}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("cell", "--set cell: write it as key=value, such as dropout=0.3"),
        ("=3", "key=value"),
        ("wings=2", "--set wings=2: unknown hyperparameter 'wings'"),
        ("Hiden_dim=2", "did you mean hidden_dim"),
        ("cell=[", "can't be read"),
        ("layers=two", "--set layers=two: input should be a valid integer"),
    ],
)
def test_wrong_assignments_are_named(assignment, message):
    with pytest.raises(InputError, match=message):
        parse_assignments([assignment])


def test_a_pretrained_model_is_named_by_its_pretraining() -> None:
    config = Config.from_flat({"pretraining": "lm", "embedding": "word2vec", "hidden_dim": 64})
    assert describe(config) == "bilstm-1×64 lm adam"
    assert describe(config.replace(pretraining="none")) == "bilstm-1×64 word2vec adam"
