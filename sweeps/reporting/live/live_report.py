"""The page of a sweep that runs: how it stands, its parts, and what has changed in them.

All work is done when a browser asks, and none otherwise. The figures that take long are left to the
report of the ended sweep.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.objective import best
from sentiment.tracking.provenance import is_alive
from sentiment.tracking.store_errors import store_error
from sentiment.wording import counted
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.history import history
from sweeps.reporting.figures.theme import styled
from sweeps.reporting.leaderboard import number_text
from sweeps.reporting.live.chart import running_chart
from sweeps.reporting.live.record_reader import RecordReader
from sweeps.reporting.page import Report, Section, section_html
from sweeps.reporting.publish import REPORT_FILE
from sweeps.reporting.sweep_report import facts, leaderboard_section, subtitle, warnings_of
from sweeps.reporting.tables import Cell, PageTable

READ_SECONDS = 1.0
"""Seconds between two readings of the store, however many browsers ask."""
HISTORY_SECONDS = 30.0
"""Seconds between two drawings of the history while the sweep runs: each takes a fifth of one."""
_NOT_YET = "what the winner predicts is shown when the sweep has ended"


class LiveReport:
    """A sweep as its page shows it; threads may ask at the same time."""

    def __init__(
        self, client: MlflowClient, run: Run, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Name the sweep; nothing is read before a browser asks.

        Args:
            client: client of the store.
            run: the sweep's run.
            now: a clock in seconds.
        """
        self.name = str(run.data.tags["sweep.name"])
        self._client = client
        self._now = now
        self._reader = RecordReader(client, run, now)
        self._lock = threading.Lock()
        self._read_at = self._history_at = float("-inf")
        self._shown: SweepData | None = None
        self._drawn: Sequence[str | None] | None = None  # outcomes that the history shows
        self._status = ""
        self._has_report = False
        # Never changed but replaced, as answers may still be written from it.
        self._parts: dict[str, str] = {}

    def state(self, since: str = "") -> dict[str, Any]:
        """Return how the sweep stands, and the page's parts if they changed since a version.

        Keys: `version`; `status`, a line; `state`, "running", "dead" or "ended"; `report`, whether
        `final_page` has the report of the ended sweep; `parts`, HTML by id in the page's order,
        empty where the version is the one that the browser has.

        Args:
            since: that version.
        """
        with self._lock:
            if self._now() >= self._read_at:
                self._update()
                self._read_at = self._now() + READ_SECONDS
            version = hashlib.sha256(json.dumps(self._parts).encode()).hexdigest()[:16]
            return {
                "version": version,
                "status": self._status,
                "state": _state(self._reader),
                "report": self._has_report,
                "parts": {} if version == since else self._parts,
            }

    def final_page(self) -> bytes | None:
        """Return the report that is kept with the ended sweep; None where there is none."""
        if not self.state()["report"]:
            return None
        run_id = self._reader.run.info.run_id
        with tempfile.TemporaryDirectory() as scratch:
            return Path(self._client.download_artifacts(run_id, REPORT_FILE, scratch)).read_bytes()

    def _is_reported(self) -> bool:
        """Whether the sweep's artifacts hold its report."""
        files = self._client.list_artifacts(self._reader.run.info.run_id)
        return any(file.path == REPORT_FILE for file in files)

    def _update(self) -> None:
        """Read the record and make the parts anew if it has changed; the lock is held."""
        reader = self._reader
        try:
            reader.read()
            # Once found, the artifacts are not listed again at each question.
            self._has_report = _state(reader) == "ended" and (
                self._has_report or self._is_reported()
            )
        except Exception as error:
            reason = store_error(error)
            if reason is None:
                raise
            self._status = f"The store can't be read, which is tried again: {reason}"
            return
        self._status = status(reader, self._has_report)
        data = reader.data
        if data is None:
            waiting = Report(f"Sweep {self.name}", "", facts=[], sections=[])
            self._parts = {"head": waiting.head_html()}
            return
        if data is not self._shown:
            self._parts = self._parts | quick_parts(data)
            self._shown = data
        outcomes = [trial.outcome for trial in data.trials]
        is_due = self._now() >= self._history_at or _state(reader) == "ended"
        if outcomes != self._drawn and is_due:
            self._parts = self._parts | {"search": history_part(data)}
            self._drawn = outcomes
            self._history_at = self._now() + HISTORY_SECONDS


def status(reader: RecordReader, has_report: bool) -> str:
    """Return how the sweep stands and what it waits for, in a line.

    Args:
        reader: its record.
        has_report: whether the report of the ended sweep is there.
    """
    name, data = reader.run.data.tags["sweep.name"], reader.data
    match _state(reader):
        case "dead":
            return (
                f"The process of {name} ended without closing its record: python -m sweeps.launch "
                f"--resume {name} continues it."
            )
        case "ended" if data is None:
            return f"{name} has ended ({reader.state}) before it wrote its objective."
        case "ended":
            made = "" if has_report else f" python -m sweeps.report {name} makes its report."
            return f"{name} has ended ({reader.state}).{made}"
    if data is None or not data.everything:
        return (
            f"{name} is running and waits for its first trial: it reads and encodes the texts, and "
            "may train word vectors."
        )
    running = sum(each.outcome is None for each in data.everything)
    now = f"{counted(running, 'run trains', 'runs train')} now"
    if not any(data.curves.values()):
        return f"{name} is running and waits for its first evaluation; {now}."
    ended = sum(each.outcome is not None for each in data.trials)
    of = "" if data.asked is None else f" of {data.asked}"
    return f"{name} is running: {ended}{of} trials ended, {now}."


def quick_parts(data: SweepData) -> dict[str, str]:
    """Return the parts that are made anew at every change, by their ids."""
    running = running_table(data)
    now = Section(
        "now",
        "Curves of the trials",
        text=[
            "In colour: the trials that train now, in the table with the values of their last "
            "evaluation and their best one. Grey: trials that ended."
        ],
        picture=running_chart(data),
        tables=[running] if running.rows else [],
    )
    head = Report(
        f"Sweep {data.name}",
        subtitle(data),
        facts=facts(data, _NOT_YET),
        sections=[],
        warnings=warnings_of(data),
    )
    sections = [now, leaderboard_section(data)]
    return {"head": head.head_html(), **{each.anchor: section_html(each) for each in sections}}


def history_part(data: SweepData) -> str:
    """Return the section with the search's history."""
    with styled():
        figures = [history(data)]
    return section_html(Section("search", "How the search goes", figures=figures))


def running_table(data: SweepData) -> PageTable:
    """Return the runs that train now."""
    rows = []
    for trial in data.everything:
        if trial.outcome is not None:
            continue
        curve = data.curves.get(trial.run_id, {})
        last = trial.metrics.get(data.objective)
        reached = best(data.objective, curve.values()) if curve else last
        numbers = [(last, ".4f"), (reached, ".4f"), (trial.metrics.get("epoch"), ".2f")]
        rows.append(
            [
                Cell(trial.name if trial.role == "trial" else f"{trial.name} ({trial.role})"),
                *(Cell(number_text(value, form), value) for value, form in numbers),
            ]
        )
    return PageTable(["trial", f"#last {data.objective}", "#best so far", "#epochs trained"], rows)


def _state(reader: RecordReader) -> str:
    if reader.state != "running":
        return "ended"
    return "dead" if is_alive(reader.run.data.tags) is False else "running"
