"""`python -m benchmarks.few_labels`: what texts without labels are worth, by the number of labels.

One LSTM under several seeds on shares of a data set's labels, the other texts without theirs: from
random vectors, which know the labelled texts alone; from word vectors of all texts; from a language
model of all texts; and naive-Bayes logistic regression of the labelled ones. Test accuracy.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.model_parts import trained
from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.inference.evaluation import score_split
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import PreparedData, prepare
from sweeps.analysis.classical_comparison import NB_LOGISTIC
from sweeps.pipeline.classical import fit_nb_logistic

SETTINGS = {
    "cell": "lstm",
    "hidden_dim": 256,
    "bidirectional": False,
    "embedding_dim": 128,
    "pooling": "max",
    "dropout": 0.5,
    "learning_rate": 1e-3,
}
STARTS: dict[str, dict[str, Any]] = {
    "labelled texts alone": {"embedding": "random"},
    "word vectors of all texts": {"embedding": "word2vec"},
    "language model of all texts": {"embedding": "word2vec", "pretraining": "lm"},
}
FEWEST_EXAMPLES, FEWEST_EPOCHS, FEWEST_STEPS = 5_000, 2, 300
"""A training has at least so many: few labels are passed over more often, in smaller batches."""


def main(argv: list[str] | None = None) -> None:
    """Train, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.few_labels", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each training")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.01, 0.1, 1.0], help="of train's labels"
    )
    cli.add_set_argument(parser)
    cli.add_data_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object in the end")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    base, data = {**SETTINGS, **parse_assignments(args.set)}, cli.data_config(args)
    found: dict[str, dict[int, list[float]]] = {}
    for share in args.shares:
        kept = data.model_copy(update={"label_share": share if share < 1 else None})
        configs = {name: Config.from_flat({**base, **start}) for name, start in STARTS.items()}
        prepared = prepare(kept, list(configs.values()), progress=print)
        labels = len(prepared.dataset.splits["train"])
        classical = fit_nb_logistic(prepared.dataset, configs[next(iter(configs))].text, 0)
        found.setdefault(NB_LOGISTIC, {})[labels] = [classical.test.accuracy]
        for name, config in configs.items():
            accuracies = [
                _accuracy(prepared, _by_labels(config, labels).replace(seed=seed))
                for seed in range(args.seeds)
            ]
            found.setdefault(name, {})[labels] = accuracies
            print(f"{labels:,} labels, {name}: {_cell(accuracies)}", flush=True)
    table = _table(found)
    print(table)
    if args.write:
        tables.replace(Path(args.write), "few labels", table)
    if args.json:
        print(json.dumps({"settings": base, "test": found}))


def _by_labels(config: Config, labels: int) -> Config:
    epochs = max(FEWEST_EPOCHS, FEWEST_EXAMPLES / labels)
    size = min(32, max(8, round(epochs * labels / FEWEST_STEPS)))
    return config.replace(epochs=epochs, batch_size=size, evaluations_per_epoch=4 / epochs)


def _accuracy(prepared: PreparedData, config: Config) -> float:
    """Train, and return the test accuracy of the best checkpoint."""
    return score_split(trained(prepared, config).best, prepared.dataset, "test").accuracy


def _table(found: Mapping[str, Mapping[int, list[float]]]) -> str:
    counts = sorted({labels for each in found.values() for labels in each})
    header = ["start", *(f"{labels:,} labels" for labels in counts)]
    rows = [[name, *(_cell(each[labels]) for labels in counts)] for name, each in found.items()]
    return tables.markdown(header, rows)


def _cell(accuracies: list[float]) -> str:
    mean = f"{statistics.mean(accuracies):.4f}"
    return f"{mean} ± {statistics.stdev(accuracies):.4f}" if len(accuracies) > 1 else mean


if __name__ == "__main__":
    cli.run(main)
