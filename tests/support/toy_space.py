"""A small space with every kind of dimension, for the tests of the search and its samplers."""

from sweeps.space.space import SearchSpace

TOY = SearchSpace.from_mapping(
    {
        "cell": {"choice": ["gru", "lstm"]},
        "dropout": {"float": [0.0, 0.6]},
        "hidden_dim": {"int": [32, 256], "step": 32},
        "learning_rate": {"float": [1e-4, 1e-2], "log": True},
        "optimizer": {"choice": ["sgd", "adam"]},
        "momentum": {"float": [0.0, 0.9], "when": {"optimizer": "sgd"}},
        "pooling": "max",
    }
)
