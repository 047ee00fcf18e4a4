"""`python -m sentiment.train`: train one model, recorded like a trial of a sweep."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.config import Config, describe, parse_assignments
from sentiment.errors import InputError
from sentiment.recipes.recipe import Recipe, load_recipe, whole_recipes
from sentiment.wording import counted

if TYPE_CHECKING:
    from sentiment.data.datasets import DataConfig, Dataset
    from sentiment.embeddings.sources import WordVectors
    from sentiment.inference.bundle import Bundle
    from sentiment.pretraining.pretrained import PretrainedLayers
    from sentiment.tracking.runs import RunRecord
    from sentiment.training.trainer import Trainer


def main(argv: list[str] | None = None) -> None:
    """Train, print a line an evaluation, and record the run."""
    args = _parser().parse_args(argv)
    if args.list_recipes:
        for recipe in whole_recipes():
            print(f"{recipe.name:<16} {recipe.description}")
        return
    if args.threads < 1:
        raise InputError(f"--threads {args.threads}: give 1 or more")
    recipe = load_recipe(args.recipe) if args.recipe else Recipe("", "", {})
    config = Config.from_flat({**recipe.settings, **parse_assignments(args.set)})
    data = cli.data_config(args)
    if recipe.validation_share and data.validation_share is None:
        data = data.model_copy(update={"validation_share": recipe.validation_share})
    run_id = _train_recorded(config, data, args)
    flags = f" --model {run_id}{cli.store_flag(args.tracking_uri)}"
    print(f"next: {cli.predict_command(flags, data)}")


def _parser() -> cli.Parser:
    parser = cli.Parser(
        prog="python -m sentiment.train",
        description="Train one model, recorded in MLflow like a trial of a sweep.",
        common=(
            "--recipe",
            "--list-recipes",
            "--set",
            "--dataset",
            "--data",
            "--text-column",
            "--label-column",
            "--test",
            "--device",
            "--threads",
            "--name",
        ),
        examples=(
            "python -m sentiment.train --recipe bilstm-1 --test",
            "python -m sentiment.train --dataset rotten-tomatoes --set cell=gru epochs=2",
            "python -m sentiment.train --data reviews.csv --name mine",
        ),
    )
    parser.add_argument("--recipe", metavar="NAME", help="start from the settings of a recipe")
    parser.add_argument(
        "--list-recipes",
        action="store_true",
        help="print the names of the recipes, and what each is",
    )
    cli.add_set_argument(parser)
    cli.add_data_arguments(parser)
    parser.add_argument("--test", action="store_true", help="score the test split at the end")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, metavar="N", default=1, help="number of CPU threads")
    parser.add_argument("--name", help="name of the run (default: what the model is)")
    cli.add_store_arguments(parser)
    return parser


def _train_recorded(config: Config, data: DataConfig, args: argparse.Namespace) -> str:
    """Train a model, and record the run.

    Args:
        config: hyperparameters.
        data: where the texts come from.
        args: the flags.

    Returns:
        The id of the run.

    Raises:
        InputError: the store, the data or the device can't be had.
    """
    from sentiment.data.diagnosis import TRAIN, tokenization_warning
    from sentiment.embeddings.sources import coverage
    from sentiment.inference.evaluation import score_split
    from sentiment.nn.devices import pick_device
    from sentiment.tracking.dataset_input import dataset_input
    from sentiment.tracking.runs import RunRecord, run_parameters
    from sentiment.tracking.store import check_writable, find_store, open_store, tracking_uri
    from sentiment.training.prepared_data import prepare
    from sentiment.training.trainer import Trainer

    # A store that can't take the run is known before the work.
    uri = tracking_uri(args.tracking_uri)
    check_writable(uri)
    find_store(uri)
    device = pick_device(args.device)
    prepared = prepare(data, [config], progress=print)
    corpus, vectors = prepared.for_config(config)
    unsplit = tokenization_warning(corpus, config.text, TRAIN)
    if unsplit is not None:
        print(f"warning: {unsplit}", file=sys.stderr)
    branch = prepared.ngrams_for(config)
    start = prepared.pretrained_for(config)
    trainer = Trainer(config, corpus, vectors, device, args.threads, branch, start)
    dataset = prepared.dataset
    share = coverage(vectors, trainer.vocabulary.size)
    _print_model(trainer, dataset, vectors, share, start)
    client, experiment_id = open_store(uri, args.experiment)
    record = RunRecord.start(
        client,
        experiment_id,
        args.name or args.recipe or describe(config),
        parameters=run_parameters(config, dataset.name, dataset.fingerprint),
        precision=trainer.precision,
        inputs=[dataset_input(dataset, data)],
        tags={"recipe": args.recipe} if args.recipe else None,
    )
    with record:
        if vectors is not None:
            record.log({"embedding/coverage": share}, 0)
        bundle, warnings = train(trainer, record, unsplit is not None)
        if args.test:
            scores = score_split(bundle, dataset, "test")
            record.log(scores.metrics("test"), trainer.best_examples)
            print(
                f"test: loss {scores.loss:.4f}, accuracy {scores.accuracy:.4f}, f1 {scores.f1:.4f} "
                f"({counted(scores.count, 'text')})"
            )
    for warning in [unsplit, *warnings] if unsplit else warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return record.run_id


def _print_model(
    trainer: Trainer,
    dataset: Dataset,
    vectors: WordVectors | None,
    coverage: float,
    pretrained: PretrainedLayers | None,
) -> None:
    """Print what is trained.

    Args:
        trainer: trains the model.
        dataset: the data set.
        vectors: the word vectors, if there are any.
        coverage: share of the vocabulary that has one.
        pretrained: the layers that training starts from, if there are any.
    """
    from sentiment.data.summary import brief

    print(brief(dataset))
    print(
        f"{trainer.parameter_counts()['parameters/trainable']:,} trainable parameters, "
        f"{trainer.precision} on {trainer.device}; commonest words: "
        f"{' '.join(trainer.vocabulary.itos[:10])}"
    )
    if vectors is not None:
        print(f"embedding: {vectors.source}, {vectors.dim}d, for {coverage:.1%} of the vocabulary")
    if pretrained is not None:
        for direction, history in pretrained.histories.items():
            tokens, reached = int(history[-1]["tokens"]), history[-1].get("perplexity")
            measured = "" if reached is None else f", perplexity {reached:.0f} on validation"
            print(f"language model, {direction}: {tokens:,} tokens seen{measured}")


def train(trainer: Trainer, record: RunRecord, unsplit: bool) -> tuple[Bundle, list[str]]:
    """Train to the end, with a line and a record of each evaluation.

    Args:
        trainer: trains the model.
        record: of the run.
        unsplit: whether the texts were not split into words, which was reported before.

    Returns:
        The best model, and what is likely to be wrong with it.
    """
    from sentiment.data.diagnosis import TRAIN, answer_warnings

    started = since = time.perf_counter()
    record.log(trainer.parameter_counts(), 0)
    for evaluation in trainer.evaluations():
        now = time.perf_counter()
        metrics = evaluation.metrics
        record.log(metrics, evaluation.examples)
        print(
            f"epoch {metrics['epoch']:5.2f}  {now - since:6.1f} s  "
            f"train loss {metrics['train/loss']:.3f} accuracy {metrics['train/accuracy']:.4f}  "
            f"valid loss {metrics['valid/loss']:.3f} accuracy {metrics['valid/accuracy']:.4f}"
            f"{'  best' if evaluation.improved else ''}",
            flush=True,
        )
        since = time.perf_counter()
        if evaluation.improved and evaluation.confusion is not None:
            confusion = evaluation.confusion
    best = {f"best/{name}": value for name, value in trainer.best_metrics.items()}
    best["best/examples"] = trainer.best_examples
    record.log({"seconds/total": time.perf_counter() - started}, trainer.examples)
    bundle = trainer.best
    with tempfile.TemporaryDirectory() as scratch:
        folder = bundle.save(Path(scratch, "model"))
        record.log_model(folder, "model", best, trainer.best_examples)
    training = trainer.config.training
    return bundle, answer_warnings(
        confusion,
        bundle.label_names,
        model="the model",
        objective=training.objective,
        class_weights=training.class_weights,
        options=TRAIN,
        unsplit=unsplit,
    )


if __name__ == "__main__":
    cli.run(main)
