"""The model card of a registered version: use, measured slices, known limits.

In the manner of Mitchell et al. (2019), "Model Cards for Model Reporting", arXiv:1810.03993. What
it says of limits follows from figures of the test split; it claims nothing that was not measured.
"""

from __future__ import annotations

from sentiment.config import Config
from sentiment.data.datasets import Dataset
from sentiment.listing import listed, short
from sentiment.wording import counted
from sweeps.analysis.measured_slices import LengthSlice, MeasuredSlices
from sweeps.analysis.significance import wilson

LABELS = 12
"""Labels that a card lists, those with the lowest recall first where there are more."""
CONFIDENT = 0.02
"""Difference of mean probability and accuracy from which on a card calls it a limit."""


def model_card(dataset: Dataset, config: Config | None, measured: MeasuredSlices) -> list[str]:
    """Return the paragraphs and tables of a card, in Markdown.

    Args:
        dataset: what the model was trained and measured on.
        config: its settings; None of an ensemble.
        measured: its predictions of the test split.
    """
    parts = ["### Intended use", _use(dataset), "### By label, on test", _labels_table(measured)]
    if measured.lengths:
        parts += ["### By length, on test", _lengths_table(measured.lengths)]
    limits = "\n".join(f"- {limit}" for limit in known_limits(config, measured))
    return [*parts, "### Known limits", limits]


def known_limits(config: Config | None, measured: MeasuredSlices) -> list[str]:
    """Return what the model is known to do worse, a sentence each; see `model_card`."""
    scores = measured.scores
    limits = ["Texts of other kinds, sources or languages than these were not measured."]
    weakest = [
        (recall, name, each.count)
        for name, each in measured.labels
        if (recall := each.recall) is not None
        and wilson(round(recall * each.count), each.count)[1] < scores.accuracy
    ]
    limits += [
        f"Of the {counted(count, 'text')} labelled {short(name)} it finds {recall:.0%}, fewer "
        f"than of all ({scores.accuracy:.0%})."
        for recall, name, count in sorted(weakest)[:3]
    ]
    limits += [
        f"Texts of {_range(part)} characters: accuracy {part.accuracy:.4f}, below that of all."
        for part in measured.lengths
        if part.interval[1] < scores.accuracy
    ]
    difference = measured.confidence - scores.accuracy
    if abs(difference) >= CONFIDENT:
        limits.append(
            f"Its probabilities are too {'high' if difference > 0 else 'low'}: "
            f"{measured.confidence:.2f} on average where {scores.accuracy:.2f} are right."
        )
    kept = config.text.max_length if config else 0
    if config and kept:
        which = {"head": "first", "tail": "last"}.get(config.text.truncation, "first and last")
        whole = ", the n-grams read all" if config.model.ngrams else ""
        limits.append(f"Of a text its RNN reads the {which} {kept:,} tokens{whole}.")
    return limits


def _use(dataset: Dataset) -> str:
    sizes = {name: len(split.texts) for name, split in dataset.splits.items()}
    texts = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    return (
        f"It labels a text like those of {dataset.name} as "
        f"one of {listed(dataset.label_names, LABELS)} ({texts} texts)."
    )


def _labels_table(measured: MeasuredSlices) -> str:
    shown = measured.labels
    if len(shown) > LABELS:
        shown = sorted(shown, key=lambda named: _or_last(named[1].recall))[:LABELS]
    rows = [
        f"| {short(name)} | {each.count:,} | {_share(each.precision)} | {_share(each.recall)} "
        f"| {_share(each.f1)} |"
        for name, each in shown
    ]
    left = len(measured.labels) - len(shown)
    more = [f"\n{left} more, whose recall is higher."] if left else []
    head = ["| label | texts | precision | recall | f1 |", "| --- | ---: | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows, *more])


def _lengths_table(lengths: list[LengthSlice]) -> str:
    rows = [
        f"| {_range(part)} | {part.count:,} | {part.accuracy:.4f} "
        f"| {part.interval[0]:.4f} to {part.interval[1]:.4f} |"
        for part in lengths
    ]
    head = ["| characters | texts | accuracy | 95% interval |", "| --- | ---: | ---: | --- |"]
    return "\n".join([*head, *rows])


def _range(part: LengthSlice) -> str:
    return f"{part.shortest:,} to {part.longest:,}"


def _or_last(recall: float | None) -> float:
    """Return what sorts a label without texts behind all others."""
    return 2.0 if recall is None else recall


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
