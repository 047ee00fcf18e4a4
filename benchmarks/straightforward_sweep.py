"""`python -m benchmarks.straightforward_sweep`: a sweep as one writes it by hand today.

Ray Tune with its stock MLflow callback and its Optuna search. Each trial is a function with the
tutorials' loop and a preparation of its own: it reads the reviews, tokenizes them through
torchtext's Field, builds the vocabulary, loads GloVe, trains over a BucketIterator and validates
after each epoch. `benchmarks.sweep` runs it against ours.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import ray
import spacy
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from torch import nn
from torchtext import data, vocab

from benchmarks.stock_tune import Clock, optuna_search, outcome, shared_settings
from benchmarks.tutorial_loop import TutorialModel, step
from sentiment import cli

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}


def main(argv: list[str] | None = None) -> None:
    """Run the sweep, and write what came of it as JSON."""
    parser = cli.Parser(
        prog="python -m benchmarks.straightforward_sweep",
        description="Run a sweep of given configurations by stock means; see benchmarks.sweep.",
    )
    parser.add_argument("plan", type=Path, help="JSON, written by benchmarks.sweep")
    parser.add_argument("result", type=Path, help="JSON to write")
    args = parser.parse_args(argv)
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    args.result.write_text(json.dumps(sweep(plan, args.result.parent)), encoding="utf-8")


def sweep(plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train the plan's configurations, and return when they were and how well they did."""
    configs = plan["configurations"]
    shared = shared_settings(configs)
    clock = Clock()
    ray.init(address="local", num_cpus=plan["workers"], include_dashboard=False)
    try:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    train, shared=shared, reviews=plan["reviews"], vectors=plan["vectors"]
                ),
                {"cpu": 1},
            ),
            tune_config=tune.TuneConfig(
                search_alg=optuna_search(configs),
                num_samples=len(configs),
                max_concurrent_trials=plan["workers"],
            ),
            run_config=tune.RunConfig(
                name="straightforward",
                storage_path=str(folder.absolute() / "ray"),
                callbacks=[
                    MLflowLoggerCallback(
                        tracking_uri=f"sqlite:///{folder.absolute()}/mlflow.db",
                        experiment_name="straightforward",
                    ),
                    clock,
                ],
            ),
        ).fit()
    finally:
        ray.shutdown()
    return outcome(results, clock, configs)


def train(config: dict[str, Any], shared: dict[str, Any], reviews: str, vectors: str) -> None:
    """Train one model, and report it after each epoch.

    Args:
        config: what the search suggests.
        shared: settings that all trials have in common.
        reviews: CSV with the columns text, label and split.
        vectors: folder of torchtext's cache of vectors.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(shared["seed"])
    tokenizer = spacy.blank("en").tokenizer
    longest = shared["max_length"] or None
    text = data.Field(
        tokenize=lambda line: [token.text for token in tokenizer(line)],
        lower=shared["lowercase"],
        preprocessing=lambda tokens: tokens[:longest],
        include_lengths=True,
    )
    label = data.LabelField(dtype=torch.float, use_vocab=False)
    fields = [("text", text), ("label", label)]
    splits: dict[str, list[data.Example]] = {"train": [], "valid": [], "test": []}
    csv.field_size_limit(sys.maxsize)
    with Path(reviews).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] != "test":
                example = data.Example.fromlist([row["text"], int(row["label"])], fields)
                splits[row["split"]].append(example)
    training, validation = (data.Dataset(splits[name], fields) for name in ("train", "valid"))
    text.build_vocab(
        training,
        max_size=shared["vocabulary_size"],
        vectors=vocab.GloVe("6B", 50, cache=vectors),
        unk_init=torch.Tensor.normal_,
    )
    train_batches, valid_batches = data.BucketIterator.splits(
        (training, validation),
        batch_size=shared["batch_size"],
        sort_within_batch=True,
        sort_key=lambda example: len(example.text),
        device=torch.device("cpu"),
    )
    padding = text.vocab.stoi[text.pad_token]
    model = TutorialModel(
        len(text.vocab),
        50,
        config["cell"],
        config["hidden_dim"],
        config["layers"],
        config["bidirectional"],
        config["dropout"],
        padding,
    )
    model.embedding.weight.data.copy_(text.vocab.vectors)
    model.embedding.weight.data[[text.vocab.stoi[text.unk_token], padding]] = 0
    optimizer = OPTIMIZERS[config["optimizer"]](model.parameters(), lr=config["learning_rate"])
    for _ in range(round(shared["epochs"])):
        model.train()
        losses = []
        for batch in train_batches:
            ids, lengths = batch.text
            losses.append(step(model, optimizer, ids, lengths, batch.label))
        accuracy, loss = _validate(model, valid_batches)
        tune.report(
            {
                "train_loss": sum(losses) / len(losses),
                "valid_accuracy": accuracy,
                "valid_loss": loss,
                "train_reviews": len(training),
            }
        )


def _validate(model: TutorialModel, batches: data.BucketIterator) -> tuple[float, float]:
    """Return accuracy and loss."""
    model.eval()
    right = loss = count = 0.0
    with torch.no_grad():
        for batch in batches:
            logits = model(*batch.text)
            loss += float(
                nn.functional.binary_cross_entropy_with_logits(logits, batch.label, reduction="sum")
            )
            right += float(((logits > 0) == (batch.label > 0.5)).sum())
            count += len(batch)
    return right / count, loss / count


if __name__ == "__main__":
    cli.run(main)
