from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.config import Config
from sentiment.errors import InputError
from sweeps.space.dimensions import Choice, Condition, FloatRange, IntRange
from sweeps.space.hyperparameters import NOT_RANGES, OF_PRETRAINING
from sweeps.space.parser import SHIPPED
from sweeps.space.space import SearchSpace

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")


@pytest.fixture
def space_file(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "space.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture(autouse=True, scope="module")
def quiet_optuna():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggestions(space: SearchSpace, count: int = 60) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_shipped_spaces_span_what_is_promised(name):
    space = SearchSpace.load(name)
    assert space.name == name
    assert set(space.values("cell")) == {"rnn", "gru", "lstm"}
    assert set(space.values("bidirectional")) == {True, False}
    assert {"random", "glove", "word2vec", "fasttext"} == set(space.values("embedding"))
    assert set(space.values("optimizer")) == set(OPTIMIZERS)
    assert {32, 256} <= set(space.values("hidden_dim"))
    layers, dropout = space.dimensions["layers"], space.dimensions["dropout"]
    assert isinstance(layers, IntRange)
    assert layers.low == 1
    assert layers.high >= 3
    assert dropout == FloatRange(0.0, 0.6)
    assert space.dimensions["learning_rate"] == FloatRange(1e-4, 1e-2, log=True)
    assert space.dimensions["momentum"].when == (Condition("optimizer", ("sgd", "rmsprop")),)


def test_pretrained_layers_and_their_shapes():
    """All trials of the space `semi` that start from language models start from the same one."""
    space = SearchSpace.load("semi")
    assert space.pretrains
    found = space.combinations((*NOT_RANGES, *OF_PRETRAINING))
    assert [each["pretraining"] for each in found] == ["none", "lm"]
    assert {each["hidden_dim"] for each in found} == {512}
    assert not SearchSpace.load("cpu").pretrains
    conditional = SearchSpace.from_mapping(
        {
            "base": "cpu",
            "embedding": "word2vec",
            "pretraining": {"choice": ["none", "lm"], "when": {"cell": "gru", "hidden_dim": 64}},
        }
    )
    names = ("cell", "hidden_dim", "pretraining")
    pretrained = [each for each in conditional.combinations(names) if each["pretraining"] == "lm"]
    assert pretrained == [{"cell": "gru", "hidden_dim": 64, "pretraining": "lm"}]
    assert not conditional.fix({"cell": "rnn"}).pretrains
    with pytest.raises(InputError, match="pretraining=lm starts from vectors of embedding_dim"):
        SearchSpace.from_mapping({"base": "cpu", "pretraining": "lm"})


@pytest.mark.parametrize("name", SHIPPED)
def test_every_suggestion_is_a_configuration(name):
    for taken in suggestions(SearchSpace.load(name), 200):
        config = Config.from_flat(taken).flat()
        assert {key: config[key] for key in taken} == taken


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recorded_space_reads_as_the_same_space(name, space_file):
    space = SearchSpace.load(name).fix({"optimizer": "sgd", "pooling": "mean"})
    again = SearchSpace.load(space_file(space.to_yaml()))
    assert again == space
    assert again.fingerprint == space.fingerprint
    assert suggestions(again, 5) == suggestions(space, 5)


def test_conditional_entries_are_asked_for_only_where_they_are_active():
    space = SearchSpace.from_mapping(
        {
            "layer_dropout": {"float": [0.1, 0.5], "when": {"packing": "packed"}},
            "packing": {"choice": ["packed", "padded"], "when": {"cell": ["gru", "lstm"]}},
            "cell": {"choice": ["rnn", "gru", "lstm"]},
        }
    )
    assert list(space.dimensions) == ["cell", "packing", "layer_dropout"]
    seen = set()
    for taken in suggestions(space):
        packing = taken.get("packing")
        seen.add((taken["cell"], packing))
        assert (packing is not None) == (taken["cell"] != "rnn")
        assert ("layer_dropout" in taken) == (packing == "packed")
    assert len(seen) == 5


def test_two_conditions_must_both_hold():
    space = SearchSpace.from_mapping(
        {
            "cell": {"choice": ["gru", "lstm"]},
            "optimizer": {"choice": ["sgd", "adam"]},
            "momentum": {"float": [0, 0.9], "when": {"optimizer": "sgd", "cell": "gru"}},
        }
    )
    for taken in suggestions(space):
        both = taken["optimizer"] == "sgd" and taken["cell"] == "gru"
        assert ("momentum" in taken) == both


def test_fixing_decides_conditions():
    space = SearchSpace.load("cpu")
    assert "momentum" not in space.fix({"optimizer": "adam"}).dimensions
    assert space.fix({"optimizer": "sgd"}).dimensions["momentum"].when == ()
    partly = space.fix({"momentum": 0.9})
    assert partly.dimensions["momentum"] == Choice(
        (0.9,), (Condition("optimizer", ("sgd", "rmsprop")),)
    )
    both = space.fix({"momentum": 0.9, "optimizer": "sgd"})
    assert both.fixed["momentum"] == 0.9
    assert "momentum" not in both.dimensions
    assert partly.fix({"optimizer": "sgd"}).values("momentum") == [0.9]


def test_fixing_replaces_and_adds():
    space = SearchSpace.load("cpu").fix({"batch_size": "32", "packing": "padded", "dropout": 0})
    assert (space.fixed["batch_size"], space.fixed["packing"]) == (32, "padded")
    assert space.fixed["dropout"] == 0.0
    assert isinstance(space.fixed["dropout"], float)
    assert space.name == "cpu"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"momentum": 0.9, "optimizer": "adam"}, "momentum is for sgd and rmsprop"),
        ({"hiden_dim": 3}, "did you mean hidden_dim"),
        ({"epochs": 3}, "--max-epochs"),
        ({"seed": 3}, "--seed"),
        ({"dropout": 1.5}, "less than 1"),
        ({"cell": "cnn"}, "'rnn', 'gru' or 'lstm'"),
        ({"layers": True}, "does not fit"),
    ],
)
def test_fixing_refuses(values, says):
    with pytest.raises(InputError, match=r"^--set") as caught:
        SearchSpace.load("cpu").fix(values)
    assert says in str(caught.value)


def test_values_and_combinations():
    space = SearchSpace.from_mapping(
        {
            "embedding": {"choice": ["random", "glove", "word2vec"]},
            "embedding_dim": {"choice": [50, 300], "when": {"embedding": ["random", "word2vec"]}},
            "lowercase": {"choice": [True, False]},
            "hidden_dim": {"int": [32, 64]},
            "tokenizer": "basic",
        }
    )
    assert space.values("embedding") == ["random", "glove", "word2vec"]
    assert space.values("embedding_dim") == [50, 300, 100]
    assert space.values("tokenizer") == ["basic"]
    assert space.values("language") == ["en"]
    assert space.combinations(["embedding", "embedding_dim", "tokenizer"]) == [
        {"embedding": embedding, "embedding_dim": dim, "tokenizer": "basic"}
        for embedding, dim in [
            ("random", 50),
            ("random", 300),
            ("glove", 100),
            ("word2vec", 50),
            ("word2vec", 300),
        ]
    ]
    with pytest.raises(ValueError, match="hidden_dim"):
        space.values("hidden_dim")


def test_combinations_hold_all_that_trials_have():
    space = SearchSpace.load("gpu")
    names = ["embedding", "embedding_dim", "freeze_embedding"]
    possible = space.combinations(names)
    for taken in suggestions(space, 100):
        config = Config.from_flat(taken).flat()
        assert {name: config[name] for name in names} in possible


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_locate_finds_the_parameters_of_a_trial_again(data):
    space = SearchSpace.load(data.draw(st.sampled_from(SHIPPED)))
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=data.draw(st.integers(0, 99)))
    )
    trial = study.ask()
    recorded = Config.from_flat(space.suggest(trial)).flat()
    as_text = {name: str(value) for name, value in recorded.items()}
    assert space.locate(recorded) == trial.params
    assert space.locate(as_text | {"dataset": "imdb-25k", "seed": "7"}) == trial.params


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "cnn"},
        {"dropout": 0.7},
        {"layers": "4"},
        {"layers": "2.5"},
        {"batch_size": 32},
        {"embedding_dropout": "0.1"},
        {"learning_rate": "nan"},
    ],
)
def test_locate_leaves_out_what_lies_outside(change):
    space = SearchSpace.load("cpu")
    taken = Config.from_flat(suggestions(space, 1)[0]).flat()
    assert space.locate(taken) is not None
    assert space.locate({**taken, **change}) is None


def test_distributions():
    found = SearchSpace.load("gpu").distributions()
    assert found["layers"] == optuna.distributions.IntDistribution(1, 4)
    assert found["dropout"] == optuna.distributions.FloatDistribution(0.0, 0.6)
    assert found["optimizer"] == optuna.distributions.CategoricalDistribution(OPTIMIZERS)


texts = st.text(min_size=1, max_size=12).filter(
    lambda text: all(ord(each) >= 32 and each.isprintable() for each in text)
) | st.sampled_from(["1e3", "1e-3", "no", "null", "~", "1_0", "0x1", "2020-01-01", "- a", "a: b"])


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    optimizers = draw(st.lists(st.sampled_from(OPTIMIZERS), min_size=1, unique=True))
    with_momentum = [each for each in optimizers if each in ("sgd", "rmsprop")]
    low, high = sorted(draw(st.tuples(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3))))
    start, step, steps = draw(st.tuples(*[st.integers(1, 200)] * 3))
    mapping: dict[str, Any] = {
        "optimizer": {"choice": optimizers},
        "learning_rate": {"float": [low, high], "log": draw(st.booleans())},
        "hidden_dim": {"int": [start, start + step * steps], "step": step},
        "embedding": {"choice": draw(st.lists(texts, min_size=1, max_size=4, unique=True))},
        "layer_dropout": {"choice": [None, draw(st.floats(0, 1, exclude_max=True))]},
        "language": draw(texts),
    }
    if with_momentum:
        mapping["momentum"] = {
            "float": [0, draw(st.floats(0, 1, exclude_max=True))],
            "when": {"optimizer": with_momentum},
        }
    return SearchSpace.from_mapping(mapping)


@settings(max_examples=30, deadline=None)
@given(spaces())
def test_any_space_reads_as_it_was_written(tmp_path_factory, space):
    path = tmp_path_factory.mktemp("spaces") / "space.yaml"
    path.write_text(space.to_yaml(), encoding="utf-8")
    again = SearchSpace.load(path)
    assert again == space
    assert again.fingerprint == space.fingerprint
    assert "base" not in yaml.safe_load(space.to_yaml())


@settings(max_examples=30, deadline=None)
@given(spaces(), st.sampled_from(OPTIMIZERS))
def test_fixing_leaves_only_possible_trials(space, optimizer):
    fixed = space.fix({"optimizer": optimizer})
    assert fixed.values("optimizer") == [optimizer]
    assert all(not dimension.when for dimension in fixed.dimensions.values())
    for taken in suggestions(fixed, 3):
        assert Config.from_flat(taken).training.optimizer == optimizer
