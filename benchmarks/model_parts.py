"""`python -m benchmarks.model_parts`: what the RNN, the n-grams and the refit bring to a model.

One good configuration under several seeds, and naive-Bayes logistic regression beside it; the test
accuracy, or macro F1, of each part of the model, of their blend, and of the refit on train and
validation. With `--beside` a second configuration and the ensemble of both that validation chooses.
With `--dataset imdb --group-column film` the films of the test split are new.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.inference.ensemble import combined
from sentiment.inference.evaluation import split_log_probabilities, split_parts
from sentiment.inference.metrics import Scores, score
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import PreparedData, prepare
from sentiment.training.refit import refit_config, refit_data
from sentiment.training.trainer import Trainer
from sweeps.analysis.classical_comparison import NB_LOGISTIC
from sweeps.analysis.ensemble_selection import select
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
BLEND, REFIT, ENSEMBLE, REFITS = "blend", "refit", "ensemble", "ensemble of refits"
OF_MODEL = ("RNN", BLEND, REFIT)
PARTS = (
    NB_LOGISTIC,
    "n-grams",
    *OF_MODEL,
    *(f"second {part}" for part in OF_MODEL),
    ENSEMBLE,
    REFITS,
)
METRICS = {"accuracy": "accuracy", "f1": "macro F1"}


class Tested(NamedTuple):
    """A part's scores on the test split, and which of its texts it gets right, bool (n,)."""

    scores: Scores
    hits: np.ndarray


class _Trained(NamedTuple):
    """Log probabilities (n, C) of a model: of its parts on test, and of the whole on validation."""

    test: dict[str, np.ndarray]
    valid: np.ndarray


def main(argv: list[str] | None = None) -> None:
    """Train, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.model_parts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the RNN")
    parser.add_argument(
        "--metric", choices=METRICS, default="accuracy", help="what of the test split is shown"
    )
    cli.add_set_argument(parser)
    parser.add_argument(
        "--beside",
        nargs="+",
        metavar="KEY=VALUE",
        help="train a second model too, with these settings and not those of --set",
    )
    cli.add_data_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object in the end")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    config = Config.from_flat({**SETTINGS, **parse_assignments(args.set)})
    configs = [config]
    if args.beside:
        configs.append(Config.from_flat({**SETTINGS, **parse_assignments(args.beside)}))
    prepared = prepare(cli.data_config(args), configs, progress=print)
    dataset = prepared.dataset
    labels = dataset.splits["test"].labels
    fitted = fit_nb_logistic(dataset, config.text, 0)
    tested = {NB_LOGISTIC: [Tested(fitted.test, fitted.hits)]}
    for seed in range(args.seeds):
        for name, predicted in _parts(prepared, configs, seed).items():
            found = Tested(score(predicted, labels), predicted.argmax(axis=1) == labels)
            tested.setdefault(name, []).append(found)
        shown = {name: f"{_values(found, args.metric)[-1]:.4f}" for name, found in tested.items()}
        print(f"seed {seed}: {shown}", flush=True)
    called = METRICS[args.metric]
    table = tables.markdown(
        ["part", f"test {called}, a seed each", "mean", "standard deviation", "p against it"],
        [_row(name, tested[name], args.metric, fitted.hits) for name in PARTS if name in tested],
    )
    print(table)
    if args.write:
        tables.replace(Path(args.write), f"model parts {dataset.name}", table)
    if args.json:
        result: dict[str, Any] = {
            name: _values(found, args.metric) for name, found in tested.items()
        }
        print(json.dumps({"dataset": dataset.name, "settings": config.flat(), "test": result}))


def _parts(prepared: PreparedData, configs: list[Config], seed: int) -> dict[str, np.ndarray]:
    """Return log probabilities of the test split, by the part of the model or models."""
    models = [_train(prepared, config.replace(seed=seed)) for config in configs]
    parts = dict(models[0].test)
    if len(models) > 1:
        parts |= {f"second {name}": models[1].test[name] for name in OF_MODEL}
        labels = prepared.dataset.splits["valid"].labels
        counts = select([each.valid for each in models], labels, len(models))
        weights = [count / sum(counts) for count in counts]
        for name, of_each in ((ENSEMBLE, BLEND), (REFITS, REFIT)):
            parts[name] = combined([each.test[of_each] for each in models], weights)
        print(f"seed {seed}: weights {', '.join(f'{each:.2f}' for each in weights)}", flush=True)
    return parts


def _train(prepared: PreparedData, config: Config) -> _Trained:
    dataset = prepared.dataset
    trainer = trained(prepared, config)
    bundle = trainer.best
    found = split_parts(bundle, dataset, "test")
    valid = split_log_probabilities(bundle, dataset, "valid")
    again = refit_config(config, trainer.best_examples, trainer.train_texts.size)
    refit = trained(refit_data(prepared, [(again, bundle.metadata)]), again).best
    found[REFIT] = split_log_probabilities(refit, dataset, "test")
    return _Trained(found, valid)


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


def _values(tested: list[Tested], metric: str) -> list[float]:
    return [float(getattr(each.scores, metric)) for each in tested]


def _row(name: str, tested: list[Tested], metric: str, classical: np.ndarray) -> list[str]:
    values = _values(tested, metric)
    differ = len(set(values)) > 1
    shown = len(values) if differ else 1
    each = ", ".join(f"{value:.4f}" for value in values[:shown])
    spread = f"{statistics.stdev(values):.4f}" if differ else ""
    # McNemar's test is of texts that are right or wrong, which macro F1 is not a mean of.
    compared = metric == "accuracy" and name != NB_LOGISTIC
    p_values = [mcnemar(one.hits, classical) for one in tested[:shown]] if compared else []
    of_each = ", ".join(p_value_text(p) for p in p_values)
    return [name, each, f"{statistics.mean(values):.4f}", spread, of_each]


if __name__ == "__main__":
    cli.run(main)
