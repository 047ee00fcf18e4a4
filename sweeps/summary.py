"""What a sweep says of itself before it starts and after it has ended."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from sentiment import cli
from sentiment.config import Objective
from sentiment.data_summary import described
from sentiment.datasets import Dataset
from sentiment.devices import precision_name
from sentiment.model_store import MODEL_NAME
from sentiment.provenance import redacted
from sentiment.record import EXPERIMENT
from sweeps.challenger import RegisteredWinner
from sweeps.confirmation import Confirmation
from sweeps.history import TrialRecord, best_trials
from sweeps.plan import Rungs
from sweeps.retention import Removed
from sweeps.samplers import Cost, sampler_note
from sweeps.search import PastTrial, first_suggestions
from sweeps.settings import SweepSettings
from sweeps.space import Space

SHOWN = 5
"""Suggestions of a plan, and trials of a result, that are shown."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        name: the sweep.
        run_id: its run.
        trials: the search's trials by number, then the baselines.
        winner: the best by validation; None if no trial got that far.
        test: the winner's metrics on the test split.
        registered: its version, and how it stands in the registry; None if it has none.
        seconds: from the launch to the end.
        confirmation: the winner's settings with other seeds; None if there were none.
        removed: the models of trials that were not among the best.
        warnings: what is likely to be wrong with the texts or the winner.
    """

    name: str
    run_id: str
    trials: list[TrialRecord]
    winner: TrialRecord | None
    test: dict[str, float]
    registered: RegisteredWinner | None
    seconds: float
    confirmation: Confirmation | None
    removed: Removed
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values."""
        outcomes = [trial.outcome for trial in self.trials if trial.role == "trial"]
        winner = self.winner
        metrics = winner.metrics if winner else {}
        return {
            "sweep": self.name,
            "run_id": self.run_id,
            "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
            "winner": {"trial": winner.key, "run_id": winner.run_id, **winner.parameters}
            if winner
            else None,
            "best": {name: value for name, value in metrics.items() if name.startswith("best/")},
            "test": self.test,
            "version": self.registered.version if self.registered else None,
            "challenger": self.registered.challenger.plain() if self.registered else None,
            "test_looks": self.registered.test_looks if self.registered else None,
            "confirmation": self.confirmation.metrics() if self.confirmation else None,
            "models": {"kept": self.removed.kept, "removed": self.removed.models},
            "seconds": round(self.seconds, 1),
            "warnings": list(self.warnings),
        }


def plan_lines(
    settings: SweepSettings,
    dataset: Dataset,
    space: Space,
    rungs: Rungs,
    dtype: torch.dtype,
    past: Sequence[PastTrial],
    cost: Cost | None,
) -> Iterator[str]:
    """Yield the lines of a plan: data, search, rungs, space, first suggestions."""
    yield from described(dataset)
    yield f"precision: {precision_name(dtype)}"
    yield f"search: {settings.trials} trials by {settings.sampler} for {settings.objective}"
    note = sampler_note(settings.sampler, space)
    if note:
        yield f"note: {note}"
    if settings.scheduler == "asha":
        at = ", ".join(f"{examples:,}" for examples in rungs.milestones)
        yield f"rungs: at {at} of {rungs.budget:,} training examples the weaker half ends"
    else:
        yield f"budget: {rungs.budget:,} training examples a trial, none stopped early"
    yield "space:"
    for row in space.to_yaml().splitlines():
        yield f"  {row}"
    count = min(SHOWN, settings.trials)
    yield f"the first {count} suggestions:"
    suggestions = first_suggestions(
        space, settings.sampler, settings.seed, count, settings.objective, past, cost
    )
    for number, suggestion in enumerate(suggestions):
        shown = {name: value for name, value in suggestion.items() if name in space.dimensions}
        yield f"  {number:03d} {json.dumps(shown)}"


def print_result(
    console: Console, result: SweepResult, settings: SweepSettings, uri: str, examples: int
) -> None:
    """Print how a sweep ended: the best trials, the winner's test metrics, what to do next.

    Args:
        console: where to print.
        result: how it ended.
        settings: what it was asked to do.
        uri: address of the store.
        examples: texts of the train split.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    outcomes = [trial.outcome for trial in result.trials if trial.role == "trial"]
    say(
        f"sweep {result.name} ended after {result.seconds / 60:.1f} minutes: "
        f"{outcomes.count('completed')} completed, "
        f"{outcomes.count('stopped_early')} stopped early, {outcomes.count('failed')} failed"
    )
    if result.winner is None:
        say(
            "no trial got as far as an evaluation; error.txt among a failed run's artifacts says "
            "why: python -m sweeps.ui"
        )
        for warning in result.warnings:
            say(f"warning: {warning}")
        return
    console.print(_table(best_trials(result.trials, settings.objective), settings, examples))
    test = result.test
    say(
        f"test split, scored once, of trial {result.winner.key:03d}: accuracy "
        f"{test['test/accuracy']:.4f}, f1 {test['test/f1']:.4f}, loss {test['test/loss']:.4f}"
    )
    if result.confirmation is not None:
        say(result.confirmation.sentence())
    note = _better_baseline(result, settings.objective)
    if note:
        say(note)
    for line in _registered(result.registered, settings):
        say(line)
    if result.removed.models:
        say(str(result.removed))
    for warning in result.warnings:
        say(f"warning: {warning}")
    say("next:")
    commands = _next_commands(settings, uri, result.registered)
    width = max(map(len, commands))
    for command, what in commands.items():
        say(f"  {command:<{width}}  {what}")


def resume_command(name: str, settings: SweepSettings) -> str:
    """Return the command that goes on with a sweep."""
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


def experiment_flag(experiment: str) -> str:
    """Return what a further command must be given to find the same experiment."""
    return "" if experiment == EXPERIMENT else f" --experiment {shlex.quote(experiment)}"


def _table(ranked: Sequence[TrialRecord], settings: SweepSettings, examples: int) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("trial", settings.objective, "epochs", "parameters", "seconds", "outcome"):
        left = column in ("trial", "outcome")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for trial in ranked[:SHOWN]:
        metrics = trial.metrics
        table.add_row(
            trial.name,
            f"{metrics[f'best/{settings.objective}']:.4f}",
            f"{metrics['best/examples'] / examples:.2f}",
            f"{metrics.get('parameters/total', 0):,.0f}",
            f"{metrics.get('seconds/total', 0):.0f}",
            str(trial.outcome),
        )
    return table


def _registered(registered: RegisteredWinner | None, settings: SweepSettings) -> Iterator[str]:
    """Yield how the winner stands in the registry."""
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
    key = f"best/{objective}"
    sign = -1 if objective == "valid/loss" else 1
    baselines = [
        trial for trial in result.trials if trial.role == "baseline" and key in trial.metrics
    ]
    best = max(baselines, key=lambda trial: sign * trial.metrics[key], default=None)
    reached = result.winner.metrics[key]
    if best is None or not sign * best.metrics[key] > sign * reached:
        return None
    return (
        f"note: the baseline {best.key} is better on validation than the winner: {objective} "
        f"{best.metrics[key]:.4f}, the winner's {reached:.4f}"
    )


def _promote_command(settings: SweepSettings, registered: RegisteredWinner) -> str:
    """Return the command that promotes the winner."""
    name = settings.model_name
    named = "" if name == MODEL_NAME else f" --model-name {shlex.quote(name)}"
    version = "" if registered.challenger.is_winner else f" --version {registered.version}"
    return f"python -m sweeps.promote{version}{named}{cli.store_flag(settings.tracking_uri)}"


def _next_commands(
    settings: SweepSettings, uri: str, registered: RegisteredWinner | None
) -> dict[str, str]:
    """Return what to type next, and what for."""
    store = cli.store_flag(settings.tracking_uri)
    name = settings.model_name
    named = experiment_flag(settings.experiment)
    asked = "" if name == MODEL_NAME else f" --model {shlex.quote(f'models:/{name}@champion')}"
    browse = redacted(uri) if uri.startswith("http") else f"python -m sweeps.ui{store}"
    promote = {}
    if registered is not None:
        promote = {_promote_command(settings, registered): "make it the champion"}
    return {
        browse: "browse and compare",
        f"python -m sweeps.report{store}{named}": "the leaderboard, and the page again",
        **promote,
        f'python -m sentiment.predict{asked}{store} "This film is great"': "ask the champion",
    }
