"""`python -m benchmarks.search_curves`: record learning curves, for `benchmarks.search` to replay.

Configurations of the space for the CPU, the first half drawn at random, the others suggested by
TPE after these, so that curves are dense where a search goes; each is trained to the full budget
under several seeds, one thread, and evaluated at every eighth of it and at its sixteenth. Lines of
JSON go to a file as trainings end; a second run adds what the file lacks. Times are seconds of CPU.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import create_trial

from benchmarks import recorded_curves
from benchmarks.recorded_curves import OBJECTIVE, Recorded, Training
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import Dataset
from sentiment.errors import InputError, TrainingError
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import PreparedData, prepare
from sentiment.training.trainer import Trainer
from sweeps.search.cost_model import TrialCost
from sweeps.search.samplers import make_sampler
from sweeps.space.space import SearchSpace

PARTS = 8
"""A training is evaluated so many times, and once before at half of the first part."""
QUANTILES = 200
"""Lengths that stand for those of all texts."""


def main(argv: list[str] | None = None) -> None:
    """Train what the file lacks."""
    parser = cli.Parser(prog="python -m benchmarks.search_curves", description=__doc__)
    parser.add_argument("--space", default="cpu", help="name or file of the search space")
    parser.add_argument("--configurations", type=int, default=300, help="how many")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each")
    parser.add_argument("--epochs", type=float, default=1.5, help="the full budget")
    parser.add_argument("--out", required=True, metavar="FILE", help="lines of JSON")
    cli.add_data_arguments(parser)
    args = parser.parse_args(argv)
    configure_threads(1)
    space = SearchSpace.load(args.space)
    prepared = prepare(cli.data_config(args), _configs(space, args.epochs), progress=print)
    out, described = Path(args.out), describe(prepared.dataset, args.space, args.epochs)
    trainings: list[Training] = []
    if out.exists():
        before, trainings = recorded_curves.read(out)
        if before != described:
            raise InputError(f"--out {out}: has other data, space or budget; name another file")
    else:
        recorded_curves.append(out, described)
    started = time.perf_counter()
    for number, seed, settings in _missing(space, prepared, trainings, args):
        config = Config.from_flat(_full(settings, args.epochs, seed))
        trained = _train(prepared, config, number, seed, settings)
        trainings.append(trained)
        recorded_curves.append(out, trained)
        spent = time.perf_counter() - started
        print(f"{number}, seed {seed}: {trained.best} after {spent:,.0f} s", flush=True)


def describe(dataset: Dataset, space: str, epochs: float) -> Recorded:
    """Return what trainings on a data set share."""
    texts = dataset.splits["train"].texts
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    lengths = np.quantile([len(text) for text in texts], shares)
    return Recorded(dataset.name, space, epochs, len(texts), tuple(map(int, lengths)))


def drawn_at_random(trainings: Sequence[Training]) -> list[Training]:
    """Return the trainings of the first half of the configurations, which no model suggested."""
    count = 1 + max(each.number for each in trainings)
    return [each for each in trainings if each.number < count // 2]


def _configs(space: SearchSpace, epochs: float) -> list[Config]:
    """Return settings that need all that trials of the space share."""
    sources = space.combinations(["embedding"])
    return [Config.from_flat(_full({**space.fixed, **each}, epochs, 0)) for each in sources]


def _full(settings: dict[str, Any], epochs: float, seed: int) -> dict[str, Any]:
    evaluations = {"evaluations_per_epoch": PARTS / epochs, "early_evaluations": 1}
    return {**settings, **evaluations, "epochs": epochs, "objective": OBJECTIVE, "seed": seed}


def _missing(
    space: SearchSpace, prepared: PreparedData, trainings: Sequence[Training], args: Any
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield number, seed and settings of each training that the file lacks, each seed in turn.

    What is recorded meanwhile is read, so that the suggestions follow from it.
    """
    cost = TrialCost(prepared.dataset.splits["train"].texts)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for seed in range(args.seeds):
        for number in range(args.configurations):
            known = {(each.number, each.seed): each for each in trainings}
            if (number, seed) in known:
                continue
            if (number, 0) in known:
                yield number, seed, dict(known[number, 0].settings)
                continue
            sampler = "random" if number < args.configurations // 2 else "tpe"
            study = optuna.create_study(
                sampler=make_sampler(sampler, space, seed=0, drawn=number, cost=cost),
                direction="maximize",
            )
            _add(study, space.distributions(), [each for each in trainings if each.seed == 0])
            if number == 0 and space.enqueued:
                study.enqueue_trial(space.enqueued[0])
            yield number, seed, space.suggest(study.ask())


def _add(
    study: Study, distributions: dict[str, BaseDistribution], trainings: Sequence[Training]
) -> None:
    for each in trainings:
        searched = {name: each.settings[name] for name in distributions if name in each.settings}
        study.add_trial(
            create_trial(
                params=searched,
                distributions={name: distributions[name] for name in searched},
                value=each.best,
            )
        )


def _train(
    prepared: PreparedData, config: Config, number: int, seed: int, settings: dict[str, Any]
) -> Training:
    """Train to the end, or to where the loss is no longer finite."""
    began = time.process_time()
    corpus, vectors = prepared.for_config(config)
    trainer = Trainer(config, corpus, vectors)
    start = time.process_time() - began
    curve: list[tuple[int, float, float]] = []
    try:
        for evaluation in trainer.evaluations():
            seconds = time.process_time() - began - start
            value = round(evaluation.metrics[OBJECTIVE], 5)
            curve.append((evaluation.examples, value, round(seconds, 3)))
    except TrainingError as error:
        print(error)
    return Training(
        number=number,
        seed=seed,
        settings=settings,
        curve=tuple(curve),
        start_seconds=round(start, 3),
        evaluation_seconds=round(_evaluation_seconds(trainer), 3),
        parameters=trainer.parameter_counts()["parameters/total"],
    )


def _evaluation_seconds(trainer: Trainer) -> float:
    valid = trainer.corpus.splits["valid"]
    assert trainer.valid_texts is not None
    began = time.process_time()
    with contextlib.suppress(TrainingError):
        trainer.evaluate(trainer.valid_texts, valid.labels)
    return time.process_time() - began


if __name__ == "__main__":
    cli.run(main)
