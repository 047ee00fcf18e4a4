"""`python -m sentiment.evaluate`: metrics of a saved model on a split."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from sentiment.bundle import Bundle
    from sentiment.datasets import Dataset
    from sentiment.metrics import Scores


def main(argv: list[str] | None = None) -> None:
    """Score a model in float32, as promotion and serving do."""
    parser = cli.Parser(
        prog="python -m sentiment.evaluate",
        description="Score a saved model on a split of a data set.",
        common=(
            "--model",
            "--split",
            "--dataset",
            "--data",
            "--text-column",
            "--label-column",
            "--json",
        ),
        examples=(
            "python -m sentiment.evaluate",
            "python -m sentiment.evaluate --model models:/sentiment/1 --split valid",
            "python -m sentiment.evaluate --data reviews.csv --json",
        ),
    )
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--split", default="test", choices=["train", "valid", "test"], help="split to score"
    )
    cli.add_data_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)

    from sentiment.bundle import Bundle
    from sentiment.datasets import load_dataset
    from sentiment.devices import configure_threads
    from sentiment.model_store import resolve_model
    from sentiment.processes import available_cores

    bundle = Bundle.load(resolve_model(args.model, args.tracking_uri))
    cli.warn_of_padding(bundle.config)
    dataset = load_dataset(cli.data_config(args))
    configure_threads(available_cores())
    scores = score_split(bundle, dataset, args.split)
    if args.json:
        metrics: dict[str, object] = dict(scores.metrics(args.split))
        print(
            json.dumps({**metrics, "count": scores.count, "confusion": scores.confusion.tolist()})
        )
        return
    print(f"{dataset.name} {args.split}, {scores.count:,} texts")
    for name, value in scores.metrics(args.split).items():
        print(f"  {name:<16} {value:.4f}")
    if dataset.fingerprint != bundle.metadata.get("dataset_fingerprint"):
        print(f"  (trained on other data: {bundle.metadata.get('dataset')})")
    print_confusion(bundle.label_names, scores.confusion)


def score_split(bundle: Bundle, dataset: Dataset, split: str) -> Scores:
    """Score a saved model on the raw texts of a split, in float32.

    Raises:
        InputError: the data has labels that the model does not know.
    """
    from sentiment.metrics import score
    from sentiment.processes import available_cores

    predicted = split_log_probabilities(bundle, dataset, split, available_cores())
    return score(predicted, dataset.splits[split].labels)


def split_log_probabilities(
    bundle: Bundle, dataset: Dataset, split: str, workers: int = 1
) -> np.ndarray:
    """Return a saved model's float32 log probabilities (n, C) of a split's n raw texts.

    Args:
        bundle: the model.
        dataset: the data set.
        split: the split's name.
        workers: processes that share many texts.

    Raises:
        InputError: the data has labels that the model does not know.
    """
    if dataset.label_names != bundle.label_names:
        raise InputError(
            f"the model tells {', '.join(bundle.label_names)} apart, {dataset.name} has the labels "
            f"{', '.join(dataset.label_names)}: give the data that the model is for"
        )
    return bundle.log_probabilities(dataset.splits[split].texts, workers)


def print_confusion(names: tuple[str, ...], confusion: np.ndarray) -> None:
    """Print the confusion matrix: a row a label, a column a prediction."""
    width = max(8, *(len(name) for name in names))
    print("  label \\ predicted " + " ".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, confusion.tolist(), strict=True):
        print(f"  {name:>17} " + " ".join(f"{count:>{width},}" for count in row))


if __name__ == "__main__":
    cli.run(main)
