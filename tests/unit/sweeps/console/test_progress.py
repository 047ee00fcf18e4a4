"""How a sweep stands, in numbers and on the screen."""

import builtins
import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeps.console.live_view import Lines, Silent, line, make_view, panel
from sweeps.console.progress import Progress, TrialState
from sweeps.terminal import NOTEBOOK_WIDTH, sweep_console


def progress_of(**changes):
    progress = Progress(10, 2, "valid/accuracy", searched=("cell",), **changes)
    for key, outcome, best, seconds in (
        (0, "completed", 0.9, 30.0),
        (1, "stopped_early", 0.7, 10.0),
        (2, "failed", 0.95, 5.0),
        (3, None, 0.8, 5.0),
        (4, None, None, 0.0),
    ):
        state = TrialState(key, f"lstm-{key}", {"cell": "lstm", "seed": 1}, 1.5, outcome)
        state.seconds = seconds
        if best is not None:
            state.best = {"valid/accuracy": best, "examples": 100}
            state.value = best
        progress.trials[key] = state
    return progress


def test_counts_and_best():
    progress = progress_of()
    assert progress.counts == {"completed": 1, "stopped_early": 1, "failed": 1, "running": 2}
    assert progress.ended == 3
    assert progress.best().key == 0
    progress.objective = "valid/loss"
    for trial in progress.trials.values():
        if trial.best:
            trial.best["valid/loss"] = 1 - trial.best["valid/accuracy"]
    assert progress.best().key == 0


def test_a_population_waits_and_its_time_left_is_known_before_any_has_ended():
    progress = Progress(4, 2, "valid/accuracy")
    for key in range(4):
        progress.trials[key] = TrialState(key, "gru", {}, epochs=1.5, waits=key > 1)
    assert progress.seconds_left() is None
    for trial in progress.trials.values():
        trial.epoch, trial.seconds = 0.5, 4.0
    assert progress.counts == {"running": 2, "waiting": 2}
    assert "0/4 trials ended | 2 running | 2 waiting" in line(progress)
    assert progress.seconds_left() == pytest.approx(4 * 8.0 / 2)
    progress.total = 5
    assert progress.seconds_left() is None


def test_time_left_follows_from_the_trials_that_ended():
    progress = progress_of()
    mean = 15.0
    # Five not started; of the two that run one was evaluated after 5 s, a third of its budget.
    progress.trials[3].epoch = 0.5
    assert progress.seconds_left() == pytest.approx((5 * mean + 10 + mean) / 2)
    # One that runs longer than the mean tells that those to come cost more.
    progress.trials[3].seconds = 35.0
    mean = (30 + 10 + 5 + 35) / 4
    assert progress.seconds_left() == pytest.approx((5 * mean + 70 + mean) / 2)
    assert Progress(10, 2, "valid/accuracy").seconds_left() is None
    soon = progress_of(deadline=time.monotonic() + 3)
    assert soon.seconds_left() == pytest.approx(3, abs=0.5)


def test_time_left_goes_by_the_latest_trials():
    progress = Progress(50, 2, "valid/accuracy")
    for key in range(40):
        seconds = 60.0 if key >= 28 else 1.0
        progress.trials[key] = TrialState(key, "gru", {}, 1.5, "completed", seconds=seconds)
    assert progress.seconds_left() == pytest.approx(10 * 60 / 2)


def test_a_line_says_it_all():
    text = line(progress_of())
    for part in (
        "3/10 trials ended",
        "2 running",
        "1 completed",
        "1 stopped early",
        "1 failed",
        "best valid/accuracy 0.9000 (000 lstm-0)",
        "about 0:00:50 left",
    ):
        assert part in text


def test_the_panel_names_the_best_and_the_running():
    console = Console(file=io.StringIO(), width=100)
    console.print(panel(progress_of()))
    text = console.file.getvalue()
    assert "best valid/accuracy 0.9000  000 lstm-0" in text
    assert "cell lstm" in text
    assert "seed" not in text
    assert "003" in text and "0.8000" in text


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_panel_fits_the_terminal(width):
    """Nothing that matters is cropped, also by a console that wraps no lines."""
    progress = progress_of(deadline=time.monotonic() + 60)
    progress.searched = ("cell", "hidden_dim", "learning_rate", "embedding", "optimizer")
    best = progress.trials[0]
    best.name = "bilstm-2×128 word2vec rmsprop"
    best.settings |= {"hidden_dim": 128, "learning_rate": 0.00123, "embedding": "word2vec"}
    best.settings["optimizer"] = "rmsprop"
    for key in range(5, 30):
        progress.trials[key] = TrialState(key, best.name, {}, 1.5)
    console = Console(file=io.StringIO(), width=width, height=24, soft_wrap=True)
    console.print(panel(progress, width, 23))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert len(lines) < 24
    assert all(len(line) <= width for line in lines)
    for part in (
        "1 stopped early",
        " so far, about 0:0",
        "learning_rate 0.00123",
        "optimizer rmsprop",
        "word2vec rmsprop",
        "more",
    ):
        assert any(part in line for line in lines), part
    assert "…" not in "".join(lines)


def test_the_view_says_when_time_is_up():
    progress = progress_of(deadline=time.monotonic() - 1)
    progress.trials[1].outcome = "out_of_time"
    text = line(progress)
    assert "0 stopped early | 1 out of time | 1 failed" in text
    assert "time is up: what runs ends at its next evaluation" in text
    for trial in progress.trials.values():
        trial.outcome = trial.outcome or "out_of_time"
    assert line(progress).endswith("time is up")


def test_the_view_fits_the_output():
    progress = progress_of()
    console = Console(file=io.StringIO(), width=200)
    assert isinstance(make_view(progress, console, quiet=True), Silent)
    lines = make_view(progress, console, quiet=False)
    assert isinstance(lines, Lines)
    lines.update()
    assert console.file.getvalue() == ""
    always = Lines(progress, console, every=0)
    always.update()
    assert console.file.getvalue().count("\n") == 1


def test_in_a_notebook_the_panel_is_drawn_in_place(monkeypatch):
    class ZMQInteractiveShell:
        """The name by which Rich knows a notebook."""

    drawn = []
    output = SimpleNamespace(update=lambda bundle, raw: drawn.append(bundle))
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(
        "IPython.display.display", lambda bundle, **how: drawn.append(bundle) or output
    )
    monkeypatch.setenv("FORCE_COLOR", "1")  # as IPython does
    progress = progress_of()
    console = sweep_console()
    assert (console.is_jupyter, console.is_terminal) == (False, False)
    assert console.width == NOTEBOOK_WIDTH
    view = make_view(progress, console, quiet=False)
    view.update()  # too early for another drawing
    assert len(drawn) == 1
    progress.trials[0].best["valid/accuracy"] = 0.95
    view.close()
    assert ["0.9000" in each["text/plain"] for each in drawn] == [True, False]
    assert "0.9500" in drawn[1]["text/html"]
    assert drawn[1]["text/html"].startswith("<pre")
    assert max(map(len, drawn[1]["text/plain"].splitlines())) <= NOTEBOOK_WIDTH
    # What is printed to a file is a log there too.
    assert isinstance(make_view(progress, Console(file=io.StringIO()), quiet=False), Lines)
