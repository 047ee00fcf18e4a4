"""MLflow's pages over a sweep's record, opened and used as a person does it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Locator, expect

from screenshots.browser import TIMEOUT, Browser
from sweeps.tracking.runs_view import RUNS, trials_page

_FOLD = "[data-component-id*=runnamecellrenderer]"
_ASSISTANT = "[data-component-id='mlflow.assistant.chat_panel.close']"
_COLUMN_TITLE = ".du-bois-light-tree-title"
_ENLARGE = "[data-component-id=fullscreen_button_chartcard]"
_STOP_SECONDS = 30.0


@contextmanager
def pages(uri: str) -> Iterator[str]:
    """Serve the pages of a store by `python -m sweeps.ui`, and give their address.

    Args:
        uri: the store.
    """
    with served("sweeps.ui", "--tracking-uri", uri) as address:
        yield address.partition("/#")[0]


@contextmanager
def served(module: str, *flags: str) -> Iterator[str]:
    """Run a command that serves pages and prints their address first, and give the address.

    Args:
        module: of the command, which takes `--port`.
        flags: its others.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", module, "--port", str(port), *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError(f"python -m {module} ended before it served a page")
        yield line.split()[0]
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
        self._page = browser.page
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
            self._page.locator(_FOLD).first.click()
            self._unfolded = True
        self.browser.wait_for_text(trial)

    def show_columns(self, names: Sequence[str], hidden: Sequence[str] = ()) -> None:
        """Add columns of metrics and parameters to the table, and take away attributes."""
        self._page.get_by_test_id("column-selection-dropdown").filter(has_text="Columns").click()
        for name in (*hidden, *names):
            self._page.get_by_placeholder("Search columns").fill(name)
            # What was searched for is emphasised inside the title, so the whole title is compared.
            whole = re.compile(rf"^\s*{re.escape(name)}\s*$")
            self._page.locator(_COLUMN_TITLE).filter(has_text=whole).first.click()
        self._page.keyboard.press("Escape")

    def widen_names(self, pixels: int) -> None:
        """Widen the column of the runs' names."""
        header = self._page.get_by_role("columnheader").filter(has_text="Run Name")
        self.browser.drag(header.locator(".ag-header-cell-resize"), pixels)

    def open_charts(self, sweep: str, metric: str) -> None:
        """Open the charts of the runs that are unfolded, and leave that of one metric alone."""
        self._open(f"{self._experiment}/runs?{RUNS}&compareRunsMode=CHART", sweep)
        self._page.get_by_placeholder("Search metric charts").fill(f"^{metric}$")
        expect(self._page.locator(_ENLARGE)).to_have_count(1, timeout=TIMEOUT)
        self.traces.first.wait_for(state="attached")

    @property
    def traces(self) -> Locator:
        """Lines of the charts, one a run."""
        return self._page.locator(".js-plotly-plot .scatterlayer .trace")

    def enlarge_chart(self) -> None:
        """Let the first chart fill the page."""
        self._page.locator(_ENLARGE).first.click()

    def open_run(self, run_id: str, text: str) -> None:
        """Open a run's page, which shows the text."""
        self._open(f"{self._experiment}/runs/{run_id}?{RUNS}", text)

    def unfold_description(self) -> None:
        """Show the whole description of the run."""
        self._page.get_by_role("button").filter(has_text="Show more").click()

    def open_model(self, name: str, text: str, version: int | None = None) -> None:
        """Open the page of a registered model or of one of its versions, which shows the text."""
        of = "" if version is None else f"/versions/{version}"
        self._open(f"{self._address}/#/models/{name}{of}?{RUNS}", text)

    def _open(self, address: str, text: str) -> None:
        self.browser.open(address)
        self.browser.wait_for_text(text)
        # The assistant takes a quarter of the page until it is closed once.
        assistant = self._page.locator(_ASSISTANT)
        if assistant.count():
            assistant.click()
            assistant.wait_for(state="detached")
