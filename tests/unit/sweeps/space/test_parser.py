"""Space files: what is read from them, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.errors import InputError
from sweeps.space.dimensions import Choice, Condition, FloatRange, IntRange
from sweeps.space.parser import SHIPPED
from sweeps.space.space import SearchSpace


@pytest.fixture
def space_file(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "space.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_file_is_read_entry_by_entry(space_file):
    space = SearchSpace.load(
        space_file(
            """
            cell: {choice: [gru, lstm]}
            hidden_dim: {int: [32, 256], step: 32}
            layers: {int: [1, 4], log: true}
            learning_rate: {float: [1e-4, 1E-2], log: true}
            momentum: {float: [0, .95], when: {optimizer: sgd}}
            optimizer: {choice: [adam, sgd]}
            weight_decay: 1e-5
            bidirectional: true
            """
        )
    )
    assert space.name == "space"
    assert space.fixed == {"weight_decay": 1e-5, "bidirectional": True}
    assert space.dimensions == {
        "cell": Choice(("gru", "lstm")),
        "hidden_dim": IntRange(32, 256, step=32),
        "layers": IntRange(1, 4, log=True),
        "learning_rate": FloatRange(1e-4, 1e-2, log=True),
        "optimizer": Choice(("adam", "sgd")),
        "momentum": FloatRange(0.0, 0.95, when=(Condition("optimizer", ("sgd",)),)),
    }
    assert list(space.dimensions)[-2:] == ["optimizer", "momentum"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_comment_beside_each_shipped_entry_says_why(name):
    path = Path(__file__).parents[4] / "sweeps" / "space" / f"{name}.yaml"
    entries = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(entries) > 5
    assert [line for line in entries if " # " not in line] == []


def test_a_base_is_overridden_by_name():
    cpu = SearchSpace.load("cpu")
    space = SearchSpace.from_mapping(
        {"base": "cpu", "cell": "gru", "layers": None, "schedule": {"choice": ["cosine"]}}
    )
    assert space.fixed == {
        name: value for name, value in cpu.fixed.items() if name != "schedule"
    } | {"cell": "gru"}
    assert set(space.dimensions) == set(cpu.dimensions) - {"cell", "layers"} | {"schedule"}


@pytest.mark.parametrize(
    ("optimizer", "when"),
    [
        ("sgd", ()),
        ("adam", None),
        ({"choice": ["sgd", "rmsprop"]}, (Condition("optimizer", ("sgd", "rmsprop")),)),
        ({"choice": ["sgd", "adam"]}, (Condition("optimizer", ("sgd",)),)),
        ({"choice": ["adam", "adamw"]}, None),
        (None, None),  # the default is adam
    ],
)
def test_a_condition_of_the_base_follows_its_parent(optimizer, when):
    space = SearchSpace.from_mapping({"base": "cpu", "optimizer": optimizer})
    momentum = space.dimensions.get("momentum")
    assert (momentum and momentum.when) == when


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a space"),
        ("- cell", "not a space"),
        ("cel: {choice: [gru]}", "unknown hyperparameter 'cel': did you mean cell?"),
        ("1: 2", "unknown hyperparameter '1'"),
        ("epochs: {int: [1, 3]}", "epochs: all trials share it; give it with --max-epochs"),
        ("seed: 3", "--seed"),
        ("cell: {choice: []}", "cell: the choice is empty"),
        ("cell: {choice: gru}", "cell: choice is a list"),
        ("cell: {choice: [gru, gru]}", "cell: 'gru' stands twice"),
        ("dropout: {choice: [0, 0.0]}", "dropout: 0.0 stands twice"),
        ("cell: {choice: [gru, cnn]}", "cell: 'cnn': input should be 'rnn', 'gru' or 'lstm'"),
        ("cell: cnn", "cell: 'cnn': input should be"),
        ("cell: [gru, lstm]", "cell: ['gru', 'lstm'] is not a plain value"),
        ("cell: {choice: [[gru]]}", "is not a plain value"),
        ("cell: {int: [1, 2]}", "cell: int does not fit this setting: write choice"),
        ("cell: {choice: [gru], int: [1, 2]}", "cell: write one of choice, int and float, not 2"),
        ("cell: {when: {optimizer: sgd}}", "not 0 of them"),
        ("cell: {choices: [gru]}", "not 0 of them"),
        ("hidden_dim: {int: [1, 9], steps: 2}", "hidden_dim: unknown key beside int 'steps': did"),
        ("dropout: {float: [0, 0.5], step: 0.1}", "unknown key beside float 'step'"),
        ("hidden_dim: {int: [64, 32]}", "hidden_dim: the lower bound 64 is above the upper bound"),
        ("hidden_dim: {int: [64]}", "a range is [low, high]"),
        ("hidden_dim: {int: 64}", "a range is [low, high]"),
        ("hidden_dim: {int: [0, 64]}", "0: input should be greater than or equal to 1"),
        ("hidden_dim: {int: [1.5, 64]}", "1.5: input should be a valid integer"),
        ("hidden_dim: {int: [1, 10000000000000000]}", "less than or equal to 65536"),
        ("hidden_dim: {float: [1, 64]}", "hidden_dim: float does not fit this setting: write int"),
        ("dropout: {int: [0, 1]}", "dropout: int does not fit this setting: write float"),
        ("dropout: {float: [0, 1.5]}", "dropout: 1.5: input should be less than 1"),
        ("dropout: {float: [a, b]}", "dropout: 'a': input should be a valid number"),
        ("layer_dropout: {float: [null, 0.5]}", "the bounds of a range are numbers"),
        ("learning_rate: {float: [1e-4, .inf]}", "learning_rate: inf is not a finite number"),
        ("learning_rate: .nan", "nan is not a finite number"),
        ("learning_rate: 'inf'", "inf is not a finite number"),
        ("learning_rate: 1e999", "inf is not a finite number"),
        (
            "dropout: {float: [0, 0.5], log: true}",
            "dropout: a log range can't start at 0.0: start above 0",
        ),
        ("dropout: {float: [0, 0.5], log: 1}", "log is true or false"),
        ("hidden_dim: {int: [32, 64], log: true, step: 2}", "a log range has no step"),
        ("hidden_dim: {int: [32, 64], step: 0}", "step is an integer of at least 1"),
        ("hidden_dim: {int: [32, 64], step: true}", "step is an integer of at least 1"),
        ("hidden_dim: {int: [32, 250], step: 16}", "end at 240"),
        ("bidirectional: 1", "bidirectional: 1 does not fit this setting: write true or false"),
        ("schedule: no", "schedule: False does not fit this setting: put a word in quotes"),
        ("batch_size: null", "null drops an entry of the base, and there is no base"),
        ("base: cpu\nloss: null", "and the base has no such entry"),
        ("base: cpus", "unknown base 'cpus': did you mean cpu?"),
        ("base: {a: b}", "unknown base"),
        ("embedding_dim: {int: [50, 300]}", "each value needs a corpus or vectors of its own"),
        ("momentum: {float: [0, 0.9], when: sgd}", "momentum: when is {other: value}"),
        (
            "momentum: {float: [0, 0.9], when: {optimiser: sgd}}\noptimizer: {choice: [sgd]}",
            "momentum: when: unknown hyperparameter 'optimiser': did you mean optimizer?",
        ),
        (
            "momentum: {float: [0, 0.9], when: {optimizer: sgd}}",
            "momentum: when: optimizer is not searched",
        ),
        (
            "momentum: {float: [0, 0.9], when: {optimizer: sgd}}\noptimizer: sgd",
            "momentum: when: optimizer is not searched",
        ),
        (
            "momentum: {float: [0, 0.9], when: {layers: 1}}\nlayers: {int: [1, 3]}",
            "momentum: when: layers is a range",
        ),
        (
            "momentum: {float: [0, 0.9], when: {optimizer: sgd}}\noptimizer: {choice: [adam]}",
            "momentum: when: 'sgd' is none of the choices of optimizer: 'adam'",
        ),
        (
            "momentum: {float: [0, 0.9], when: {optimizer: []}}\noptimizer: {choice: [sgd]}",
            "momentum: when: optimizer is given no value",
        ),
        (
            "cell: {choice: [gru, lstm], when: {pooling: max}}\n"
            "pooling: {choice: [max, mean], when: {cell: gru}}",
            "the conditions of cell, pooling go in a circle",
        ),
        (
            "momentum: {float: [0, 0.9]}\noptimizer: {choice: [sgd, adam]}",
            "momentum is for sgd and rmsprop, not adam",
        ),
        ("momentum: 0.9\noptimizer: {choice: [sgd, adam]}", "make one depend on the other"),
        ("base: cpu\noptimizer: {choice: [adam]}\nmomentum: 0.9", "momentum is for"),
        ("cell: gru\npooling: max\ncell: lstm", "line 3: 'cell' stands twice"),
        ("cell: {choice: [gru], choice: [lstm]}", "line 1: 'choice' stands twice"),
        ("cell: {choice: [gru", "line 1: expected"),
        ("cell: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ("cell: \x00", "can't be read"),
        ("cell: 2020-13-45", "can't be read"),
        ("a: " + "[" * 5000, "can't be read"),
        (b"cell: \xff\xfe", "not UTF-8 at byte 6"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(space_file, text, says):
    path = space_file(text)
    with pytest.raises(InputError) as caught:
        SearchSpace.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert says in message
    assert "\n" not in message


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--space .*none.yaml: no such file.*cpu, gpu, pbt, semi"):
        SearchSpace.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a directory"):
        SearchSpace.load(tmp_path)


def test_an_inherited_condition_on_a_new_range_is_refused(monkeypatch, tmp_path):
    (tmp_path / "cpu.yaml").write_text(
        "hidden_dim: {choice: [32, 64]}\nlayers: {int: [1, 2], when: {hidden_dim: 32}}"
    )
    monkeypatch.setattr("sweeps.space.parser._SHIPPED_FOLDER", tmp_path)
    with pytest.raises(InputError, match="layers of the base depends on hidden_dim"):
        SearchSpace.from_mapping({"base": "cpu", "hidden_dim": {"int": [32, 64]}})


def test_a_byte_order_mark_is_no_key(space_file):
    assert SearchSpace.load(space_file(b"\xef\xbb\xbfcell: gru")).fixed == {"cell": "gru"}
