"""The winner in a report: its scores, its n-grams, its settings, its most confident errors."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow import MlflowClient

from sentiment.data.datasets import Dataset
from sentiment.errors import InputError
from sentiment.inference.metrics import frequent_confusions
from sentiment.listing import short
from sentiment.wording import counted
from sweeps.analysis.predictions import (
    MISTAKES,
    Mistake,
    Predictions,
    bundle_predictions,
    dataset_of,
    judged_model,
    most_confident_errors,
    parts_that_erred,
)
from sweeps.analysis.seed_replicates import Confirmation, summarize
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.confusion import MATRIX_CLASSES
from sweeps.reporting.figures.model_figures import model_figures
from sweeps.reporting.front import none_within
from sweeps.reporting.leaderboard import number_text, setting_text
from sweeps.reporting.page import Section
from sweeps.reporting.tables import Cell, PageTable
from sweeps.tracking.members import members_sentence
from sweeps.tracking.queries import TrialRecord

CONFUSIONS = 20
"""Kinds of confusion that a report shows where there are too many classes for a matrix."""


def winner_predictions(
    client: MlflowClient, record: SweepData, dataset: Dataset | None = None
) -> Predictions | str:
    """Return what the winner says of the validation split, or why that can't be had.

    Args:
        client: client of the store.
        record: the sweep.
        dataset: its data, if it is loaded already.
    """
    chosen, winner = record.chosen, record.winner
    if chosen is None or winner is None:
        missed = none_within(record.trials, record.objectives)
        if missed is not None:
            return f"{missed[:1].upper()}{missed[1:]}."
        return "No trial got as far as an evaluation, so there is no winner."
    if chosen.model_id is None:
        return f"The winner, {chosen.name}, has no saved model."
    try:
        data = dataset or dataset_of(client, record.run)
        judged = judged_model(client, chosen, winner, record.everything)
        return bundle_predictions(judged, data, "valid", explained=MISTAKES)
    except InputError as error:
        return f"What the winner says of the validation split can't be shown: {error}"


def confirmed(record: SweepData) -> Confirmation:
    """Return what other seeds made of the winner's settings."""
    return summarize(record.confirmations, [str(run.key) for run in record.confirmations])


def seed_replicates_table(record: SweepData) -> PageTable:
    """Return mean and spread of the runs that trained the winner's settings again."""
    winner = record.winner
    table = []
    for name, spread in confirmed(record).spreads.items():
        recorded = name if name.startswith("test/") else f"best/{name}"
        values = [run.metrics[recorded] for run in record.confirmations if recorded in run.metrics]
        table.append(
            [
                Cell(name),
                Cell(number_text(winner.metrics.get(recorded) if winner else None, ".4f")),
                Cell(str(len(values))),
                Cell(f"{spread.mean:.4f}"),
                Cell(number_text(spread.deviation, ".4f")),
                Cell(f"{min(values):.4f} to {max(values):.4f}"),
            ]
        )
    return PageTable(
        ["metric", "#the winner", "#other seeds", "#mean", "#standard deviation", "#range"],
        table,
        caption="The winner's settings trained again with other seeds",
    )


def confused_table(predictions: Predictions) -> PageTable:
    """Return the most frequent confusions, for more classes than a matrix shows."""
    names = predictions.label_names
    found = frequent_confusions(predictions.scores().confusion, CONFUSIONS)
    return PageTable(
        ["label", "taken for", "#texts"],
        [
            [Cell(short(names[label])), Cell(short(names[taken])), Cell(f"{count:,}", count)]
            for label, taken, count in found
        ],
        caption=f"The {len(found)} most frequent confusions on the validation split",
    )


def classes_table(predictions: Predictions) -> PageTable:
    """Return the metrics of every class."""
    classes = zip(predictions.label_names, predictions.scores().classes(), strict=True)
    return PageTable(
        ["label", "#texts", "#predicted", "#precision", "#recall", "#f1"],
        [
            [
                Cell(short(name)),
                Cell(f"{each.count:,}", each.count),
                Cell(f"{each.predicted:,}", each.predicted),
                *(Cell(number_text(v, ".4f"), v) for v in (each.precision, each.recall, each.f1)),
            ]
            for name, each in classes
        ],
        sortable=True,
        caption="Each label on the validation split",
        folded=True,
    )


def _erred(predictions: Predictions) -> str:
    """Return which part of a model with an n-gram branch made its mistakes."""
    counts = parts_that_erred(predictions)
    if not counts:
        return ""
    both = counts.pop("both")
    alone = ", ".join(f"of {count:,} the {part} alone" for part, count in counts.items())
    return f" Of {sum(counts.values()) + both:,} mistakes in all both parts made {both:,}, {alone}."


def _shading_note(mistakes: Sequence[Mistake]) -> str:
    """Return what shaded words mean, where there are any."""
    if not any(mistake.weights for mistake in mistakes):
        return ""
    missing = sum(not mistake.weights for mistake in mistakes)
    return (
        " Words are shaded by their weight in the answer: green for what it was taken for, red "
        "against it (integrated gradients, and the weights of n-grams)."
        + (f" {counted(missing, 'text is', 'texts are')} too long for that." if missing else "")
    )


def ngrams_table(predictions: Predictions) -> PageTable:
    """Return the n-grams with the largest weights for each class."""
    columns = [(label, rows) for label, rows in predictions.ngrams.items()]
    longest = max(len(rows) for _, rows in columns)
    rows = [
        [
            Cell(f"{words} ({weight:+.2f})")
            for _, found in columns
            for words, weight in [found[place] if place < len(found) else ("", 0.0)]
        ]
        for place in range(longest)
    ]
    return PageTable(
        [label for label, _ in columns],
        rows,
        caption="N-grams with the largest weights for each class",
        folded=len(columns) > MATRIX_CLASSES,
    )


def _judged(winner: TrialRecord, chosen: TrialRecord) -> str:
    """Return the name of what predicted the validation split, and where it comes from."""
    if winner.members:
        return f"The {winner.name}, its members loaded as they were before any refit"
    return f"{chosen.name}, loaded from its logged model"


def _registered_note(record: SweepData) -> str:
    """Return what is registered, where it is not the chosen run itself."""
    winner = record.winner
    if winner is None or winner is record.chosen:
        return ""
    if winner.members:
        refit = any(run.role == "refit" for run in record.finals)
        again = ", each trained again on train and validation together" if refit else ""
        return (
            f" What is registered is an {members_sentence(winner.members, winner.metrics)}{again}."
        )
    return (
        f" What is registered is {winner.name}: the same settings, trained on train and "
        "validation together."
    )


def winner_sections(record: SweepData, predictions: Predictions | str) -> list[Section]:
    """Return the sections on the winner and on its mistakes.

    Args:
        record: the sweep.
        predictions: from `winner_predictions`.
    """
    winner = record.winner
    tables = [] if winner is None else _settings_tables(record, winner)
    if winner is not None and winner.members:
        tables = [members_table(winner)]
    if record.confirmations:
        tables.append(seed_replicates_table(record))
    if isinstance(predictions, str):
        return [Section("winner", "The winner", text=[predictions], tables=tables)]
    assert winner is not None and record.chosen is not None
    scores = predictions.scores()
    if len(predictions.label_names) > MATRIX_CLASSES:
        tables += [confused_table(predictions), classes_table(predictions)]
    if predictions.ngrams:
        tables.append(ngrams_table(predictions))
    mistakes = most_confident_errors(predictions, MISTAKES)
    return [
        Section(
            "winner",
            "The winner",
            text=[
                f"{_judged(winner, record.chosen)} and scored in float32 on the "
                f"{counted(scores.count, 'text')} of the validation split: accuracy "
                f"{scores.accuracy:.4f}, f1 {scores.f1:.4f}, loss {scores.loss:.4f} (accuracy "
                f"{winner.metrics['best/valid/accuracy']:.4f} was recorded before). It was "
                "chosen on these texts, so they flatter it; the test split is not used here."
                + _registered_note(record)
            ],
            tables=tables,
            figures=model_figures(predictions, "the winner"),
        ),
        Section(
            "mistakes",
            "Its most confident errors",
            text=[
                f"The {counted(len(mistakes), 'text')} of the validation split that it got wrong "
                "with the greatest confidence. Wrong labels, irony and mixed verdicts gather here."
                + _erred(predictions)
                + _shading_note(mistakes)
                if mistakes
                else "It made none on the validation split."
            ],
            mistakes=mistakes,
        ),
    ]


def members_table(ensemble: TrialRecord) -> PageTable:
    """Return the members of an ensemble: weight, and their own metrics on validation."""
    return PageTable(
        ["member", "#weight", "#valid/loss", "#valid/accuracy"],
        [
            [
                Cell(each.title),
                Cell(f"{each.weight:.2f}", each.weight),
                Cell(f"{each.loss:.4f}", each.loss),
                Cell(f"{each.accuracy:.4f}", each.accuracy),
            ]
            for each in ensemble.members
        ],
        caption=f"The members of the {ensemble.name}, each by itself",
    )


def _settings_tables(record: SweepData, winner: TrialRecord) -> list[PageTable]:
    searched = record.settings_of(winner)
    fixed = {n: v for n, v in winner.parameters.items() if n not in record.space.dimensions}
    return [
        PageTable(
            list(searched),
            [[Cell(setting_text(value)) for value in searched.values()]],
            caption=f"What was searched of {winner.name}",
        ),
        PageTable(
            ["setting", "value"],
            [[Cell(name), Cell(setting_text(value))] for name, value in sorted(fixed.items())],
            caption="What was fixed for all trials, and the seed",
            folded=True,
        ),
    ]
