"""`python -m sentiment.evaluate`: metrics of a saved model on a split."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import cli

if TYPE_CHECKING:
    import numpy as np

    from sentiment.evaluation.predictions_file import Prediction
    from sentiment.evaluation.scored_texts import ScoredTexts


def main(argv: list[str] | None = None) -> None:
    """Score a model in float32, as promotion and serving do."""
    parser = cli.Parser(
        prog="python -m sentiment.evaluate",
        description="Score a saved model on a split of the data that it was trained on, or of "
        "the data that is named.",
        common=(
            "--model",
            "--split",
            "--dataset",
            "--data",
            "--text-column",
            "--label-column",
            "--output",
            "--json",
        ),
        examples=(
            "python -m sentiment.evaluate",
            "python -m sentiment.evaluate --model models:/sentiment/1 --split valid",
            "python -m sentiment.evaluate --data reviews.csv --output predictions.csv",
        ),
    )
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--split",
        choices=["train", "valid", "test", "all"],
        help="split (default: test; all of a file that the model was not trained on)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write each text's prediction there: .csv, .jsonl or .parquet",
    )
    cli.add_data_arguments(parser)
    parser.set_defaults(dataset=None)  # the model's own
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)

    from sentiment.evaluation.predictions_file import check_output, write_predictions
    from sentiment.evaluation.report import lines, plain
    from sentiment.evaluation.scored_texts import select_texts
    from sentiment.inference.ensemble import load_model
    from sentiment.inference.metrics import score
    from sentiment.io.processes import available_cores
    from sentiment.nn.devices import configure_threads
    from sentiment.tracking.model_uri import find_model

    named = cli.named_data(args)
    if args.output is not None:
        check_output(args.output)
    model = find_model(args.model, args.tracking_uri)
    bundle = load_model(model.folder)
    cli.warn_of_padding(bundle.config)
    scored = select_texts(model, bundle, named, args.split)
    if args.output is not None:
        for source in scored.sources:
            check_output(args.output, source)
    configure_threads(available_cores())
    predicted = bundle.log_probabilities(scored.texts, available_cores())
    scores = score(predicted, scored.labels, occurring_only=not scored.own)
    if args.output is not None:
        write_predictions(args.output, predictions(scored, predicted, bundle.label_names))
        print(f"predictions: {args.output}", file=sys.stderr)
    trained_on = bundle.metadata.get("dataset")
    if args.json:
        print(json.dumps(plain(scored, scores, bundle.label_names, trained_on)))
        return
    for line in lines(scored, scores, bundle.label_names, trained_on):
        print(line)


def predictions(
    scored: ScoredTexts, log_probabilities: np.ndarray, label_names: tuple[str, ...]
) -> list[Prediction]:
    """Return a model's prediction of each text, from its float32 log probabilities (n, C)."""
    from sentiment.evaluation.predictions_file import Prediction

    best = log_probabilities.argmax(axis=1).tolist()
    return [
        Prediction(text, label_names[label], label_names[index], math.exp(row[index]))
        for text, label, index, row in zip(
            scored.texts, scored.labels.tolist(), best, log_probabilities, strict=True
        )
    ]


if __name__ == "__main__":
    cli.run(main)
