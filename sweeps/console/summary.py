"""What a sweep prints when it starts and after it has ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from sentiment import cli
from sentiment.config import Objective
from sentiment.objective import best_key, is_better, merit
from sentiment.tracking.experiment import experiment_flag
from sentiment.tracking.http import is_server, server_address
from sentiment.tracking.provenance import redacted
from sentiment.tracking.registered_name import model_name_flag
from sentiment.wording import counted, duration
from sweeps.analysis.classical_comparison import NB_LOGISTIC, ClassicalComparison
from sweeps.analysis.seed_replicates import Confirmation
from sweeps.config import SweepSettings
from sweeps.objectives import LATENCY, METRICS, Objectives
from sweeps.registry.challenger import RegisteredWinner
from sweeps.reporting.front import front_plain, front_table, none_within
from sweeps.reporting.leaderboard import BEST_AT, TRAINED, fitted_page_table, number_text
from sweeps.search.flatness import Flatness
from sweeps.terminal import Column, command_lines, fitted_table, notify
from sweeps.tracking.members import members_sentence
from sweeps.tracking.queries import (
    TrialRecord,
    best_finalists,
    best_trials,
    front_of,
    trial_number,
)
from sweeps.tracking.retention import Removed
from sweeps.tracking.runs_view import LOCAL_PAGES, trials_page
from sweeps.trials.outcomes import budget_sentence, count_parts, counts_of, label_of

SEARCH_OVER = "its time budget has ended the search, --time-budget gives it more"
SHOWN = 5
"""Trials of a result that are shown."""
FRONT_SHOWN = 10
"""Trials of its Pareto front that are shown."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        name: the sweep.
        run_id: its run.
        trials: the search's trials by number, then the baselines.
        winner: the best by validation; None if no trial got that far.
        test: the winner's metrics on the test split.
        registered: its version and its state in the registry; None if it has none.
        champion: the version that is the champion; None if there is none.
        seconds: from the launch to the end.
        asked: trials that the search was to have.
        time_budget: seconds that the search had; None: as long as it took.
        confirmation: the winner's settings with other seeds; None if there were none.
        removed: the models of trials that were not among the best.
        warnings: what is likely to be wrong with the texts or the winner.
        comparison: of the registered model with the classical baseline; None without one.
        objectives: what it went by, and their limits; None where that is not told.
        flatness: of the search that it ended; None where it did not.
    """

    name: str
    run_id: str
    trials: list[TrialRecord]
    winner: TrialRecord | None
    test: dict[str, float]
    registered: RegisteredWinner | None
    champion: int | None
    seconds: float
    asked: int
    time_budget: float | None
    confirmation: Confirmation | None
    removed: Removed
    warnings: tuple[str, ...] = ()
    comparison: ClassicalComparison | None = None
    objectives: Objectives | None = None
    flatness: Flatness | None = None

    @property
    def front(self) -> list[TrialRecord]:
        """The Pareto front of a search for several objectives; empty of one."""
        if self.objectives is None or not self.objectives.further:
            return []
        return front_of(self.trials, self.objectives)

    @property
    def outcomes(self) -> list[str]:
        """How the search's trials ended."""
        return [trial.outcome for trial in self.trials if trial.role == "trial"]

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values."""
        winner = self.winner
        metrics = winner.metrics if winner else {}
        return {
            "sweep": self.name,
            "run_id": self.run_id,
            "trials": self.asked,
            "outcomes": counts_of(self.outcomes),
            "not_run": self.asked - len(self.outcomes),
            "time_budget": self.time_budget,
            "winner": {
                "trial": trial_number(winner),
                "role": winner.role,
                "run_id": winner.run_id,
                **winner.parameters,
                **({"members": list(map(asdict, winner.members))} if winner.members else {}),
            }
            if winner
            else None,
            "best": {name: value for name, value in metrics.items() if name.startswith("best/")},
            "test": self.test,
            "version": self.registered.version if self.registered else None,
            "challenger": self.registered.challenger.plain() if self.registered else None,
            "test_looks": self.registered.test_looks if self.registered else None,
            "confirmation": self.confirmation.metrics() if self.confirmation else None,
            "baseline": self.comparison.metrics() if self.comparison else None,
            "models": {"kept": self.removed.kept, "removed": self.removed.models},
            "seconds": round(self.seconds, 1),
            "warnings": list(self.warnings),
            **({"flat": asdict(self.flatness)} if self.flatness else {}),
            **(front_plain(self.front, self.objectives) if self.objectives else {}),
        }


def print_result(
    console: Console,
    result: SweepResult,
    settings: SweepSettings,
    uri: str,
    experiment_id: str,
    examples: int,
) -> None:
    """Print how a sweep ended: the best trials, the winner's test metrics, what to do next.

    Args:
        console: where to print.
        result: how it ended.
        settings: what it was asked to do.
        uri: address of the store.
        experiment_id: the experiment of all its runs.
        examples: texts of the train split.
    """
    counts = ", ".join(count_parts(counts_of(result.outcomes)))
    notify(console, f"sweep {result.name} ended after {duration(result.seconds)}: {counts}")
    for line in _budget_lines(result, settings):
        notify(console, line)
    if result.flatness is not None:
        notify(console, result.flatness.sentence(result.asked))
        notify(
            console,
            f"To run the others: {resume_command(result.name, settings)} --trials {result.asked}",
        )
    if result.winner is None:
        _print_front(console, result)
        if missed := none_within(result.trials, settings.objectives):
            notify(console, missed)
            notify(
                console,
                "a new sweep with another --limit may begin with what this one has found: "
                f"--warm-start {result.name}",
            )
        else:
            notify(
                console,
                "no trial got as far as an evaluation; error.txt among a failed run's artifacts "
                f"says why: {_browse(settings, uri)}",
            )
        for warning in result.warnings:
            notify(console, f"warning: {warning}")
        return
    ranked = best_trials(result.trials, settings.objective)
    console.print(_table(ranked, settings, examples, console.width))
    _print_front(console, result)
    finalists = best_finalists(result.trials, settings.objective)
    if finalists:
        console.print(_table(finalists, settings, examples, console.width, "finalist"))
    if result.winner.members:
        notify(console, members_sentence(result.winner.members, result.winner.metrics))
    test = result.test
    notify(
        console,
        f"test split, scored once, of {_named(result.winner)}: accuracy "
        f"{test['test/accuracy']:.4f}, f1 {test['test/f1']:.4f}, loss {test['test/loss']:.4f}",
    )
    if result.comparison is not None:
        notify(console, result.comparison.sentence())
    if result.confirmation is not None:
        notify(console, result.confirmation.sentence())
    note = _better_baseline(result, settings.objective)
    if note:
        notify(console, note)
    for line in _registered(result.registered, settings):
        notify(console, line)
    if result.removed.models:
        notify(console, str(result.removed))
    for warning in result.warnings:
        notify(console, f"warning: {warning}")
    notify(console, "next:")
    for line in command_lines(_next_commands(result, settings, uri), console.width):
        notify(console, line)
    browse, page = _browse(settings, uri), trials_page(experiment_id, result.name)
    runs = "" if is_server(uri) else f", while {browse} runs"
    notify(console, f"all trials in MLflow, the best first{runs}:")
    # An address must stay whole to be opened, however narrow the terminal is.
    console.print(
        f"  {browse if is_server(uri) else LOCAL_PAGES}/{page}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _print_front(console: Console, result: SweepResult) -> None:
    """Print the Pareto front, where a search was for one."""
    front, objectives = result.front, result.objectives
    if not front or objectives is None:
        return
    notify(console, f"the Pareto front of {objectives}, {counted(len(front), 'trial')}:")
    table = front_table(front[:FRONT_SHOWN], objectives)
    console.print(fitted_page_table(table, console.width))
    if len(front) > FRONT_SHOWN:
        notify(console, f"… and {len(front) - FRONT_SHOWN} more: python -m sweeps.report")


def _short_name(trial: TrialRecord) -> str:
    """Return the run's name with the trial's number in front, whatever its role."""
    if trial.role == "trial":
        return trial.name
    return f"{trial_number(trial):03d} {trial.name.removeprefix(trial.role).strip()}"


def _named(winner: TrialRecord) -> str:
    if winner.members:
        return f"the {winner.name}"
    number = f"trial {trial_number(winner):03d}"
    return number if winner.role == "trial" else f"the {winner.role} of {number}"


def start_line(
    name: str,
    settings: SweepSettings,
    run_id: str,
    ended: int | None = None,
    search_over: bool = False,
) -> str:
    """Return the line that a sweep prints when it starts.

    Args:
        name: the sweep.
        settings: what it was asked to do.
        run_id: its run.
        ended: trials of a resumed sweep that have ended; None for a new sweep.
        search_over: whether the time budget has ended the search, so that no trial starts.
    """
    what = trials = counted(settings.trials, "trial")
    if ended is not None:
        what = f"resumed, {ended} of {trials} have ended"
    if search_over:
        what += f"; {SEARCH_OVER}"
    elif settings.time_budget is not None:
        what += f"; time budget of the search: {duration(settings.time_budget)}"
    return f"sweep {name}: {what}; run {run_id}"


def _budget_lines(result: SweepResult, settings: SweepSettings) -> Iterator[str]:
    """Yield what the time budget cut short, and how to run the rest."""
    sentence = budget_sentence(result.time_budget, result.asked, result.outcomes)
    if sentence is None:
        return
    yield sentence
    if result.asked > len(result.outcomes):
        seconds = f"{result.time_budget:g}"
        yield f"To run them, in {duration(result.time_budget or 0)} more or what you give:"
        yield f"  {resume_command(result.name, settings)} --time-budget {seconds}"


def resume_command(name: str, settings: SweepSettings) -> str:
    """Return the command that resumes a sweep."""
    store = cli.store_flag(settings.tracking_uri)
    places = "".join(
        f" --{flag} {shlex.quote(redacted(value))}"
        for flag, value in (
            ("address", settings.address),
            ("storage", settings.storage),
            ("study-storage", settings.study_storage),
        )
        if value is not None
    )
    experiment = experiment_flag(settings.experiment)
    return f"python -m sweeps.launch --resume {name}{store}{experiment}{places}"


def _table(
    ranked: Sequence[TrialRecord],
    settings: SweepSettings,
    examples: int,
    width: int,
    role: str = "trial",
) -> Table:
    shown = ranked[:SHOWN]

    def metric(name: str, form: str, divisor: int = 1) -> list[str]:
        found = (trial.metrics.get(name) for trial in shown)
        return [number_text(None if v is None else v / divisor, form) for v in found]

    # Finalists go by their log-loss, see `best_finalists`.
    by_loss = role == "finalist" and settings.objective != "valid/loss"
    values = [settings.objective, "valid/loss"] if by_loss else [settings.objective]
    return fitted_table(
        [
            Column(role, [_short_name(trial) for trial in shown]),
            *(Column(name, metric(f"best/{name}", ".4f"), right=True) for name in values),
            *(
                [Column("ms", metric(METRICS[LATENCY], ".2f"), right=True)]
                if LATENCY in settings.further_objectives
                else []
            ),
            Column(TRAINED, metric("epoch", ".2f"), right=True),
            Column(BEST_AT, metric("best/examples", ".2f", examples), right=True),
            Column("parameters", metric("parameters/total", ",.0f"), right=True, spare=1),
            Column("seconds", metric("seconds/total", ",.0f"), right=True, spare=2),
            Column("outcome", [label_of(str(trial.outcome)) for trial in shown]),
        ],
        width,
    ).table


def _registered(registered: RegisteredWinner | None, settings: SweepSettings) -> Iterator[str]:
    """Yield the winner's state in the registry."""
    name = settings.model_name
    if registered is None:
        yield f"the winner's version of {name} was removed; nothing is registered"
        return
    state = registered.challenger
    yield f"registered as version {registered.version} of {name}{state.sentence()}"
    if not state.is_winner:
        yield f"to promote this one all the same: {_promote_command(settings, registered)}"
    if registered.test_looks > 1:
        yield (
            f"this test split was scored {registered.test_looks} times for models of {name}: the "
            "more often it decides, the less its results hold for new texts"
        )


def _better_baseline(result: SweepResult, objective: Objective) -> str | None:
    """Return a note where a baseline is better on validation than the winner."""
    assert result.winner is not None
    key = best_key(objective)
    baselines = [
        trial
        for trial in result.trials
        # That one is compared on the test split.
        if trial.role == "baseline" and trial.key != NB_LOGISTIC and key in trial.metrics
    ]
    best = max(baselines, key=lambda trial: merit(objective, trial.metrics[key]), default=None)
    reached = result.winner.metrics[key]
    if best is None or not is_better(objective, best.metrics[key], reached):
        return None
    return (
        f"note: the baseline {best.key} is better on validation than the winner: {objective} "
        f"{best.metrics[key]:.4f}, the winner's {reached:.4f}"
    )


def _promote_command(settings: SweepSettings, registered: RegisteredWinner) -> str:
    """Return the command that promotes the winner."""
    named = model_name_flag(settings.model_name)
    version = "" if registered.challenger.is_winner else f" --version {registered.version}"
    return f"python -m sweeps.promote{version}{named}{cli.store_flag(settings.tracking_uri)}"


def _next_commands(result: SweepResult, settings: SweepSettings, uri: str) -> dict[str, str]:
    """Return what to type next, and what for."""
    store = cli.store_flag(settings.tracking_uri)
    named = experiment_flag(settings.experiment)
    browse = _browse(settings, uri)
    registered = result.registered
    ask = cli.predict_command(f"{model_name_flag(settings.model_name)}{store}", settings.data)
    commands = {
        browse: "browse and compare",
        f"python -m sweeps.report{store}{named}": "the leaderboard and the page",
    }
    if registered is None:
        return commands if result.champion is None else {**commands, ask: "ask the champion"}
    promote = _promote_command(settings, registered)
    if result.champion is None:
        return {**commands, promote: "make it the champion", ask: "then ask the champion"}
    if result.champion == registered.version:
        return {**commands, ask: "ask the champion, this model"}
    before = f"version {result.champion}"
    if registered.challenger.is_winner:
        commands[promote] = f"replace {before} as champion"
    return {
        **commands,
        ask: f"ask the champion, {before}",
    }


def _browse(settings: SweepSettings, uri: str) -> str:
    """Return where MLflow's pages are: a server's address, or the command that serves them."""
    if is_server(uri):
        return server_address(uri)
    store = cli.store_flag(settings.tracking_uri)
    return f"python -m sweeps.ui{store}{experiment_flag(settings.experiment)}"
