"""Recorded learning curves of trials: the files of `benchmarks/curves/`.

A file's first line says what was trained on, each other line is one training; both are JSON.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentiment.config import Objective
from sentiment.errors import InputError

OBJECTIVE: Objective = "valid/accuracy"
"""What curves are of."""
CURVES = Path(__file__).parent / "curves"
"""Where the files lie, named by their data sets."""


@dataclass(frozen=True)
class Recorded:
    """What the trainings of a file share.

    Attributes:
        dataset: name of the data set.
        space: name of the search space.
        epochs: the full budget.
        examples: texts of the train split.
        lengths: characters of these texts, at evenly spaced quantiles.
    """

    dataset: str
    space: str
    epochs: float
    examples: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """One training to the full budget. Times are seconds of CPU.

    Attributes:
        number: of the configuration.
        seed: of the training.
        settings: all that the space searches and fixes.
        curve: at each evaluation the examples seen, the objective, and the seconds of training and
            evaluating until then.
        start_seconds: from settings to a model that can be trained.
        evaluation_seconds: of one evaluation.
        parameters: of the model.
    """

    number: int
    seed: int
    settings: Mapping[str, Any]
    curve: tuple[tuple[int, float, float], ...]
    start_seconds: float
    evaluation_seconds: float
    parameters: int

    @property
    def best(self) -> float:
        """The best value; that of a training that failed before it had any is 0."""
        return max((value for _, value, _ in self.curve), default=0.0)


def read(path: Path) -> tuple[Recorded, list[Training]]:
    """Read a file, compressed if its name ends in .gz.

    A last line that a kill has cut is left out.

    Raises:
        InputError: there is no such file, or something else is in it.
    """
    try:
        first, *others = _lines(path)
        recorded = Recorded(**{**first, "lengths": tuple(first["lengths"])})
        trainings = [
            Training(**{**line, "curve": tuple(tuple(each) for each in line["curve"])})
            for line in others
        ]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; record one by benchmarks.search_curves") from None
    except (ValueError, TypeError, KeyError, EOFError, OSError) as error:
        raise InputError(f"{path}: not written by benchmarks.search_curves ({error})") from None
    return recorded, trainings


def append(path: Path, what: Recorded | Training) -> None:
    """Add a line to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(what)) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
