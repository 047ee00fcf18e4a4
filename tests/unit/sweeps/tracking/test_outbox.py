from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment.errors import InputError
from sweeps.tracking.outbox import OUTBOX_FILE, Entry, Outbox


def test_entries_stay_until_they_are_acknowledged(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "sweep")
    assert outbox.left == []
    for step in range(3):
        outbox.append("log", 0, {"metrics": [["epoch", 1.0, step, 5, False]]})
    outbox.acknowledge(1)
    assert outbox.waiting == 2
    outbox.close()

    again = Outbox(tmp_path / "sweep")
    assert [(entry.number, entry.kind, entry.key) for entry in again.left] == [
        (2, "log", 0),
        (3, "log", 0),
    ]
    assert again.append("end", None, {}) == Entry(4, "end", None, {})
    again.acknowledge(4)
    again.close()
    assert list((tmp_path / "sweep").iterdir()) == []


def test_line_that_a_kill_interrupted_is_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.append("text", "small", {"text": "x", "artifact_file": "x.txt"})
    outbox.close()
    with (tmp_path / OUTBOX_FILE).open("ab") as file:
        file.write(b'[2,"log",0,{"metr')
    again = Outbox(tmp_path)
    assert [entry.number for entry in again.left] == [1]
    assert again.append("log", 0, {}).number == 2
    again.close()


def test_one_process_has_it_at_a_time(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    with pytest.raises(InputError, match="is running, in another process"):
        Outbox(tmp_path)
    outbox.close()
    Outbox(tmp_path).close()


def test_file_that_no_sweep_writes(tmp_path: Path) -> None:
    (tmp_path / OUTBOX_FILE).write_text('[1,"log",0,{}]\nhello\n')
    with pytest.raises(InputError, match="line 2: not what a sweep writes"):
        Outbox(tmp_path)


def test_models_are_kept_with_the_entries(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    outbox, bundle = Outbox(tmp_path), make_bundle(0)
    name = outbox.keep_model(bundle, 7)
    kept = outbox.model(name)
    assert sorted(path.name for path in kept.iterdir()) == sorted(p.name for p in bundle.iterdir())
    outbox.drop_model(name)
    assert not kept.exists()
    assert bundle.exists()
    outbox.close()
