"""`python -m sweeps.promote`: the quality gate, and the move of the alias `champion`."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from sentiment.datasets import DataConfig, Dataset, Split
    from sweeps.gate import Verdict
    from sweeps.registry import Candidate
    from sweeps.stranger import Answers


def main(argv: list[str] | None = None) -> int:
    """Judge a registered model and, if it passes, make it the champion; 1 if it is refused."""
    parser = cli.Parser(
        prog="python -m sweeps.promote",
        description="Score a registered model anew on its test split and, unless it differs from "
        "its record or is worse than the champion, make it the champion. On a terminal it asks "
        "first; elsewhere, and with --yes, it goes on. Exit status 1: refused.",
        common=(
            "--sweep",
            "--run",
            "--version",
            "--rollback",
            "--min-gain",
            "--significant",
            "--dry-run",
            "--yes",
        ),
        examples=(
            "python -m sweeps.promote --dry-run",
            "python -m sweeps.promote --sweep first --min-gain 0.005 --yes",
            "python -m sweeps.promote --rollback",
        ),
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
    from sentiment.model_store import CHAMPION, MODEL_NAME, model_of_version
    from sweeps import registry

    name = args.model_name
    candidate = registry.find_candidate(
        client, name, sweep=args.sweep, run_id=args.run, version=args.version
    )
    stood = registry.standing(client, name)
    champion = stood.champion
    if champion is not None and model_of_version(champion) == candidate.model_id:
        print(f"{candidate.title} of {name} is the champion already")
        return 0
    named_data = args.dataset is not None or args.data is not None
    dataset = load_dataset(_data_config(candidate, args))
    trained_for = candidate.tags["dataset_fingerprint"]
    if dataset.fingerprint != trained_for:
        return _refused(
            f"{dataset.name} is other data here (fingerprint {dataset.fingerprint[:12]}) "
            f"than {candidate.title} was trained for ({trained_for[:12]})"
        )
    try:
        verdict = judge_models(
            client,
            candidate,
            champion,
            dataset.splits["test"],
            min_gain=args.min_gain,
            significant=args.significant,
        )
    except CandidateError as error:
        return _refused(str(error))
    print(f"{dataset.name}, test split, {verdict.candidate.count:,} texts, float32")
    print(table(candidate, champion, verdict))
    refusals = [*verdict.refusals]
    if champion is not None and champion.tags.get("dataset_fingerprint") != trained_for:
        told = _other_data(champion, dataset)
        if named_data:
            print(f"note: {told}")
        else:
            refusals.append(f"{told}; if that is fair, name the data: {_data_flag(dataset)}")
    if refusals:
        return _refused(*refusals)
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
    try:
        registry.promote(client, name, version, stood, verdict.figures())
    except registry.ChampionMovedError as error:
        return _refused(str(error))
    print(f"version {version} of {name} is the champion")
    model = "" if name == MODEL_NAME else f" --model {shlex.quote(f'models:/{name}@{CHAMPION}')}"
    options = f"{model}{cli.store_flag(args.tracking_uri)}"
    print("next:")
    print(f'  python -m sentiment.predict{options} "This film is great"')
    print(f"  python -m sweeps.serve{options}")
    return 0


class CandidateError(RuntimeError):
    """A candidate that can't even be scored; the message says why, a line a reason."""


def judge_models(
    client: MlflowClient,
    candidate: Candidate,
    champion: ModelVersion | None,
    split: Split,
    *,
    min_gain: float,
    significant: bool,
) -> Verdict:
    """Load a candidate and the champion as strangers do, and judge the one by the other.

    Args:
        client: client of the store.
        candidate: the model that would become champion.
        champion: the present champion's version; None if there is none.
        split: the test split of the candidate's data.
        min_gain: least gain in accuracy over the champion.
        significant: refuse a gain that may well be chance.

    Raises:
        InputError: a model can't be had, the champion is damaged, or the two tell different
            labels apart.
        CandidateError: the candidate's files are not those that were registered, or don't run
            elsewhere.
    """
    from sentiment.model_store import model_of_version
    from sweeps.gate import judge
    from sweeps.registry import DIGESTS_TAG

    if candidate.version is not None and DIGESTS_TAG not in candidate.tags:
        raise CandidateError(f"the digests of its files were not recorded with {candidate.title}")
    answers = _answers(client, candidate.model_id, candidate.title, candidate.tags, split)
    present = None
    if champion is not None:
        title = f"the champion (version {champion.version})"
        try:
            present = _answers(client, model_of_version(champion), title, champion.tags, split)
        except CandidateError as error:
            raise InputError(f"{error}; --rollback, or take its alias away in the UI") from error
        if present.label_names != answers.label_names:
            raise InputError(
                f"the champion tells {', '.join(present.label_names)} apart, {candidate.title} "
                f"{', '.join(answers.label_names)}: keep them under two names by --model-name"
            )
    return judge(
        answers.log_probabilities,
        None if present is None else present.log_probabilities,
        split.labels,
        recorded=candidate.recorded,
        min_gain=min_gain,
        significant=significant,
    )


def _answers(
    client: MlflowClient, model_id: str, title: str, tags: Mapping[str, str], split: Split
) -> Answers:
    """Fetch a model, check its files where digests are recorded, and have it judge the texts."""
    from mlflow.exceptions import MlflowException

    from sentiment.model_store import copy_model
    from sweeps import stranger
    from sweeps.digests import differences
    from sweeps.registry import DIGESTS_TAG

    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = copy_model(client, model_id, Path(scratch))
        except MlflowException as error:
            raise InputError(
                f"the model of {title} can't be had: {str(error.message).splitlines()[0]}"
            ) from error
        if DIGESTS_TAG in tags:
            changed = differences(json.loads(tags[DIGESTS_TAG]), folder)
            if changed:
                raise CandidateError(
                    f"the files of {title} are not those registered: {'; '.join(changed)}"
                )
        try:
            return stranger.ask(folder, split.texts)
        except stranger.StrangerError as error:
            raise CandidateError(f"{title} does not run outside this project: {error}") from error


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

    name = args.model_name
    stood = registry.standing(client, name)
    before, after = registry.rollback_step(name, stood)
    print(f"champion of {name}: version {before} -> version {after}")
    if _agreed(args, f"make version {after} the champion again"):
        try:
            registry.rollback(client, name, stood)
        except registry.ChampionMovedError as error:
            return _refused(str(error))
        print(f"version {after} of {name} is the champion")
    return 0


def _refused(*reasons: str) -> int:
    for reason in reasons:
        print(f"refused: {reason}", file=sys.stderr)
    return 1


def _other_data(champion: ModelVersion, dataset: Dataset) -> str:
    fingerprint = champion.tags.get("dataset_fingerprint")
    if fingerprint is None:
        known = "on data that is not recorded"
    else:
        known = f"on other data, {champion.tags.get('dataset')} (fingerprint {fingerprint[:12]})"
    return (
        f"the champion was trained {known}; both are scored here on the test split of "
        f"{dataset.name}, whose texts it may have seen"
    )


def _data_flag(dataset: Dataset) -> str:
    """Return the flag that names a data set of a candidate."""
    from sentiment.datasets import DATASETS

    return f"--dataset {dataset.name}" if dataset.name in DATASETS else "--data FILE"


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
