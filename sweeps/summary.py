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
from sentiment.datasets import Dataset
from sentiment.devices import precision_name
from sentiment.experiment import experiment_flag
from sentiment.model_store import MODEL_NAME
from sentiment.provenance import redacted
from sentiment.tracking_server import is_server, server_address
from sweeps.confirmation import Confirmation
from sweeps.history import TrialRecord, best_trials
from sweeps.plan import Rungs
from sweeps.retention import Removed
from sweeps.runs_view import LOCAL_PAGES, trials_page
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
        version: of the registered model.
        seconds: from the launch to the end.
        confirmation: the winner's settings with other seeds; None if there were none.
        removed: the models of trials that were not among the best.
    """

    name: str
    run_id: str
    trials: list[TrialRecord]
    winner: TrialRecord | None
    test: dict[str, float]
    version: int | None
    seconds: float
    confirmation: Confirmation | None
    removed: Removed

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
            "version": self.version,
            "confirmation": self.confirmation.metrics() if self.confirmation else None,
            "models": {"kept": self.removed.kept, "removed": self.removed.models},
            "seconds": round(self.seconds, 1),
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
    for name, split in dataset.splits.items():
        yield f"{dataset.name} {name}: {len(split.texts):,} texts"
    yield f"labels: {', '.join(dataset.label_names)}"
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
            f"why: {_browse(settings, uri)}"
        )
        return
    console.print(_table(best_trials(result.trials, settings.objective), settings, examples))
    test = result.test
    say(
        f"test split, scored once, of trial {result.winner.key:03d}: accuracy "
        f"{test['test/accuracy']:.4f}, f1 {test['test/f1']:.4f}, loss {test['test/loss']:.4f}"
    )
    if result.confirmation is not None:
        say(result.confirmation.sentence())
    say(f"registered as version {result.version} of {settings.model_name}, alias challenger")
    if result.removed.models:
        say(str(result.removed))
    say("next:")
    commands = _next_commands(settings, uri)
    width = max(map(len, commands))
    for command, what in commands.items():
        say(f"  {command:<{width}}  {what}")
    browse, page = _browse(settings, uri), trials_page(experiment_id, result.name)
    if is_server(uri):
        say(f"all trials, the best first: {browse}/{page}")
    else:
        say(f"all trials, the best first, while {browse} runs: {LOCAL_PAGES}/{page}")


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


def _next_commands(settings: SweepSettings, uri: str) -> dict[str, str]:
    """Return what to type next, and what for."""
    store = cli.store_flag(settings.tracking_uri)
    name = settings.model_name
    named = experiment_flag(settings.experiment)
    promoted = "" if name == MODEL_NAME else f" --model-name {name}"
    asked = "" if name == MODEL_NAME else f" --model models:/{name}@champion"
    return {
        _browse(settings, uri): "browse and compare",
        f"python -m sweeps.report{store}{named}": "the leaderboard, and the page again",
        f"python -m sweeps.promote{promoted}{store}": "make it the champion",
        f'python -m sentiment.predict{asked}{store} "This film is great"': "ask the champion",
    }


def _browse(settings: SweepSettings, uri: str) -> str:
    """Return where MLflow's pages are: a server's address, or the command that serves them."""
    if is_server(uri):
        return server_address(uri)
    store = cli.store_flag(settings.tracking_uri)
    return f"python -m sweeps.ui{store}{experiment_flag(settings.experiment)}"
