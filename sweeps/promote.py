"""`python -m sweeps.promote`: the quality gate, and the move of the alias `champion`."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from sentiment.bundle import Bundle
    from sentiment.datasets import DataConfig, Split
    from sweeps.gate import Verdict
    from sweeps.registry import Candidate


def main(argv: list[str] | None = None) -> int:
    """Judge a registered model and, if it passes, make it the champion; 1 if it is refused."""
    parser = cli.Parser(
        prog="python -m sweeps.promote",
        description="Score a registered model anew on its test split and, unless it differs from "
        "its record or is worse than the champion, make it the champion. On a terminal it asks "
        "first; elsewhere, and with --yes, it goes on. Exit status 1: refused.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sweep", metavar="S", help="the winner of that sweep")
    which.add_argument("--run", metavar="ID", help="the model of that run")
    which.add_argument(
        "--version", type=int, metavar="N", help="that version (default: the alias challenger)"
    )
    which.add_argument(
        "--rollback", action="store_true", help="undo the last move; again: the one before it"
    )
    parser.add_argument(
        "--min-gain", type=float, default=0.0, metavar="X", help="least gain in test accuracy"
    )
    parser.add_argument(
        "--significant", action="store_true", help="refuse a gain that may be chance (p >= 0.05)"
    )
    parser.add_argument("--dry-run", action="store_true", help="tell, but move nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--model-name", default="sentiment", metavar="NAME", help="the model")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )
    cli.add_data_arguments(parser)
    parser.set_defaults(dataset=None)  # the candidate's own
    args = parser.parse_args(argv)
    if not math.isfinite(args.min_gain):
        raise InputError(f"--min-gain {args.min_gain}: give a finite number, such as 0.005")

    from sentiment.record import read_store, tracking_uri

    client = read_store(tracking_uri(args.tracking_uri))
    if args.rollback:
        return _roll_back(client, args)
    return _promote(client, args)


def _promote(client: MlflowClient, args: argparse.Namespace) -> int:
    from sentiment.datasets import load_dataset
    from sentiment.model_store import CHAMPION, MODEL_NAME, model_of_version, version_of_alias
    from sweeps import registry

    name = args.model_name
    candidate = registry.find_candidate(
        client, name, sweep=args.sweep, run_id=args.run, version=args.version
    )
    champion = version_of_alias(client, name, CHAMPION)
    if champion is not None and model_of_version(champion) == candidate.model_id:
        print(f"{candidate.title} of {name} is the champion already")
        return 0
    dataset = load_dataset(_data_config(candidate, args))
    trained_for = candidate.tags["dataset_fingerprint"]
    if dataset.fingerprint != trained_for:
        print(
            f"refused: {dataset.name} is other data here (fingerprint {dataset.fingerprint[:12]}) "
            f"than {candidate.title} was trained for ({trained_for[:12]})",
            file=sys.stderr,
        )
        return 1
    verdict = judge_models(
        client,
        candidate,
        champion,
        dataset.splits["test"],
        min_gain=args.min_gain,
        significant=args.significant,
    )
    print(f"{dataset.name}, test split, {verdict.candidate.count:,} texts, float32")
    print(table(candidate, champion, verdict))
    if verdict.refusals:
        for reason in verdict.refusals:
            print(f"refused: {reason}", file=sys.stderr)
        return 1
    if not _agreed(args, f"make {candidate.title} the champion of {name}"):
        return 0
    version = candidate.version
    if version is None:
        registered = registry.register(
            client,
            name,
            model_id=candidate.model_id,
            run_id=candidate.run_id,
            tags=candidate.tags,
            description=f"Model of the run {candidate.run_id}, named by hand.",
            alias=None,
        )
        version = int(registered.version)
    before = int(champion.version) if champion else None
    registry.promote(client, name, version, before, verdict.figures())
    print(f"version {version} of {name} is the champion")
    model = "" if name == MODEL_NAME else f" --model {shlex.quote(f'models:/{name}@{CHAMPION}')}"
    print(
        f"next: python -m sentiment.predict{model}{cli.store_flag(args.tracking_uri)} "
        '"This film is great"'
    )
    return 0


def judge_models(
    client: MlflowClient,
    candidate: Candidate,
    champion: ModelVersion | None,
    split: Split,
    *,
    min_gain: float,
    significant: bool,
) -> Verdict:
    """Load a candidate and the champion, and judge the one by the other.

    Args:
        client: client of the store.
        candidate: the model that would become champion.
        champion: the present champion's version; None if there is none.
        split: the test split of the candidate's data.
        min_gain: least gain in accuracy over the champion.
        significant: refuse a gain that may well be chance.

    Raises:
        InputError: a model can't be loaded, or the two tell different labels apart.
    """
    from sentiment.devices import configure_threads
    from sentiment.model_store import model_of_version
    from sentiment.processes import available_cores
    from sweeps.gate import judge

    configure_threads(available_cores())
    model = _load(client, candidate.model_id, candidate.title)
    present = None
    if champion is not None:
        title = f"the champion (version {champion.version})"
        present = _load(client, model_of_version(champion), title)
        if present.label_names != model.label_names:
            raise InputError(
                f"the champion tells {', '.join(present.label_names)} apart, {candidate.title} "
                f"{', '.join(model.label_names)}: keep them under two names by --model-name"
            )
    return judge(
        model,
        present,
        split,
        recorded=candidate.recorded,
        min_gain=min_gain,
        significant=significant,
    )


def _load(client: MlflowClient, model_id: str, title: str) -> Bundle:
    from mlflow.exceptions import MlflowException

    from sentiment.bundle import Bundle
    from sentiment.model_store import fetch_bundle

    try:
        return Bundle.load(fetch_bundle(client, model_id))
    except MlflowException as error:
        raise InputError(
            f"the model of {title} can't be had: {str(error.message).splitlines()[0]}"
        ) from error


def table(candidate: Candidate, champion: ModelVersion | None, verdict: Verdict) -> str:
    """Return the figures that decide, a line a metric."""
    columns = {"recorded": candidate.recorded, candidate.title: verdict.candidate.metrics("test")}
    if champion is not None and verdict.champion is not None:
        columns[f"champion ({champion.version})"] = verdict.champion.metrics("test")
    lines = [f"{'':<14}" + "".join(f"{title[:14]:>16}" for title in columns)]
    for metric in verdict.candidate.metrics("test"):
        cells = [f"{c[metric]:.4f}" if metric in c else "-" for c in columns.values()]
        lines.append(f"{metric:<14}" + "".join(f"{cell:>16}" for cell in cells))
    if verdict.gain is not None:
        lines.append(f"gain in accuracy {verdict.gain:+.4f}, p = {verdict.p_value:.3f} (McNemar)")
    return "\n".join(lines)


def _roll_back(client: MlflowClient, args: argparse.Namespace) -> int:
    from sweeps import registry

    before, after = registry.rollback_step(client, args.model_name)
    print(f"champion of {args.model_name}: version {before} -> version {after}")
    if _agreed(args, f"make version {after} the champion again"):
        registry.rollback(client, args.model_name)
        print(f"version {after} of {args.model_name} is the champion")
    return 0


def _data_config(candidate: Candidate, args: argparse.Namespace) -> DataConfig:
    """Return where the candidate's data is: as the flags say, or as it was when it was trained."""
    from sentiment.datasets import DATASETS, DataConfig
    from sweeps.registry import DATA_TAG

    if args.dataset is None and args.data is None:
        if DATA_TAG in candidate.tags:
            trained_on = json.loads(candidate.tags[DATA_TAG])
            given = {name: getattr(args, name) for name in DataConfig.model_fields}
            defaults = {name: field.default for name, field in DataConfig.model_fields.items()}
            changed = {n: v for n, v in given.items() if v is not None and v != defaults[n]}
            return cli.checked_data_config({**trained_on, **changed})
        trained_for = candidate.tags["dataset"]
        if trained_for not in DATASETS:
            raise InputError(
                f"{candidate.title} was trained for a file of your own, {trained_for}: give it "
                "again by --data, with the same options"
            )
        args.dataset = trained_for
    elif args.dataset is None:
        args.dataset = DATASETS[0]
    return cli.data_config(args)


def _agreed(args: argparse.Namespace, what: str) -> bool:
    if args.dry_run:
        print(f"would {what} (--dry-run)")
        return False
    if args.yes or not sys.stdin.isatty():
        return True
    return input(f"{what}? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    cli.run(main)
