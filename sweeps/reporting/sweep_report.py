"""The report of one sweep, or of several side by side, as sections of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient

from sentiment.data.datasets import Dataset
from sentiment.errors import InputError
from sentiment.inference.metrics import frequent_confusions
from sentiment.listing import short
from sentiment.tracking.runs import parameter_text
from sentiment.wording import counted, duration
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.predictions import Predictions, dataset_of, predict_split, surest_mistakes
from sweeps.analysis.seed_replicates import Confirmation, summarize
from sweeps.analysis.significance import p_value_text, wilson
from sweeps.analysis.sweep_data import SweepRecord
from sweeps.reporting.figures.drawing import Picture
from sweeps.reporting.figures.model import MATRIX_CLASSES, model_pictures
from sweeps.reporting.figures.search import search_pictures
from sweeps.reporting.leaderboard import BEST_AT, TRAINED, Row, number_text, rows, setting_text
from sweeps.reporting.page import Fact, Report, Section
from sweeps.reporting.tables import Cell, Grid
from sweeps.space.dimensions import Choice
from sweeps.tracking.queries import TrialRecord
from sweeps.trials.outcomes import label_of, present_counts

CONFUSIONS = 20
"""Kinds of confusion that a report shows where there are too many classes for a matrix."""
MISTAKES = 10
"""Texts that a report shows of what the winner got wrong."""

_PROVENANCE = {
    "provenance.command": "command",
    "provenance.git_commit": "git commit",
    "provenance.git_clean": "working tree clean",
    "provenance.python": "Python",
    "provenance.platform": "platform",
    "provenance.cpu": "CPU",
    "provenance.cpus": "cores",
    "provenance.gpu": "GPU",
    "provenance.precision": "precision",
}


def winner_predictions(
    client: MlflowClient, record: SweepRecord, dataset: Dataset | None = None
) -> Predictions | str:
    """Return what the winner says of the validation split, or why that can't be had.

    Args:
        client: client of the store.
        record: the sweep.
        dataset: its data, if it is loaded already.
    """
    winner = record.chosen  # a refit has seen the texts of validation
    if winner is None:
        return "No trial got as far as an evaluation, so there is no winner."
    if winner.model_id is None:
        return f"The winner, {winner.name}, has no saved model."
    try:
        data = dataset or dataset_of(client, record.run)
        return predict_split(client, winner.model_id, data, "valid")
    except InputError as error:
        return f"What the winner says of the validation split can't be shown: {error}"


def sweep_report(
    record: SweepRecord, predictions: Predictions | str, store: str = "", experiment: str = ""
) -> Report:
    """Return the report of one sweep.

    Args:
        record: the sweep.
        predictions: from `winner_predictions`.
        store: the flag that finds the store again, for the commands that the page names.
        experiment: the flag that finds the experiment again.
    """
    pictures = {picture.name: picture for picture in search_pictures(record)}
    return Report(
        title=f"Sweep {record.name}",
        subtitle=_subtitle(record),
        facts=_facts(record, predictions),
        sections=[
            Section(
                "leaderboard",
                "Leaderboard",
                text=[
                    f"All trials, the best by {record.objective} first; baselines come last. A "
                    "click on a heading sorts. A setting that had no effect in a trial is empty."
                ],
                grids=[leaderboard_grid(record)],
            ),
            Section("search", "How the search went", pictures=_of(pictures, "history", "curves")),
            Section(
                "hyperparameters",
                "What mattered",
                pictures=_of(pictures, "importance", "slices", "parallel"),
            ),
            Section(
                "cost",
                "What accuracy costs",
                pictures=_of(pictures, "parameters", "seconds", "timeline"),
            ),
            *_winner_sections(record, predictions),
            Section(
                "reproduce",
                "Going on, and doing it again",
                grids=[_provenance(record)],
                commands=_commands(record, store, experiment),
            ),
        ],
        warnings=_warnings(record),
    )


def leaderboard_grid(record: SweepRecord) -> Grid:
    """Return the leaderboard of a page."""
    names = list(record.space.dimensions)
    table = rows(record)
    tested = any("test/accuracy" in row.trial.metrics for row in table)
    metrics: dict[str, str] = {
        record.best_key: record.objective,
        "best/valid/accuracy": "valid/accuracy",
    }
    if tested:
        metrics["test/accuracy"] = "test/accuracy"
    return Grid(
        columns=[
            "#rank",
            "trial",
            *(f"#{title}" for title in metrics.values()),
            f"#{TRAINED}",
            f"#{BEST_AT}",
            "#parameters",
            "#seconds",
            "outcome",
            *(
                name if isinstance(record.space.dimensions[name], Choice) else f"#{name}"
                for name in names
            ),
        ],
        rows=[_row(record, row, names, list(metrics)) for row in table],
        sortable=True,
    )


def confirmed(record: SweepRecord) -> Confirmation:
    """Return what other seeds made of the winner's settings."""
    return summarize(record.confirmations, [str(run.key) for run in record.confirmations])


def confirmation_grid(record: SweepRecord) -> Grid:
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
    return Grid(
        ["metric", "#the winner", "#other seeds", "#mean", "#standard deviation", "#range"],
        table,
        caption="The winner's settings trained again with other seeds",
    )


def confused_grid(predictions: Predictions) -> Grid:
    """Return the most frequent confusions, for more classes than a matrix shows."""
    names = predictions.label_names
    found = frequent_confusions(predictions.scores().confusion, CONFUSIONS)
    return Grid(
        ["label", "taken for", "#texts"],
        [
            [Cell(short(names[label])), Cell(short(names[taken])), Cell(f"{count:,}", count)]
            for label, taken, count in found
        ],
        caption=f"The {len(found)} most frequent confusions on the validation split",
    )


def classes_grid(predictions: Predictions) -> Grid:
    """Return the metrics of every class."""
    classes = zip(predictions.label_names, predictions.scores().classes(), strict=True)
    return Grid(
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


def _row(record: SweepRecord, row: Row, names: Sequence[str], metrics: Sequence[str]) -> list[Cell]:
    trial = row.trial
    outcome = trial.outcome or "running"
    numbers = [(trial.metrics.get(metric), ".4f") for metric in metrics]
    numbers += [(trial.metrics.get("epoch"), ".2f"), (record.best_epoch(trial), ".2f")]
    numbers += [(trial.metrics.get(f"{each}/total"), ",.0f") for each in ("parameters", "seconds")]
    cells = [Cell(number_text(value, form), value) for value, form in numbers]
    settings = [
        Cell(
            setting_text(row.settings[name]) if name in row.settings else "",
            _order(row.settings.get(name)),
        )
        for name in names
    ]
    return [
        Cell("" if row.rank is None else str(row.rank), row.rank),
        Cell(trial.name if trial.role == "trial" else f"{trial.name} ({trial.role})"),
        *cells,
        Cell(label_of(outcome), kind=outcome),
        *settings,
    ]


def _order(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _of(pictures: Mapping[str, Picture], *names: str) -> list[Picture]:
    return [pictures[name] for name in names]


def _subtitle(record: SweepRecord) -> str:
    params = record.run.data.params
    searched = len(record.space.dimensions)
    return (
        f"{params.get('dataset', 'unknown data')}: {searched} hyperparameters searched by "
        f"{params.get('sampler', 'an unknown sampler')} under {params.get('scheduler', '?')}, "
        f"for {record.objective}; {params.get('workers', 'unknown workers')}"
    )


def _facts(record: SweepRecord, predictions: Predictions | str) -> list[Fact]:
    facts = []
    winner = record.winner
    if winner is not None:
        accuracy = winner.metrics["best/valid/accuracy"]
        note = winner.name
        if isinstance(predictions, Predictions):
            low, high = wilson(int(predictions.hits.sum()), len(predictions.hits))
            note += f"; 95% interval {low:.3f} to {high:.3f}, not counting that it was chosen"
        if record.objective != "valid/accuracy":
            value = winner.metrics[record.best_key]
            facts.append(Fact(f"best {record.objective}", f"{value:.4f}", "what it was chosen by"))
        facts.append(Fact("validation accuracy of the winner", f"{accuracy:.4f}", note))
        if "test/accuracy" in winner.metrics:
            tested = winner.metrics["test/accuracy"]
            facts.append(
                Fact("its test accuracy", f"{tested:.4f}", "scored once, after the choice")
            )
        compared = ClassicalComparison.from_metrics(record.run.data.metrics)
        if compared is not None:
            facts.append(
                Fact(
                    "against nb-logistic",
                    f"{compared.difference * 100:+.2f} points",
                    f"test accuracy {compared.accuracy:.4f} of naive-Bayes n-grams; McNemar's "
                    f"{p_value_text(compared.p_value, named=True)}",
                )
            )
    if record.confirmations:
        again = confirmed(record)
        facts.append(
            Fact(
                "test accuracy over seeds",
                str(again.spreads.get("test/accuracy", "–")),
                f"the winner's settings with {counted(again.seeds, 'other seed')}",
            )
        )
    facts.append(Fact("trials", str(len(record.trials)), present_counts(record.outcomes)))
    info = record.run.info
    if info.end_time is not None:
        time = duration((info.end_time - info.start_time) / 1000)
        budget = record.time_budget
        note = "" if budget is None else f"; time budget of the search: {duration(budget)}"
        facts.append(Fact("time", time, f"state: {_state(record)}{note}"))
    seen = [max(curve) for curve in record.curves.values() if curve]
    if "completed" in record.outcomes and {"stopped_early", "out_of_time"} & set(record.outcomes):
        share = sum(seen) / (len(seen) * max(seen))
        facts.append(
            Fact("training done", f"{share:.0%}", "of what all trials at full length would take")
        )
    return facts


def _state(record: SweepRecord) -> str:
    return record.run.data.tags.get("sweep.state", "unknown")


def _warnings(record: SweepRecord) -> list[str]:
    warnings = []
    if _state(record) != "finished":
        warnings.append(f"The sweep is {_state(record)}: this is how it stood when this was made.")
    if record.cut_short:
        warnings.append(record.cut_short)
    failed = record.outcomes.get("failed", 0)
    if failed:
        trials = counted(failed, "trial")
        warnings.append(f"{trials} failed: error.txt among a failed run's artifacts says why.")
    return warnings


def _refit_note(record: SweepRecord) -> str:
    if record.winner is None or record.winner.role != "refit":
        return ""
    return (
        f" What is registered is {record.winner.name}: the same settings, trained on train and "
        "validation together."
    )


def _winner_sections(record: SweepRecord, predictions: Predictions | str) -> list[Section]:
    winner = record.winner
    grids = [] if winner is None else _settings_grids(record, winner)
    if record.confirmations:
        grids.append(confirmation_grid(record))
    if isinstance(predictions, str):
        return [Section("winner", "The winner", text=[predictions], grids=grids)]
    assert winner is not None and record.chosen is not None
    scores = predictions.scores()
    if len(predictions.label_names) > MATRIX_CLASSES:
        grids += [confused_grid(predictions), classes_grid(predictions)]
    mistakes = surest_mistakes(predictions, MISTAKES)
    return [
        Section(
            "winner",
            "The winner",
            text=[
                f"{record.chosen.name}, loaded from its logged model and scored in float32 on the "
                f"{counted(scores.count, 'text')} of the validation split: accuracy "
                f"{scores.accuracy:.4f}, f1 {scores.f1:.4f}, loss {scores.loss:.4f} (accuracy "
                f"{winner.metrics['best/valid/accuracy']:.4f} was recorded as it trained). It was "
                "chosen on these texts, so they flatter it; the test split is not used here."
                + _refit_note(record)
            ],
            grids=grids,
            pictures=model_pictures(predictions, "the winner"),
        ),
        Section(
            "mistakes",
            "Its surest mistakes",
            text=[
                f"The {counted(len(mistakes), 'text')} of the validation split that it got wrong "
                "with the greatest confidence. Wrong labels, irony and mixed verdicts gather here."
                if mistakes
                else "It made none on the validation split."
            ],
            mistakes=mistakes,
        ),
    ]


def _settings_grids(record: SweepRecord, winner: TrialRecord) -> list[Grid]:
    searched = record.settings_of(winner)
    fixed = {n: v for n, v in winner.parameters.items() if n not in record.space.dimensions}
    return [
        Grid(
            list(searched),
            [[Cell(setting_text(value)) for value in searched.values()]],
            caption=f"What was searched of {winner.name}",
        ),
        Grid(
            ["setting", "value"],
            [[Cell(name), Cell(setting_text(value))] for name, value in sorted(fixed.items())],
            caption="What was fixed for all trials, and the seed",
            folded=True,
        ),
    ]


def _provenance(record: SweepRecord) -> Grid:
    tags, params = record.run.data.tags, record.run.data.params
    known = [(label, tags[tag]) for tag, label in _PROVENANCE.items() if tag in tags]
    known += [("run", record.run.info.run_id)]
    # A resume may have changed these; parameters are as at the start.
    asked = {"trials": record.asked, "time_budget": record.time_budget}
    now = {name: parameter_text(value) for name, value in asked.items() if value is not None}
    known += sorted({**params, **now}.items())
    return Grid(["", "value"], [[Cell(label), Cell(value)] for label, value in known])


def _commands(record: SweepRecord, store: str, experiment: str) -> list[tuple[str, str]]:
    commands = [
        (f"python -m sweeps.ui{store}", "browse the runs"),
        (f"python -m sweeps.report {record.name}{store}{experiment}", "make this report again"),
    ]
    if record.winner is not None:
        commands.insert(0, (f"python -m sweeps.promote --sweep {record.name}{store}", "promote it"))
        best = " ".join(trial.run_id for trial in record.ranked[:2])
        if len(record.ranked) > 1:
            commands.append(
                (
                    f"python -m sweeps.report {best}{store}{experiment}",
                    "compare the two best, with a test",
                )
            )
    return commands
