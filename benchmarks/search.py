"""`python -m benchmarks.search`: how fast ways to search find good settings, replayed in seconds.

Each sweep is replayed on a surrogate of recorded trainings (`benchmarks.replay`): the search is
real, clock and workers are simulated. Regret is what the best settings are worth more than the
winner, in points of accuracy on the mean of seeds; a time is that of the trainings alone.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from threadpoolctl import threadpool_limits

from benchmarks import recorded_curves, search_picture, tables
from benchmarks.recorded_curves import CURVES
from benchmarks.replay import Problem, Replayed, replay
from benchmarks.search_arms import ARMS, FULL, OURS, STUDY, VARIANTS, Arm
from benchmarks.search_curves import drawn_at_random
from benchmarks.search_regret import Interval, Measured, best_value, measure
from benchmarks.surrogate import Quality, Surrogate
from sentiment import cli
from sentiment.errors import InputError
from sweeps.config import TRIALS

DOCS = Path("docs/benchmarks.md")
AT = 2
"""Workers of the longer tables and of the picture."""
SURROGATES = ("all", "random", "steady")
AFTER = (50, 200, 500, 1_000)
"""Trials before the suggestions that are timed."""
TIMED = 50
"""Suggestions of which a mean is taken."""
ROUNDS = 3
"""Replays of the same sweep, of which each suggestion's least time is taken."""

Sweeps = Mapping[str, Sequence[Replayed]]
"""Replayed sweeps by the name of their arm, one a seed."""


def main(argv: list[str] | None = None) -> None:
    """Replay all arms on all recorded data, and print the tables."""
    parser = cli.Parser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument(
        "--curves",
        nargs="+",
        metavar="FILE",
        help=f"recorded curves (default: all of {CURVES.parent.name}/{CURVES.name})",
    )
    parser.add_argument("--seeds", type=int, default=30, help="sweeps of each arm")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each sweep")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2, 8, 32], help="trials at once; a run each"
    )
    parser.add_argument(
        "--variants", action="store_true", help="other defaults of ours, in place of the arms"
    )
    parser.add_argument(
        "--surrogate",
        default="all",
        choices=SURROGATES,
        help="of all curves, of those drawn at random, or of all without noise",
    )
    parser.add_argument("--quality", action="store_true", help="only judge the surrogates")
    parser.add_argument("--suggestions", action="store_true", help="only time suggestions")
    parser.add_argument(
        "--storage", metavar="URL", help="also time suggestions of a new study in this database"
    )
    parser.add_argument("--picture", metavar="FILE", help=f"draw regret at {AT} workers (PNG)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no tables")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCS}")
    args = parser.parse_args(argv)
    _check(args)
    paths = args.curves or sorted(map(str, CURVES.glob("*.jsonl.gz")))
    problems = load_problems(paths, args.surrogate)
    with threadpool_limits(1):  # more threads wait for each other: the matrices are small
        found, shown = _asked_for(problems, args)
    if args.json:
        print(json.dumps(_finite(found)))
        return
    for name, table in shown.items():
        print(f"{name}\n\n{table}\n")
        if args.write:
            tables.replace(DOCS, f"search {name}", table)


def load_problems(paths: Sequence[str], kind: str = "all") -> dict[str, Problem]:
    """Return what is searched, by data set.

    Data that was recorded under one seed takes its noise from the others.

    Args:
        paths: files of curves.
        kind: one of `SURROGATES`.

    Raises:
        InputError: there is no such file, or it does not suffice for a surrogate.
    """
    recordings = [recorded_curves.read(Path(path)) for path in paths]
    problems = {}
    for recorded, trainings in recordings:
        others = [each for other, known in recordings if other != recorded for each in known]
        if kind == "random":
            trainings = drawn_at_random(trainings)
        surrogate = Surrogate(recorded, trainings, others, noisy=kind != "steady")
        problems[recorded.dataset] = Problem(surrogate)
    return problems


def run(
    problem: Problem,
    arms: Sequence[Arm],
    other: Problem | None = None,
    *,
    trials: int,
    workers: int,
    seeds: int,
) -> dict[str, list[Replayed]]:
    """Replay sweeps of each arm, one for each seed.

    Args:
        problem: what is searched.
        arms: those with a warm start are left out where there are no other data.
        other: data that `OURS` has searched before, under the same seed, as the default has it.
        trials: of each sweep.
        workers: trials at once.
        seeds: sweeps of each arm.
    """

    def replayed(what: Problem, arm: Arm, seed: int, earlier: Replayed | None) -> Replayed:
        return replay(what, arm, trials=trials, workers=workers, seed=seed, earlier=earlier)

    earlier = [None if other is None else replayed(other, OURS, n, None) for n in range(seeds)]
    return {
        arm.name: [replayed(problem, arm, seed, found) for seed, found in enumerate(earlier)]
        for arm in arms
        if other is not None or not arm.warm_start
    }


def time_suggestions(
    problem: Problem, database: str | None = None, trials: int = AFTER[-1]
) -> dict[str, Any]:
    """Return milliseconds of CPU a suggestion, mean and 95th percentile, by storage and trials.

    The same sweep is replayed a few times and the least of each suggestion counts: what else the
    machine does only adds to it.

    Args:
        problem: what is searched.
        database: URL of one more storage, which has no study of a replay yet; none is left there.
        trials: of the sweep.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        storages = {"memory": None, "SQLite": f"sqlite:///{folder}/study.db"}
        if database is not None:
            storages[database.partition(":")[0]] = database
        for name, storage in storages.items():
            rounds = []
            for _ in range(ROUNDS):
                sweep = replay(problem, OURS, trials=trials, workers=AT, seed=0, storage=storage)
                rounds.append(sweep.suggestion_seconds)
                if storage is not None:
                    optuna.delete_study(study_name=STUDY, storage=storage)
            seconds = np.min(rounds, axis=0)
            found[name] = {
                after: (
                    1e3 * float(seconds[after - TIMED : after].mean()),
                    1e3 * float(np.quantile(seconds[after - TIMED : after], 0.95)),
                )
                for after in AFTER
                if after <= trials
            }
    return found


def _check(args: Any) -> None:
    for flag in ("seeds", "trials"):
        if getattr(args, flag) < 1:
            raise InputError(f"--{flag} {getattr(args, flag)}: give a number from 1")
    if min(args.workers) < 1:
        raise InputError(f"--workers {min(args.workers)}: give numbers from 1")
    if args.storage and not args.suggestions:
        raise InputError("--storage: it is read for --suggestions alone; add that")
    if args.picture and AT not in args.workers:
        raise InputError(f"--picture: it shows {AT} workers; add {AT} to --workers")


def _asked_for(problems: Mapping[str, Problem], args: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return all that was measured, and the tables by name."""
    if args.quality:
        judged = {name: problem.surrogate.quality() for name, problem in problems.items()}
        qualities = {name: asdict(each) for name, each in judged.items()}
        return qualities, {"quality": _quality_table(judged)}
    if args.suggestions:
        milliseconds = time_suggestions(next(iter(problems.values())), args.storage)
        return milliseconds, {"suggestions": _suggestion_table(milliseconds)}
    return _compare(problems, args)


def _compare(problems: Mapping[str, Problem], args: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return all that was measured, and the tables by name; draw the picture."""
    arms = (FULL, OURS, *VARIANTS) if args.variants else ARMS
    found: dict[str, Any] = {}
    shown: list[str] = []
    drawn: dict[str, tuple[Sweeps, float]] = {}
    for dataset, problem in problems.items():
        best = best_value(problem.surrogate)
        other = next((each for name, each in problems.items() if name != dataset), None)
        measured = {}
        for workers in args.workers:
            sweeps = run(
                problem, arms, other, trials=args.trials, workers=workers, seeds=args.seeds
            )
            measured[workers] = measure(sweeps, FULL.name, OURS.name, best)
            if workers == AT:
                drawn[dataset] = (sweeps, best)
        found[dataset] = {
            workers: {name: asdict(arm) for name, arm in by_arm.items()}
            for workers, by_arm in measured.items()
        }
        longer = AT if AT in measured else args.workers[0]
        shown.append(f"`{dataset}`, {longer} workers:")
        shown.append(_arm_table(measured[longer], args.trials))
        if len(measured) > 1:
            shown.append(f"`{dataset}`, time to what random has at its end, by workers:")
            shown.append(_worker_table(measured))
    if args.picture:
        search_picture.draw(drawn, Path(args.picture))
    return found, {"variants" if args.variants else "arms": "\n\n".join(shown)}


def _arm_table(measured: Mapping[str, Measured], trials: int) -> str:
    header = [
        "arm",
        "trials completed",
        "minutes",
        f"regret after {trials} trials, points",
        "regret when ours ends",
        "time to what random has after ¼ of its time",
        "after ½",
        "at its end",
        "time of ours to what this arm has at its end",
    ]
    rows = [
        [
            name,
            f"{arm.completed:.1f}",
            f"{arm.minutes:.2f}",
            _points(arm.regret),
            _points(arm.regret_then),
            *map(_ratio, arm.ratios),
            _ratio(arm.ours),
        ]
        for name, arm in measured.items()
    ]
    return tables.markdown(header, rows)


def _worker_table(measured: Mapping[int, Mapping[str, Measured]]) -> str:
    counts = list(measured)
    header = ["arm", *(f"{n} worker{'s' * (n > 1)}: time" for n in counts), "regret when ours ends"]
    rows = [
        [
            name,
            *(_ratio(measured[n][name].ratios[-1]) for n in counts),
            ", ".join(f"{100 * measured[n][name].regret_then.mean:.2f}" for n in counts),
        ]
        for name in measured[counts[0]]
    ]
    return tables.markdown(header, rows)


def _quality_table(judged: Mapping[str, Quality]) -> str:
    header = [
        "curves of",
        "configurations",
        "rank correlation of accuracy",
        "among the better half",
        "mean error of accuracy, points",
        "of one seed, points",
        "R² of log seconds",
    ]
    rows = [
        [
            name,
            str(each.configurations),
            f"{each.spearman:.2f}",
            f"{each.spearman_top:.2f}",
            f"{100 * each.error:.1f}",
            f"{100 * each.seed_error:.1f}",
            f"{each.seconds_r2:.2f}",
        ]
        for name, each in judged.items()
    ]
    return tables.markdown(header, rows)


def _suggestion_table(found: Mapping[str, Mapping[int, tuple[float, float]]]) -> str:
    header = ["study in", *(f"after {after:,} trials" for after in AFTER)]
    rows = [
        [name, *(f"{mean:.1f} ({most:.1f})" for mean, most in each.values())]
        for name, each in found.items()
    ]
    return tables.markdown(header, rows)


def _points(value: Interval) -> str:
    return f"{100 * value.mean:.2f} ({100 * value.low:.2f}–{100 * value.high:.2f})"


def _ratio(value: Interval) -> str:
    return f"{_times(value.mean)} ({_times(value.low)}–{_times(value.high)})"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "never"


def _finite(found: Any) -> Any:
    """Return the same with null for what never comes, which JSON has no number for."""
    if isinstance(found, Mapping):
        return {str(key): _finite(each) for key, each in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(each) for each in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


if __name__ == "__main__":
    cli.run(main)
