"""`python -m benchmarks.model_parts`: what the RNN, the n-grams and the refit bring to a model.

One good configuration under several seeds, and naive-Bayes logistic regression beside it; the test
accuracy of each part of the model, of their blend, and of the refit on train and validation.
With `--dataset imdb --group-column film` the films of the test split are new.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.inference.evaluation import split_log_probabilities, split_parts
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import PreparedData, prepare
from sentiment.training.refit import refit_config, refit_data
from sentiment.training.trainer import Trainer
from sweeps.analysis.classical_comparison import NB_LOGISTIC
from sweeps.analysis.significance import mcnemar, p_value_text
from sweeps.pipeline.classical import fit_nb_logistic

SETTINGS = {
    "cell": "gru",
    "hidden_dim": 64,
    "bidirectional": False,
    "embedding": "fasttext",
    "pooling": "last",
    "dropout": 0.2,
    "max_length": 400,
    "truncation": "head_tail",
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "epochs": 3,
    "ngrams": 3,
}
PARTS = (NB_LOGISTIC, "n-grams", "RNN", "blend", "refit")


def main(argv: list[str] | None = None) -> None:
    """Train, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.model_parts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the RNN")
    cli.add_set_argument(parser)
    cli.add_data_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object in the end")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    config = Config.from_flat({**SETTINGS, **parse_assignments(args.set)})
    prepared = prepare(cli.data_config(args), [config], progress=print)
    dataset = prepared.dataset
    labels = dataset.splits["test"].labels
    classical = fit_nb_logistic(dataset, config.text, 0).hits
    hits: dict[str, list[np.ndarray]] = {NB_LOGISTIC: [classical]}
    for seed in range(args.seeds):
        for name, predicted in _train(prepared, config.replace(seed=seed)).items():
            hits.setdefault(name, []).append(predicted.argmax(axis=1) == labels)
        shown = {name: f"{found[-1].mean():.4f}" for name, found in hits.items()}
        print(f"seed {seed}: {shown}", flush=True)
    table = tables.markdown(
        ["part", "test accuracy, a seed each", "mean", "standard deviation", "p against it"],
        [_row(name, hits[name], classical) for name in PARTS if name in hits],
    )
    print(table)
    if args.write:
        tables.replace(Path(args.write), f"model parts {dataset.name}", table)
    if args.json:
        result: dict[str, Any] = {
            name: [float(each.mean()) for each in found] for name, found in hits.items()
        }
        print(json.dumps({"dataset": dataset.name, "settings": config.flat(), "test": result}))


def _train(prepared: PreparedData, config: Config) -> dict[str, np.ndarray]:
    """Return log probabilities of the test split, by the part of the model."""
    dataset = prepared.dataset
    trainer = trained(prepared, config)
    bundle = trainer.best
    found = split_parts(bundle, dataset, "test")
    again = refit_config(config, trainer.best_examples, trainer.train_texts.size)
    refit = trained(refit_data(prepared, [(again, bundle.metadata)]), again).best
    found["refit"] = split_log_probabilities(refit, dataset, "test")
    return found


def trained(prepared: PreparedData, config: Config) -> Trainer:
    """Train a model of these settings to the end."""
    corpus, vectors = prepared.for_config(config)
    trainer = Trainer(
        config,
        corpus,
        vectors,
        ngrams=prepared.ngrams_for(config),
        pretrained=prepared.pretrained_for(config),
    )
    for _ in trainer.evaluations():
        pass
    return trainer


def _row(name: str, hits: list[np.ndarray], classical: np.ndarray) -> list[str]:
    accuracies = [float(each.mean()) for each in hits]
    spread = f"{statistics.stdev(accuracies):.4f}" if len(set(accuracies)) > 1 else ""
    tested = hits[:1] if len(set(accuracies)) == 1 else hits
    p_values = ", ".join(p_value_text(mcnemar(each, classical)) for each in tested)
    shown = accuracies[:1] if len(set(accuracies)) == 1 else accuracies
    each = ", ".join(f"{accuracy:.4f}" for accuracy in shown)
    mean = f"{statistics.mean(accuracies):.4f}"
    return [name, each, mean, spread, "" if name == NB_LOGISTIC else p_values]


if __name__ == "__main__":
    cli.run(main)
