"""A file of what a model says of each text: CSV, JSONL or Parquet, by its ending."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentiment.data.token_rules import encodable
from sentiment.errors import InputError

COLUMNS = ("text", "label", "predicted", "probability")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        text: the text.
        label: what it is.
        predicted: what the model takes it for.
        probability: what the model gives that.
    """

    text: str
    label: str
    predicted: str
    probability: float


def check_output(path: Path, source: Path | None = None) -> None:
    """Check the output path of the predictions, before any work is done.

    Args:
        path: the file.
        source: the file that the texts come from.

    Raises:
        InputError: the ending is of no known kind of file, or the file is a folder or the source.
    """
    if path.suffix.lower() not in _WRITERS:
        raise InputError(f"--output {path}: the file must end in {', '.join(_WRITERS)}")
    if path.is_dir():
        raise InputError(f"--output {path}: is a folder; name a file")
    if source is not None and path.resolve() == source.resolve():
        raise InputError(f"--output {path}: is the file that is scored; name another")


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions: the whole file, or nothing.

    Raises:
        InputError: it can't be written there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        _WRITERS[path.suffix.lower()](temporary, predictions)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"--output {path}: can't be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _row(each: Prediction) -> tuple[str, str, str, float]:
    return encodable(each.text), encodable(each.label), encodable(each.predicted), each.probability


def _write_csv(path: Path, predictions: Sequence[Prediction]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(map(_row, predictions))


def _write_jsonl(path: Path, predictions: Sequence[Prediction]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for each in predictions:
            row = dict(zip(COLUMNS, _row(each), strict=True))
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")


def _write_parquet(path: Path, predictions: Sequence[Prediction]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(zip(*map(_row, predictions), strict=True))
    pq.write_table(pa.table(dict(zip(COLUMNS, map(list, columns), strict=True))), path)


_WRITERS: dict[str, Callable[[Path, Sequence[Prediction]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
