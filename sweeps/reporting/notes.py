"""The descriptions of sweeps, trials and versions on MLflow's pages, in Markdown.

Links are relative to the page, so they hold under whatever address the store is served.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, Dataset
from sentiment.listing import listed
from sentiment.tracking.experiment import experiment_flag
from sentiment.tracking.registered_name import model_name_flag
from sentiment.tracking.runs import parameter_text
from sentiment.wording import counted, duration
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.measured_slices import MeasuredSlices
from sweeps.analysis.seed_replicates import Confirmation
from sweeps.config import SweepSettings
from sweeps.reporting.front import limits_text, none_within
from sweeps.reporting.leaderboard import BEST_AT, TRAINED, number_text
from sweeps.reporting.model_card import model_card
from sweeps.search.rungs import Rungs
from sweeps.space.dimensions import Choice, Dimension
from sweeps.space.space import SearchSpace
from sweeps.tracking.members import members_sentence
from sweeps.tracking.queries import TrialRecord, best_trials
from sweeps.tracking.runs_view import RUNS, trials_page
from sweeps.trials.outcomes import budget_sentence, count_parts, counts_of, label_of

RUN_LIMIT = 8_000
"""Characters of a run's description: MLflow cuts a longer one."""
VERSION_LIMIT = 5_000
"""Characters of a version's description that MLflow's table of versions has room for."""
CHOICES = 20
"""Values of a choice that a description lists."""
BEST = 5
"""Trials that a description lists."""
WIDTH = 96
"""Characters of a line of a command: a longer one would widen MLflow's whole page."""


@dataclass(frozen=True)
class Subject:
    """What a sweep's descriptions are about; it is known when the sweep starts.

    Attributes:
        name: the sweep.
        run_id: its run.
        experiment_id: the experiment of all its runs.
        command: what started it.
        commit: the code's, if it is known.
        threads: CPU threads of a trial.
    """

    name: str
    run_id: str
    experiment_id: str
    settings: SweepSettings
    dataset: Dataset
    space: SearchSpace
    rungs: Rungs
    command: str
    commit: str | None
    threads: int

    def run_link(self, title: str, run_id: str) -> str:
        """Return a link to a run of the sweep."""
        return f"[{title}](#/experiments/{self.experiment_id}/runs/{run_id}?{RUNS})"

    def trials_link(self, title: str) -> str:
        """Return a link to the table of the sweep's trials, the best first."""
        return f"[{title}]({trials_page(self.experiment_id, self.name)})"


def running_sweep(subject: Subject) -> str:
    """Describe a sweep that has not ended."""
    return _joined(
        f"{_asked_for(subject)} It has not ended. If its state (`sweep.state`) is interrupted, "
        "this resumes it:",
        _code(
            f"python -m sweeps.launch --resume {subject.name}{_store(subject.settings)}"
            f"{experiment_flag(subject.settings.experiment)}"
        ),
        f"{subject.trials_link('Its trials so far, the best first')}.",
        *_searched(subject),
    )


def ended_sweep(
    subject: Subject,
    trials: Sequence[TrialRecord],
    winner: TrialRecord | None,
    test: Mapping[str, float],
    version: int | None,
    confirmation: Confirmation | None,
    warnings: Sequence[str] = (),
    comparison: ClassicalComparison | None = None,
) -> str:
    """Describe a sweep that has ended.

    Args:
        subject: the sweep.
        trials: all that it ran.
        winner: the best by validation; None if no trial was evaluated.
        test: the winner's metrics on the test split.
        version: of the registered model.
        confirmation: the winner's settings with other seeds.
        warnings: what is likely to be wrong with the texts or the winner.
        comparison: with the classical baseline; None without one.
    """
    outcomes = [trial.outcome for trial in trials if trial.role == "trial"]
    budget = budget_sentence(subject.settings.time_budget, subject.settings.trials, outcomes)
    ended = f"Trials: {', '.join(count_parts(counts_of(outcomes)))}."
    parts = [" ".join(filter(None, (_asked_for(subject), ended, budget)))]
    if winner is None:
        missed = none_within(trials, subject.settings.objectives)
        parts.append(
            f"{missed[:1].upper()}{missed[1:]}."
            if missed
            else "No trial got as far as an evaluation: `error.txt` of a failed one says why."
        )
        parts += _warned(warnings)
        return _joined(*parts, *_reproduce(subject, None), *_searched(subject))
    settings = subject.settings
    link = _version_link(settings.model_name, version)
    parts += [
        "### Result",
        f"The best by validation is {subject.run_link(winner.name, winner.run_id)}: "
        f"{settings.objective} {winner.metrics[f'best/{settings.objective}']:.4f}. On the test "
        f"split, scored once, after the choice: **accuracy {test['test/accuracy']:.4f}**, f1 "
        f"{test['test/f1']:.4f}, loss {test['test/loss']:.4f}. It is {link}.",
        *_ensemble(winner),
        *_warned(warnings),
    ]
    if comparison is not None:
        parts.append(comparison.sentence())
    if confirmation is not None:
        parts.append(confirmation.sentence())
    parts += [
        "### Promote",
        _code(
            f"python -m sweeps.promote --sweep {subject.name}"
            f"{model_name_flag(settings.model_name)}{_store(settings)}"
        ),
        "It makes the model the champion if its files are those registered, it holds what is "
        "recorded here, and it is no worse than the present one on the test split.",
        *_reproduce(subject, None if winner.members else winner),
        f"### The best {min(BEST, len(best_trials(trials, settings.objective)))}",
        _best_table(subject, trials),
        f"{subject.trials_link('All its trials, the best first')}.",
    ]
    return _joined(*parts, *_searched(subject))


def winners_version(
    subject: Subject,
    winner: TrialRecord,
    trials: int,
    test: Mapping[str, float],
    confirmation: Confirmation | None,
    warnings: Sequence[str] = (),
    comparison: ClassicalComparison | None = None,
    measured: MeasuredSlices | None = None,
) -> str:
    """Describe the version of the registered model that a sweep's winner is.

    Args:
        subject: the sweep.
        winner: its best trial.
        trials: how many were evaluated.
        test: the winner's metrics on the test split.
        confirmation: the winner's settings with other seeds.
        warnings: what is likely to be wrong with the texts or the winner.
        comparison: with the classical baseline; None without one.
        measured: the winner on parts of the test split; None leaves the model card out.
    """
    settings = subject.settings
    rows = [
        f"| {name} | {winner.metrics[f'best/valid/{name}']:.4f} | {test[f'test/{name}']:.4f} |"
        for name in ("accuracy", "f1", "loss")
    ]
    parts = [
        # MLflow's table of versions shows the start of this as plain text.
        f"Best of {counted(trials, 'trial')} on {subject.dataset.name}: test accuracy "
        f"{test['test/accuracy']:.4f}, scored once, after the choice by {settings.objective}.",
        f"Run {subject.run_link(winner.name, winner.run_id)} of the sweep "
        f"{subject.run_link(subject.name, subject.run_id)}; fingerprint of the data "
        f"`{subject.dataset.fingerprint[:12]}`.",
        "\n".join(["| | validation | test |", "| --- | --- | --- |", *rows]),
        *_ensemble(winner),
        *_warned(warnings),
    ]
    if comparison is not None:
        parts.append(comparison.sentence())
    if confirmation is not None:
        parts.append(confirmation.sentence())
    if winner.parameters.get("packing") == "padded":
        parts.append("Its probabilities depend on what else is in the batch: it reads the padding.")
    size = f"{winner.metrics['parameters/total']:,.0f} parameters"
    if winner.members:
        parts.append(f"{size} in all members; their runs have their settings.")
    else:
        parts += [f"{size}; what differs from the defaults:", _code("\n".join(_changed(winner)))]
    if measured is not None:
        # An ensemble's members have settings each.
        config = None if winner.members else Config.from_flat(winner.parameters)
        parts += model_card(subject.dataset, config, measured)
    return _joined(*parts, limit=VERSION_LIMIT)


def registered_model(name: str) -> str:
    """Describe the registered model, whatever its versions are."""
    named = model_name_flag(name)
    return _joined(
        "Text classifiers found by sweeps. A model takes a column `text` of raw texts and gives "
        "`label` and `probability`; it brings its own code.",
        "\n".join(
            [
                "| alias | is |",
                "| --- | --- |",
                "| `challenger` | the best on validation of the sweeps on the newest data |",
                "| `champion` | the model that answers; a promotion alone moves it |",
                "| `previous` | the champion before it |",
            ]
        ),
        _code(
            f"python -m sweeps.promote{named}             # if it is no worse than the champion\n"
            f"python -m sweeps.promote{named} --rollback  # the champion before\n"
            f"{cli.predict_command(named, None)}"
        ),
        "Every move of `champion` is a tag below, with its time and the figures that decided. "
        "`test_looks.` with the start of a data set's fingerprint says how often its test split "
        "was scored for these models.",
    )


def training_command(subject: Subject, trial: TrialRecord) -> str:
    """Return the command that trains a trial again by itself."""
    settings = " ".join(shlex.quote(each) for each in _changed(trial))
    data = _data_flags(subject.settings.data)
    return _wrapped(f"python -m sentiment.train --threads {subject.threads}{data} --set {settings}")


def _asked_for(subject: Subject) -> str:
    settings = subject.settings
    sizes = {name: len(split.texts) for name, split in subject.dataset.splits.items()}
    texts = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    labels = listed(subject.dataset.label_names)
    limits = settings.objectives.limits
    within = f" within {limits_text(settings.objectives)}" if limits else ""
    return (
        f"A search of {counted(settings.trials, 'trial')} for the best {settings.objectives}"
        f"{within} on "
        f"**{subject.dataset.name}** ({texts} texts; labels {labels}; "
        f"fingerprint `{subject.dataset.fingerprint[:12]}`)."
    )


def _searched(subject: Subject) -> list[str]:
    settings, rungs = subject.settings, subject.rungs
    stops = f"{rungs.describe(settings.scheduler)} ({settings.scheduler})"
    rows = [
        f"| `{name}` | {_range(dimension)} |"
        for name, dimension in subject.space.dimensions.items()
    ]
    fixed = ", ".join(
        f"`{name}` {parameter_text(value)}" for name, value in subject.space.fixed.items()
    )
    parts = [
        "### What was searched",
        f"By {settings.sampler}, seed {settings.seed}. A trial's budget is "
        f"{settings.trial_epochs:g} epochs, {rungs.budget:,} training examples; {stops}."
        + (
            ""
            if settings.time_budget is None
            else f" The search as a whole had {duration(settings.time_budget)}."
        ),
    ]
    if rows:
        parts.append("\n".join(["| setting | values |", "| --- | --- |", *rows]))
    if fixed:
        parts.append(f"Fixed: {fixed}. All else is at its default.")
    return parts


def _range(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        text = listed([parameter_text(value) for value in dimension.values], CHOICES)
    else:
        text = f"{dimension.low:g} to {dimension.high:g}{', log scale' if dimension.log else ''}"
        if getattr(dimension, "step", 1) != 1:
            text += f", in steps of {dimension.step}"  # type: ignore[union-attr]
    for condition in dimension.when:
        values = " or ".join(parameter_text(value) for value in condition.values)
        text += f"; where `{condition.parent}` is {values}"
    return text


def _best_table(subject: Subject, trials: Sequence[TrialRecord]) -> str:
    objective = subject.settings.objective
    examples = len(subject.dataset.splits["train"].texts)
    rows = [
        f"| {subject.run_link(trial.name, trial.run_id)} "
        f"| {trial.metrics[f'best/{objective}']:.4f} "
        f"| {number_text(trial.metrics.get('epoch'), '.2f')} "
        f"| {trial.metrics['best/examples'] / examples:.2f} "
        f"| {trial.metrics.get('parameters/total', 0):,.0f} "
        f"| {trial.metrics.get('seconds/total', 0):.0f} | {label_of(trial.outcome)} |"
        for trial in best_trials(trials, objective)[:BEST]
    ]
    head = f"| trial | {objective} | {TRAINED} | {BEST_AT} | parameters | seconds | outcome |"
    return "\n".join([head, "| --- | ---: | ---: | ---: | ---: | ---: | --- |", *rows])


def _reproduce(subject: Subject, winner: TrialRecord | None) -> list[str]:
    code = f"git checkout {subject.commit}\n" if subject.commit else ""
    parts = ["### Reproduce", _code(f"{code}{_wrapped(subject.command)}")]
    if winner is not None:
        parts += ["The best trial alone:", _code(training_command(subject, winner))]
    return parts


def _wrapped(command: str) -> str:
    """Return a command over several lines, as a shell reads it."""
    lines = [""]
    # Not within quotes: what has blanks stays in one piece.
    for word in (shlex.quote(word) for word in shlex.split(command)):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("  ")
        lines[-1] += f"{' ' if lines[-1].strip() else ''}{word}"
    return " \\\n".join(lines)


def _changed(trial: TrialRecord) -> list[str]:
    """Return what differs from the defaults, as `--set` takes it."""
    defaults = Config().flat()
    return [
        f"{name}={parameter_text(value)}"
        for name, value in trial.parameters.items()
        if value != defaults.get(name)
    ]


def _data_flags(config: DataConfig) -> str:
    return "".join(f" {shlex.quote(word)}" for word in cli.data_flags(config))


def _version_link(name: str, version: int | None) -> str:
    if version is None:
        return "not registered"
    return f"[version {version} of {name}](#/models/{name}/versions/{version})"


def _store(settings: SweepSettings) -> str:
    return cli.store_flag(settings.tracking_uri)


def _code(text: str) -> str:
    return f"```\n{text}\n```"


def _ensemble(winner: TrialRecord) -> list[str]:
    """Return what the members of an ensemble contribute; nothing of a single model."""
    if not winner.members:
        return []
    return [f"It is an {members_sentence(winner.members, winner.metrics)}."]


def _warned(warnings: Sequence[str]) -> list[str]:
    return [f"**Warning:** {warning}." for warning in warnings]


def _joined(*parts: str, limit: int = RUN_LIMIT) -> str:
    """Join parts, the essential ones first: what goes beyond the limit is left out whole."""
    note = "(What else there is to say does not fit here: see the run's parameters and artifacts.)"
    text = "\n\n".join(parts)
    count = len(parts)
    while len(text) > limit and count > 1:
        count -= 1
        text = "\n\n".join([*parts[:count], note])
    return text
