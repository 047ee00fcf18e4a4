"""Settings that are tried first: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentiment.errors import InputError
from sentiment.recipes.recipe import load_recipe
from sweeps.space.space import SearchSpace

SPACE: dict[str, Any] = {
    "cell": {"choice": ["gru", "lstm"]},
    "learning_rate": {"float": [1e-4, 1e-2], "log": True},
    "optimizer": {"choice": ["adam", "sgd"]},
    "momentum": {"float": [0.0, 0.9], "when": {"optimizer": "sgd"}},
    "pooling": "max",
}
GOOD = {"cell": "gru", "learning_rate": 4e-3, "pooling": "max"}


def space(**more: Any) -> SearchSpace:
    return SearchSpace.from_mapping({**SPACE, **more})


def test_a_space_file_names_what_is_tried_first() -> None:
    found = space(enqueue=[GOOD, {"optimizer": "sgd", "momentum": 0.5}])
    # What the space fixes need not be asked for.
    assert found.enqueued == (
        {"cell": "gru", "learning_rate": 4e-3},
        {"optimizer": "sgd", "momentum": 0.5},
    )
    assert space(enqueue=GOOD).enqueued == found.enqueued[:1]
    assert space().enqueued == ()


def test_it_changes_nothing_in_what_the_space_is() -> None:
    assert space(enqueue=[GOOD]) == space()
    assert space(enqueue=[GOOD]).fingerprint == space().fingerprint


def test_it_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(space(enqueue=[GOOD]).to_yaml())
    assert SearchSpace.load(path).enqueued == space(enqueue=[GOOD]).enqueued


def test_of_a_base_what_still_fits_is_left() -> None:
    shipped = SearchSpace.load("cpu").enqueued
    assert len(shipped) == 1
    narrowed = SearchSpace.from_mapping({"base": "cpu", "cell": {"choice": ["rnn", "lstm"]}})
    assert narrowed.enqueued == ({n: v for n, v in shipped[0].items() if n != "cell"},)
    assert SearchSpace.from_mapping({"base": "cpu", "enqueue": None}).enqueued == ()
    own = SearchSpace.from_mapping({"base": "cpu", "enqueue": [{"cell": "rnn"}]})
    assert own.enqueued == ({"cell": "rnn"},)
    fixed = SearchSpace.load("cpu").fix({"cell": "lstm", "dropout": 0.1})
    assert fixed.enqueued == (
        {n: v for n, v in shipped[0].items() if n not in ("cell", "dropout")},
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"cell": "rnn"}], "enqueue: cell=rnn is outside the space; change it, or widen"),
        ([{"learning_rate": 0.5}], "learning_rate=0.5 is outside the space"),
        ([{"pooling": "last"}], "pooling=last, but the space has pooling=max in all trials"),
        ([{"layers": 2}], "layers=2, but the space has layers=1 in all trials"),
        ([{"sell": "gru"}], "unknown hyperparameter 'sell'"),
        ([{"learning_rate": "fast"}], "enqueue: learning_rate: "),
        ("gru", "enqueue: give a list of settings, such as"),
        ([3], "enqueue: give a list of settings, such as"),
    ],
)
def test_what_lies_outside_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        space(enqueue=given)
    assert message in str(refused.value)


def test_files_and_recipes_come_before_the_space_s_own(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("- {cell: lstm}\n- {cell: gru, optimizer: sgd}\n")
    found = space(enqueue=[GOOD]).enqueue([str(path)])
    assert [each["cell"] for each in found.enqueued] == ["lstm", "gru", "gru"]
    with pytest.raises(InputError, match=r"^--enqueue nowhere\.yaml: .+ YAML file or a recipe"):
        space().enqueue([str(tmp_path / "nowhere.yaml").replace(f"{tmp_path}/", "")])
    path.write_text("cell: rnn\n")
    with pytest.raises(InputError, match=r"good\.yaml: cell=rnn is outside the space"):
        space().enqueue([str(path)])


def test_a_recipe_gives_what_is_searched() -> None:
    recipe = load_recipe("basic-lstm")
    first = SearchSpace.load("cpu").enqueue(["basic-lstm"]).enqueued[0]
    assert first["cell"] == "lstm"
    assert {name: recipe.settings[name] for name in first} == first
    assert "vocabulary_size" not in first
    with pytest.raises(InputError, match=r"^--enqueue small-rnn: hidden_dim=16 is outside"):
        SearchSpace.load("cpu").enqueue(["small-rnn"])
