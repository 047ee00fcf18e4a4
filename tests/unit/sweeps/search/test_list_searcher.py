"""Searcher over a given list of configurations."""

from ray.tune.search import Searcher

from sentiment.config import Config
from sweeps.search.list_searcher import ListSearcher


def test_the_list_searcher_hands_out_each_configuration_once():
    configs = [Config(), Config.from_flat({"cell": "gru"})]
    search = ListSearcher(dict(enumerate(configs)))
    first, second = search.suggest("a"), search.suggest("b")
    assert (first["trial"], second["trial"]) == (0, 1)
    assert (first["cell"], second["cell"]) == ("lstm", "gru")
    assert search.suggest("c") == Searcher.FINISHED
