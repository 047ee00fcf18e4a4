"""`python -m sweeps.launch`: the main job, a sweep that ends with its best model registered."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

from sentiment import cli
from sentiment.config import likeliest, parse_assignments
from sentiment.errors import InputError
from sentiment.tracking.http import check_reachable, is_server
from sentiment.tracking.provenance import redacted
from sweeps.config import PLACES, SAMPLERS, SCHEDULERS, SweepSettings

if TYPE_CHECKING:
    from sweeps.pipeline.resume import ResumedSweep

TRIALS = 50
COMMON = (
    "--trials",
    "--data",
    "--dataset",
    "--text-column",
    "--label-column",
    "--set",
    "--max-epochs",
    "--time-budget",
    "--concurrency",
    "--name",
    "--resume",
    "--dry-run",
)
"""Flags of --help."""
LOG_WIDTH = 120
"""Columns of tables in a log, which has no width of its own."""
RESUMABLE = (
    "resume",
    "trials",
    "time_budget",
    "address",
    "storage",
    "study_storage",
    "as_challenger",
    "tracking_uri",
    "experiment",
    "dry_run",
    "quiet",
    "json",
)
"""Flags that go with --resume; all else is as the sweep was started."""


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run the sweep, or print its plan."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.dry_run and args.json:
        raise InputError("--dry-run --json: the plan is for reading; leave out one of the two")
    settings = _settings(args)
    store = args.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if is_server(store):
        check_reachable(store)  # before the imports, which take seconds

    from mlflow.exceptions import MlflowException
    from rich.console import Console

    from sweeps.errors import SweepError
    from sweeps.execution.ray_cluster import joined_ray
    from sweeps.pipeline.resume import CompleteError
    from sweeps.pipeline.sweep import Sweep
    from sweeps.tracking.outbox import RecordError

    resumed = None
    if args.resume is not None:
        _only_for_resume(parser, args)
        try:
            resumed = _resumed(args)
        except CompleteError as complete:
            if args.as_challenger and complete.finished and not args.dry_run:
                return make_challenger(complete.settings, args.json)
            if not complete.delivered:
                raise
            print("the store has the whole record now; no trial was left to do", file=sys.stderr)
            return 0
        except RecordError as error:
            return _failed(error)
        asked = resumed.settings.as_challenger or args.as_challenger
        settings = replace(resumed.settings, as_challenger=asked)
    # The result of --json goes to standard output alone, all else to standard error.
    console = Console(stderr=args.json, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    try:
        with nullcontext() if settings.address is None else joined_ray(settings.address):
            sweep = Sweep(settings, console, args.quiet, resumed)
            if args.dry_run:
                sweep.print_plan()
                return 0
            result = sweep.run()
    except (RecordError, SweepError, MlflowException) as error:
        return _failed(error)
    if args.json:
        print(json.dumps(result.summary()))
    return 0 if result.winner is not None else 1


def _failed(error: Exception) -> int:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    print(f"error: {redacted(line)}", file=sys.stderr)
    return 1


def make_challenger(settings: SweepSettings, as_json: bool) -> int:
    """Make the winner of a sweep that has nothing left to do the challenger."""
    from sentiment.tracking.runs import read_store, tracking_uri
    from sweeps.registry import versions
    from sweeps.registry.challenger import move_challenger

    client, name = read_store(tracking_uri(settings.tracking_uri)), settings.model_name
    number = versions.find_candidate(client, name, sweep=settings.name).version
    version = client.get_model_version(name, str(number))
    state = move_challenger(client, name, version, settings.objective, forced=True)
    told = f"no trial was left to do; version {number} of {name}{state.sentence()}"
    print(told, file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps({"sweep": settings.name, "challenger": state.plain()}))
    return 0


def _resumed(args: argparse.Namespace) -> ResumedSweep:
    from sentiment.tracking.runs import read_store, tracking_uri
    from sweeps.pipeline.resume import load_sweep
    from sweeps.pipeline.sweep import STATE_FOLDER

    return load_sweep(
        read_store(tracking_uri(args.tracking_uri)),
        args.experiment,
        args.tracking_uri,
        STATE_FOLDER,
        args.resume or None,
        args.trials,
        _seconds("time-budget", args.time_budget),
        {name: getattr(args, name) for name in ("address", *PLACES)},
    )


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m sweeps.launch",
        description="Search the settings of a text classifier and register the best in MLflow.",
        common=COMMON,
        examples=(
            "python -m sweeps.launch --dataset rotten-tomatoes --trials 8 --max-epochs 1",
            "python -m sweeps.launch --data reviews.csv --set cell=gru --time-budget 30m",
            "python -m sweeps.launch --resume",
        ),
    )
    _add_search_arguments(parser)
    cli.add_data_arguments(parser)
    _add_machine_arguments(parser)
    cli.add_store_arguments(parser)
    _add_record_arguments(parser)
    flags = vars(parser.parse_args([]))
    parser.set_defaults(
        **{
            each.name: each.default
            for each in fields(SweepSettings)
            # The environment may name another experiment than the settings' own default.
            if each.name in flags and each.name != "experiment" and each.default is not MISSING
        }
    )
    return parser


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search")
    search.add_argument(
        "--trials", type=int, metavar="N", help="number of trials to run (default: 50)"
    )
    search.add_argument(
        "--space", metavar="FILE", help="search space: cpu, gpu or a YAML file (default: by device)"
    )
    search.add_argument(
        "--max-epochs", type=float, metavar="X", help="longest training of a trial, in epochs"
    )
    search.add_argument(
        "--objective",
        metavar="METRIC",
        help="metric that chooses the best model: " + ", ".join(SweepSettings.OBJECTIVES),
    )
    search.add_argument("--sampler", metavar="NAME", help="Optuna sampler: " + ", ".join(SAMPLERS))
    search.add_argument(
        "--scheduler",
        metavar="NAME",
        help="asha stops the weaker trials early, fifo stops none",
    )
    search.add_argument("--seed", type=int, metavar="N", help="seed of the search and the trials")
    search.add_argument(
        "--time-budget",
        metavar="TIME",
        help="start no trial after 90 (seconds), 30m or 2h",
    )
    search.add_argument(
        "--retries", type=int, metavar="N", help="further attempts for a trial that fails"
    )
    search.add_argument(
        "--trial-timeout",
        metavar="TIME",
        help="end a trial's process that reports nothing for 90 (seconds), 30m or 2h (default: 20 "
        "times its longest evaluation, at least 10m)",
    )
    search.add_argument(
        "--warm-start", metavar="SWEEP", help="begin with what the trials of that sweep found"
    )
    search.add_argument(
        "--baselines",
        action="store_true",
        help="train the tutorials' recipes and TF-IDF with logistic regression too",
    )
    search.add_argument(
        "--final-seeds",
        type=int,
        metavar="N",
        help="train the winning settings again with N other seeds",
    )
    search.add_argument(
        "--language", metavar="CODE", help="language of the spacy tokenizer (default: en)"
    )
    cli.add_set_argument(search)


def _add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="trials that run at once (default: all that fit)",
    )
    machine.add_argument(
        "--cpus-per-trial",
        type=int,
        metavar="N",
        help="CPU threads of a trial (default: 1; on GPUs an equal share of the cores)",
    )
    machine.add_argument(
        "--gpus-per-trial",
        type=float,
        metavar="X",
        help="GPUs of a trial, or a fraction of one GPU; 0 trains on the CPU (default: 0.25 where "
        "there is a GPU)",
    )
    machine.add_argument(
        "--address",
        help="Ray cluster to join: auto, or HOST:PORT (default: start Ray on this machine)",
    )
    machine.add_argument(
        "--storage",
        metavar="PLACE",
        help="where checkpoints of running trials are kept: a folder that all nodes share, s3://… "
        "or gs://… (default: the sweep's folder)",
    )
    machine.add_argument(
        "--precision",
        metavar="TYPE",
        help="number format of the recurrent layers: " + ", ".join(SweepSettings.PRECISIONS),
    )


def _add_record_arguments(parser: argparse.ArgumentParser) -> None:
    record = parser.add_argument_group("sweep")
    record.add_argument("--name", help="name of the sweep (default: data set, date and time)")
    record.add_argument(
        "--model-name",
        metavar="NAME",
        help="registered model that the best one becomes a version of",
    )
    record.add_argument(
        "--as-challenger",
        action="store_true",
        help="make the winner the challenger, better on validation or not",
    )
    record.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="NAME",
        help="resume that sweep, or the newest",
    )
    record.add_argument(
        "--study-storage",
        metavar="URL",
        help="database of Optuna's study, postgresql://… (default: a file in the sweep's folder)",
    )
    record.add_argument(
        "--keep-models", type=int, metavar="N", help="number of trials whose models are kept"
    )
    record.add_argument(
        "--system-metrics", action="store_true", help="record the load of CPU, memory and GPU"
    )
    record.add_argument(
        "--dry-run", action="store_true", help="print the plan and the expected time, run nothing"
    )
    record.add_argument("--quiet", action="store_true", help="show no progress of the trials")
    record.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _settings(args: argparse.Namespace) -> SweepSettings:
    """Check what can be checked without data, devices or store.

    Raises:
        InputError: a flag's value is wrong.
    """
    if args.trials is not None and args.trials < 1:
        raise InputError(f"--trials {args.trials}: give 1 or more")
    for name in ("seed", "retries", "final_seeds", "keep_models"):
        if getattr(args, name) < 0:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} {getattr(args, name)}: give 0 or more")
    overrides: dict[str, Any] = parse_assignments(args.set)
    if args.language is not None:
        overrides["language"] = args.language
    return SweepSettings(
        trials=TRIALS if args.trials is None else args.trials,
        data=cli.data_config(args),
        space=args.space,
        overrides=overrides,
        max_epochs=args.max_epochs,
        objective=_one_of("objective", args.objective, SweepSettings.OBJECTIVES),
        sampler=_one_of("sampler", args.sampler, SAMPLERS),
        scheduler=_one_of("scheduler", args.scheduler, SCHEDULERS),
        precision=_one_of("precision", args.precision, SweepSettings.PRECISIONS),
        seed=args.seed,
        time_budget=_seconds("time-budget", args.time_budget),
        retries=args.retries,
        trial_timeout=_seconds("trial-timeout", args.trial_timeout),
        warm_start=args.warm_start,
        baselines=args.baselines,
        final_seeds=args.final_seeds,
        keep_models=args.keep_models,
        system_metrics=args.system_metrics,
        concurrency=args.concurrency,
        cpus_per_trial=args.cpus_per_trial,
        gpus_per_trial=args.gpus_per_trial,
        name=args.name,
        address=args.address,
        storage=args.storage,
        study_storage=args.study_storage,
        tracking_uri=args.tracking_uri,
        experiment=args.experiment,
        model_name=args.model_name,
        as_challenger=args.as_challenger,
    )


def _one_of(flag: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise InputError(f"--{flag} {value}: there is no such {flag}; {likeliest(value, known)}")
    return value


def _seconds(flag: str, text: str | None) -> float | None:
    """Read `90`, `90s`, `30m` or `2h` as seconds."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in "smh" and text else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"--{flag} {text}: give a time such as 90 (seconds), 30m or 2h")
    return seconds


def _only_for_resume(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Raise an InputError for a flag that a sweep that goes on can't change."""
    for name, value in vars(args).items():
        if name not in RESUMABLE and value != parser.get_default(name):
            flag = cli.as_typed(f"--{name.replace('_', '-')}", value)
            raise InputError(f"{flag}: a resumed sweep keeps its own; leave it out")


if __name__ == "__main__":
    cli.run(main)
