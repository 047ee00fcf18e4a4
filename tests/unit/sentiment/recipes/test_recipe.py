"""The tutorials' systems: their sizes, and that each differs as it should."""

import pytest

from sentiment.errors import InputError
from sentiment.nn.classifier import Classifier
from sentiment.recipes.recipe import (
    baseline_recipes,
    load_recipe,
    recipe_names,
    whole_recipes,
)


@pytest.mark.parametrize(
    ("name", "words", "dim", "parameters"),
    [
        ("base-rnn", 25_002, 100, 2_592_105),
        ("upgraded-bilstm", 25_002, 100, 4_810_857),
        ("stacked-rnn", 25_002, 256, 6_401_899),
        # The reported 51,089 has one bias a gate; torch's second one adds 16 units.
        ("small-rnn", 1_000, 50, 51_089 + 16),
    ],
)
def test_sizes_are_the_reported_ones(name, words, dim, parameters):
    model = Classifier(load_recipe(name).config.model, words, dim, 2)
    assert model.parameter_counts()["total"] == parameters


def test_a_recipe_holds_only_what_differs():
    base, first = load_recipe("upgraded-bilstm"), load_recipe("lstm-1-dropout")
    changed = {n for n in first.settings if first.settings[n] != base.settings[n]}
    assert changed == {"layers", "bidirectional"}
    assert load_recipe("basic-gru").validation_share == 0.2
    assert load_recipe("basic-gru").config.model.cell == "gru"


def test_every_recipe_is_a_valid_and_different_configuration():
    recipes = whole_recipes()
    assert len({recipe.config.fingerprint for recipe in recipes}) == len(recipes) == 14
    tutorials = {recipe.name for recipe in baseline_recipes()}
    assert {recipe.name for recipe in recipes} - tutorials == {"lm-lstm", "vat-lstm"}
    assert all(recipe.description for recipe in recipes)
    assert {recipe.name for recipe in recipes} < set(recipe_names())


def test_an_unknown_recipe_is_named():
    with pytest.raises(InputError, match="did you mean lstm-1"):
        load_recipe("lstm1")


def test_a_description_needs_no_other_recipes():
    for name in recipe_names():
        description = load_recipe(name).description
        assert "the same" not in description, name
        assert any(cell in description for cell in ("RNN", "GRU", "LSTM")), name
