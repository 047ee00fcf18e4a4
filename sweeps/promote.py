"""`python -m sweeps.promote`: the quality gate, and the move of the alias `champion`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError
from sentiment.listing import table_lines
from sentiment.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from sentiment.data.datasets import DataConfig, Dataset
    from sweeps.registry.quality_gate import Requirements, Verdict
    from sweeps.registry.versions import Candidate


def main(argv: list[str] | None = None) -> int:
    """Judge a registered model and, if it passes, make it the champion; 1 if it is refused."""
    parser = cli.Parser(
        prog="python -m sweeps.promote",
        description="Check a registered model and compare it with the champion on its test split; "
        "unless it differs from its record or is worse, make it the champion. Predictions of the "
        "test split are read where they are recorded. On a terminal it asks first; elsewhere, and "
        "with --yes, it does not. Exit status 1: refused.",
        common=(
            "--sweep",
            "--run",
            "--version",
            "--rollback",
            "--min-gain",
            "--min-accuracy",
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
        "--min-accuracy", type=float, metavar="X", help="least test accuracy, from 0 to 1"
    )
    parser.add_argument(
        "--min-gain",
        type=float,
        default=0.0,
        metavar="X",
        help="least gain in test accuracy over the champion, from -1 to 1",
    )
    parser.add_argument(
        "--significant", action="store_true", help="refuse a gain that may be chance (p >= 0.05)"
    )
    parser.add_argument(
        "--require-approval",
        action="store_true",
        help="refuse a version whose tag approved-by names nobody but its trainer",
    )
    parser.add_argument(
        "--rescore", action="store_true", help="score the test split again (counted as a look)"
    )
    parser.add_argument("--dry-run", action="store_true", help="report, but move nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--model-name", default="sentiment", metavar="NAME", help="the model")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )
    cli.add_data_arguments(parser)
    parser.set_defaults(dataset=None)  # the candidate's own
    args = parser.parse_args(argv)
    requirements = _requirements(args)

    from sentiment.tracking.store import read_store, tracking_uri

    client = read_store(tracking_uri(args.tracking_uri))
    if args.rollback:
        return _roll_back(client, args)
    return _promote(client, args, requirements)


def _requirements(args: argparse.Namespace) -> Requirements:
    """Return what the candidate must reach.

    Raises:
        InputError: it can't be reached, or is no number.
    """
    from sweeps.registry.quality_gate import Requirements

    if not -1 <= args.min_gain <= 1:
        raise InputError(
            f"--min-gain {args.min_gain}: give a number from -1 to 1, such as 0.005 for half a "
            "point of accuracy"
        )
    if args.min_accuracy is not None and not 0 <= args.min_accuracy <= 1:
        raise InputError(
            f"--min-accuracy {args.min_accuracy}: give a share from 0 to 1, such as 0.85"
        )
    return Requirements(args.min_accuracy, args.min_gain, args.significant)


def _promote(client: MlflowClient, args: argparse.Namespace, requirements: Requirements) -> int:
    from sentiment.data.datasets import load_dataset
    from sentiment.data.identity import mismatch
    from sentiment.tracking.model_uri import model_of_version
    from sentiment.tracking.registered_name import model_name_flag
    from sweeps.registry import versions
    from sweeps.registry.approval import approval_refusal
    from sweeps.registry.candidate_scoring import CandidateError, CandidateScoring
    from sweeps.registry.champion import ChampionMovedError, champion_state, promote
    from sweeps.registry.look_count import count_looks
    from sweeps.registry.shadow_counts import shadow_lines

    name = args.model_name
    candidate = versions.find_candidate(
        client, name, sweep=args.sweep, run_id=args.run, version=args.version
    )
    state = champion_state(client, name)
    champion = state.champion
    if champion is not None and model_of_version(champion) == candidate.model_id:
        newer = _newer(client, candidate, name)
        print(f"{candidate.title} of {name} is the champion already{newer}")
        return 0
    if args.require_approval:
        unapproved = approval_refusal(client, name, candidate)
        if unapproved is not None:
            return _refused(unapproved)
    named_data = args.dataset is not None or args.data is not None
    dataset = load_dataset(_data_config(candidate, args))
    trained_for = candidate.tags["dataset_fingerprint"]
    different = mismatch(dataset, trained_for, candidate.title)
    if different is not None:
        return _refused(different)
    scoring = CandidateScoring(client, name, dataset, args.rescore)
    try:
        verdict = scoring.judge(candidate, champion, requirements)
    except CandidateError as error:
        return _refused(str(error))
    scored = f"scored now: {', '.join(scoring.scored)}" if scoring.scored else "scored before"
    texts = counted(verdict.candidate.count, "text")
    print(f"{dataset.name}, test split, {texts}, float32; {scored}")
    print(table(candidate, champion, verdict))
    # A name that has no registered model yet has no count either.
    looks = max(count_looks(client, name, dataset.fingerprint), 1)
    print(f"this test split was scored {_times(looks)} for models of {name}")
    for line in shadow_lines(candidate.tags):
        print(line)
    refusals = [*verdict.refusals]
    if champion is not None and not dataset.is_known_as(champion.tags.get("dataset_fingerprint")):
        difference = _other_data(champion, dataset)
        if named_data:
            print(f"note: {difference}")
        else:
            refusals.append(f"{difference}; if that is fair, name the data: {_data_flag(dataset)}")
    if refusals:
        return _refused(*refusals)
    if not _agreed(args, f"make {candidate.title} the champion of {name}"):
        return 0
    version = candidate.version
    if version is None:
        registered = versions.register(
            client,
            name,
            model_id=candidate.model_id,
            run_id=candidate.run_id,
            tags=candidate.tags,
            description=f"Model of the run {candidate.run_id}, named by hand.",
        )
        version = int(registered.version)
    try:
        promote(client, name, version, state, verdict.figures())
    except ChampionMovedError as error:
        return _refused(str(error))
    print(f"version {version} of {name} is the champion")
    options = f"{model_name_flag(name)}{cli.store_flag(args.tracking_uri)}"
    print("next:")
    print(f"  {cli.predict_command(options, dataset.config)}")
    print(f"  python -m sweeps.serve{options} --follow")
    return 0


def table(candidate: Candidate, champion: ModelVersion | None, verdict: Verdict) -> str:
    """Return the figures that decide, a line a metric."""
    from sweeps.analysis.significance import p_value_text

    columns = {"recorded": candidate.recorded, candidate.title: verdict.candidate.metrics("test")}
    if champion is not None and verdict.champion is not None:
        columns[f"champion ({champion.version})"] = verdict.champion.metrics("test")
    rows = [["", *(title[:14] for title in columns)]]
    for metric in verdict.candidate.metrics("test"):
        cells = [f"{c[metric]:.4f}" if metric in c else "-" for c in columns.values()]
        rows.append([metric, *cells])
    lines = table_lines(rows, indent="")
    if verdict.gain is not None:
        assert verdict.p_value is not None, "there is a champion"
        p_value = p_value_text(verdict.p_value, named=True)
        lines.append(f"gain in accuracy {verdict.gain:+.4f}, {p_value} (McNemar)")
    return "\n".join(lines)


def _newer(client: MlflowClient, candidate: Candidate, name: str) -> str:
    """Return how to take the newest version where another one was taken."""
    from sweeps.registry import versions

    newest = int(versions.all_versions(client, name)[0].version)
    if newest == candidate.version:
        return ""
    return f"; the newest is version {newest}: --version {newest}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _roll_back(client: MlflowClient, args: argparse.Namespace) -> int:
    from sweeps.registry.champion import (
        ChampionMovedError,
        champion_state,
        rollback,
        rollback_step,
    )

    name = args.model_name
    state = champion_state(client, name)
    before, after = rollback_step(client, name, state)
    print(f"champion of {name}: version {before} -> version {after}")
    if _agreed(args, f"make version {after} the champion again"):
        try:
            rollback(client, name, state)
        except ChampionMovedError as error:
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
    """Return the flags that name the data set of a candidate."""
    from sentiment.data.datasets import DATASETS

    if dataset.name not in DATASETS:
        return "--data FILE"
    rest = DATASETS[0]  # the default, which is in no flag
    words = (
        []
        if dataset.config is None
        else cli.data_flags(dataset.config.model_copy(update={"dataset": rest}))
    )
    return shlex.join(["--dataset", dataset.name, *words])


def _data_config(candidate: Candidate, args: argparse.Namespace) -> DataConfig:
    """Return where the candidate's data is: by the flags, else as recorded at its training."""
    from sentiment.data.datasets import DATASETS, DataConfig
    from sentiment.tracking.model_uri import DATA_TAG

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
