"""`python -m benchmarks.precision`: does bfloat16 cost accuracy?

One good configuration, trained with several seeds in float32 and in bfloat16 on `imdb-25k`; test
accuracy of each one's best checkpoint, scored in float32 as everything that counts is.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.inference.evaluation import score_split
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer

SETTINGS = {
    "cell": "lstm",
    "hidden_dim": 64,
    "bidirectional": True,
    "embedding": "word2vec",
    "pooling": "max",
    "dropout": 0.3,
    "max_length": 256,
    "truncation": "head_tail",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "schedule": "one_cycle",
    "epochs": 2,
    "evaluations_per_epoch": 2,
}


def main(argv: list[str] | None = None) -> None:
    """Train, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each precision")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    prepared = prepare(DataConfig(), [Config.from_flat(SETTINGS)], progress=print)
    rows = []
    for precision in ("float32", "bfloat16"):
        accuracies = []
        for seed in range(args.seeds):
            config = Config.from_flat({**SETTINGS, "seed": seed, "precision": precision})
            corpus, vectors = prepared.for_config(config)
            trainer = Trainer(config, corpus, vectors)
            for _ in trainer.evaluations():
                pass
            accuracies.append(score_split(trainer.best, prepared.dataset, "test").accuracy)
            print(f"{precision} seed {seed}: {accuracies[-1]:.4f}", flush=True)
        each = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
        rows.append([precision, each, f"{mean:.4f}", f"{spread:.4f}"])
    header = ["precision", "test accuracy, a seed each", "mean", "standard deviation"]
    table = tables.markdown(header, rows)
    print(table)
    if args.write:
        tables.replace(Path(args.write), "precision", table)


if __name__ == "__main__":
    cli.run(main)
