"""What a sweep checks before anything is written."""

from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sweeps.pipeline.checks import recipes_for


def test_recipes_that_need_two_classes_are_left_out():
    two = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    three = Dataset("stars", ("1", "2", "3"), two.splits, two.fingerprint)
    assert len(recipes_for(two)) == 12
    names = {recipe.name for recipe in recipes_for(three)}
    assert names == {"basic-rnn", "basic-gru", "basic-lstm", "stacked-rnn"}
