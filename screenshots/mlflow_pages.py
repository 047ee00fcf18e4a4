"""MLflow's pages over a sweep's record, opened and used as a person does it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from screenshots.browser import Browser
from sweeps.tracking.runs_view import RUNS, trials_page

_FOLD = "document.querySelector('[data-component-id*=\"runnamecellrenderer\"]')"
_ASSISTANT = "document.querySelector('[data-component-id=\"mlflow.assistant.chat_panel.close\"]')"
_COLUMNS = (
    "[...document.querySelectorAll('[data-testid=\"column-selection-dropdown\"]')]"
    ".find(e => e.innerText.includes('Columns'))"
)
_NAMES_EDGE = (
    "[...document.querySelectorAll('.ag-header-cell')]"
    ".find(e => e.innerText.includes('Run Name'))?.querySelector('.ag-header-cell-resize')"
)
_CHARTS = "document.querySelector('input[placeholder=\"Search metric charts\"]')"
_ENLARGE = "[data-component-id=fullscreen_button_chartcard]"
_STOP_SECONDS = 30.0


@contextmanager
def pages(uri: str) -> Iterator[str]:
    """Serve the pages of a store by `python -m sweeps.ui`, and give their address.

    Args:
        uri: the store.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "sweeps.ui", "--port", str(port), "--tracking-uri", uri],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError("python -m sweeps.ui ended before it served a page")
        yield line.split()[0].partition("/#")[0]
    finally:
        server.terminate()
        server.wait(_STOP_SECONDS)


class Pages:
    """The pages of one experiment in a browser.

    Args:
        browser: the browser.
        address: of the pages.
        experiment_id: the experiment of the sweeps.
    """

    def __init__(self, browser: Browser, address: str, experiment_id: str) -> None:
        self.browser = browser
        self._address = address
        self._id = experiment_id
        self._experiment = f"{address}/#/experiments/{experiment_id}"
        self._unfolded = False

    def open_runs(self, sweep: str) -> None:
        """Open the table of runs, in which a sweep is one line."""
        self._open(f"{self._experiment}/runs?{RUNS}", sweep)

    def open_trials(self, sweep: str, trial: str) -> None:
        """Open the table of a sweep's trials, the best first; `trial` is the name of one."""
        self._open(f"{self._address}/{trials_page(self._id, sweep)}", trial)

    def unfold(self, trial: str) -> None:
        """Unfold the newest sweep; `trial` is a name that is seen then."""
        # The pages remember for a browser what is unfolded.
        if not self._unfolded:
            self.browser.click(_FOLD)
            self._unfolded = True
        self.browser.wait_for_text(trial)

    def show_columns(self, names: Sequence[str], hidden: Sequence[str] = ()) -> None:
        """Add columns of metrics and parameters to the table, and take away attributes."""
        self.browser.click(_COLUMNS)
        for name in (*hidden, *names):
            self._fill("document.querySelector('input[placeholder=\"Search columns\"]')", name)
            self.browser.click(
                "[...document.querySelectorAll('.du-bois-light-tree-title, [role=tree] [title]')]"
                f".find(e => e.innerText.trim() === {json.dumps(name)})"
            )
        self.browser.press_escape()

    def widen_names(self, pixels: int) -> None:
        """Widen the column of the runs' names."""
        self.browser.drag(_NAMES_EDGE, pixels)

    def open_charts(self, sweep: str, metric: str) -> None:
        """Open the charts of the runs that are unfolded, and leave that of one metric alone."""
        self._open(f"{self._experiment}/runs?{RUNS}&compareRunsMode=CHART", sweep)
        self._fill(_CHARTS, f"^{metric}$")
        self.browser.wait_for(f"document.querySelectorAll('{_ENLARGE}').length === 1")
        self.browser.wait_for("!!document.querySelector('.js-plotly-plot .scatterlayer .trace')")

    def enlarge_chart(self) -> None:
        """Let the first chart fill the page."""
        self.browser.click(f"document.querySelector('{_ENLARGE}')")

    def open_run(self, run_id: str, text: str) -> None:
        """Open a run's page, which shows the text."""
        self._open(f"{self._experiment}/runs/{run_id}?{RUNS}", text)

    def unfold_description(self) -> None:
        """Show the whole description of the run."""
        self.browser.click(
            "[...document.querySelectorAll('button')].find(e => e.innerText == 'Show more')"
        )

    def open_model(self, name: str, text: str, version: int | None = None) -> None:
        """Open the page of a registered model or of one of its versions, which shows the text."""
        of = "" if version is None else f"/versions/{version}"
        self._open(f"{self._address}/#/models/{name}{of}?{RUNS}", text)

    def _open(self, address: str, text: str) -> None:
        self.browser.open(address)
        self.browser.wait_for_text(text)
        # The assistant takes a quarter of the page until it is closed once.
        if self.browser.evaluate(f"!!{_ASSISTANT}"):
            self.browser.click(_ASSISTANT)
            self.browser.wait_for(f"!{_ASSISTANT}")

    def _fill(self, field: str, text: str) -> None:
        self.browser.click(field)
        self.browser.evaluate(f"{field}.select()")
        self.browser.insert(text)
