"""A tracking server that fails in every way: MLflow's own, behind a proxy that makes it fail."""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_proxy import FAULTS, SECRET, Fault, FaultyProxy
from services import mlflow_server

from sentiment.config import Config
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking import http
from sentiment.tracking.http import one_try_each
from sentiment.tracking.model_uri import fetch_bundle
from sentiment.tracking.provenance import process_tags
from sentiment.tracking.runs import run_parameters
from sentiment.tracking.store import open_store, read_store
from sweeps.analysis.classical_comparison import NB_LOGISTIC
from sweeps.pipeline.resume import deliver_left
from sweeps.tracking import backoff, transient_errors, writer
from sweeps.tracking.outbox import OUTBOX_FILE, RecordError, UndeliveredError
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker
from sweeps.tracking.transient_errors import retry_after

STEPS = (64, 128, 192)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[int]:
    """The port of a real tracking server."""
    folder = tmp_path_factory.mktemp("server")
    database = shutil.copyfile(empty_store, folder / "mlflow.db")
    with mlflow_server(f"sqlite:///{database}", folder) as address:
        yield int(address.rpartition(":")[2])
    # Neither a tag nor an artifact of any run of these tests.
    for path in folder.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.fixture
def proxy(server: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server)
    yield proxy
    proxy.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses of milliseconds, requests that are made once, as within a sweep."""
    monkeypatch.setattr(backoff, "FIRST_RETRY_INTERVAL", 0.05)
    monkeypatch.setattr(backoff, "LONGEST_RETRY_INTERVAL", 0.2)
    monkeypatch.setattr(http, "_PROBE_SECONDS", 60)  # of a busy machine
    with one_try_each():
        yield


def start(proxy: FaultyProxy, folder: Path, said: list[str] | None = None) -> SweepTracker:
    client, experiment_id = open_store(proxy.uri)
    return SweepTracker.start(
        client,
        experiment_id,
        folder.name,
        objective="valid/accuracy",
        parameters={"dataset": "imdb-25k", "dataset_fingerprint": "f00"},
        precision="float32",
        space_yaml="{}\n",
        folder=folder,
        notify=None if said is None else said.append,
    )


def begin(tracker: SweepTracker, key: int) -> None:
    tracker.start_trial(key, run_parameters(Config(), "imdb-25k", "f00"), f"trial {key}")


def train(tracker: SweepTracker, key: int, bundle: Path) -> None:
    for step in STEPS:
        tracker.trial(key).log_evaluation(step, {"valid/accuracy": step / 256, "epoch": step / 64})
    tracker.trial(key).log_model(bundle, {"best/valid/accuracy": 0.75}, STEPS[-1])
    best = {"best/valid/accuracy": 0.75, "parameters/total": 99.0}
    tracker.trial(key).end("completed", metrics=best, step=STEPS[-1])


def assert_whole(proxy: FaultyProxy, name: str, bundles: dict[int, Path]) -> None:
    """Check that the store has all that happened, once, by a client of its own."""
    proxy.choose = lambda method, path: "pass"
    client, experiment_id = open_store(proxy.uri)
    sweep = find_sweep(client, [experiment_id], name)
    trials = trials_of(client, sweep)
    assert [trial.key for trial in trials] == list(bundles)
    for trial, bundle in zip(trials, bundles.values(), strict=True):
        run = client.get_run(trial.run_id)
        assert (run.info.status, trial.outcome) == ("FINISHED", "completed")
        assert run.data.params["dataset_fingerprint"] == "f00"
        assert len(run.data.params) == len(run_parameters(Config(), "imdb-25k", "f00"))
        for metric, values in {
            "valid/accuracy": [(step, step / 256) for step in STEPS],
            "epoch": [(step, step / 64) for step in STEPS],
            "best/valid/accuracy": [(STEPS[-1], 0.75)],
            "parameters/total": [(STEPS[-1], 99.0)],
        }.items():
            history = client.get_metric_history(trial.run_id, metric)
            assert [(point.step, point.value) for point in history] == values
        models = client.search_logged_models([experiment_id], f"source_run_id = '{trial.run_id}'")
        assert [str(model.status) for model in models] == ["READY"]
        assert [model.model_id for model in run.outputs.model_outputs] == [models[0].model_id]
        fetched = Bundle.load(fetch_bundle(client, models[0].model_id))
        assert fetched.metadata == Bundle.load(bundle).metadata
    completed = client.get_metric_history(sweep.info.run_id, "sweep/completed")
    count = len(bundles)
    assert [(p.step, p.value) for p in completed] == [(n, n) for n in range(1, count + 1)]
    # Not even as a repetition that the server throws away.
    assert [point for point, times in proxy.points.items() if times > 1] == []


def test_requests_that_fail_in_every_way(
    proxy: FaultyProxy, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    said: list[str] = []
    tracker = start(proxy, tmp_path / "faults", said)
    draw = random.Random(3)
    proxy.choose = lambda method, path: draw.choice(FAULTS) if draw.random() < 0.2 else "pass"
    bundles = {key: make_bundle(key) for key in range(3)}
    begin(tracker, 0)
    begin(tracker, 1)
    for key, bundle in bundles.items():
        train(tracker, key, bundle)
        if key + 2 < len(bundles):
            begin(tracker, key + 2)
    tracker.flush()
    tracker.end("finished")
    assert set(FAULTS) <= set(proxy.met)
    assert any("does not answer" in line for line in said)
    assert "answers again" in said[-1]
    assert not (tmp_path / "faults" / OUTBOX_FILE).exists()
    assert not (tmp_path / "faults" / "record-models").exists()
    assert_whole(proxy, "faults", bundles)


@pytest.mark.parametrize("fault", ["lose", pytest.param("cut", marks=pytest.mark.slow)])
def test_each_request_of_a_trial_meets_a_fault_once(
    fault: Fault, proxy: FaultyProxy, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    tracker = start(proxy, tmp_path / f"each-{fault}")
    met: set[tuple[str, str]] = set()

    def first_time(method: str, path: str) -> Fault:
        request = (method, path.partition("?")[0])
        if request in met or "experiments/search" in path:
            return "pass"
        met.add(request)
        return fault

    proxy.choose = first_time
    bundles = {0: make_bundle(0)}
    begin(tracker, 0)
    tracker.flush()
    train(tracker, 0, bundles[0])
    tracker.flush()
    tracker.end("finished")
    posted = {path.rpartition("/")[2] for method, path in met if method != "GET"}
    assert {"create", "log-batch", "update", "outputs", "logged-models"} <= posted
    assert_whole(proxy, f"each-{fault}", bundles)


def test_trials_go_on_while_the_server_is_down(
    proxy: FaultyProxy, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    said: list[str] = []
    folder = tmp_path / "down"
    tracker = start(proxy, folder, said)
    bundles = {key: make_bundle(key) for key in range(3)}
    begin(tracker, 0)
    tracker.flush()
    with proxy.down():
        train(tracker, 0, bundles[0])
        before = time.time_ns() // 1_000_000
        begin(tracker, 1)
        after = time.time_ns() // 1_000_000
        train(tracker, 1, bundles[1])
        begin(tracker, 2)
        while not said:
            time.sleep(0.01)
        assert (folder / OUTBOX_FILE).stat().st_size > 0
    train(tracker, 2, bundles[2])
    tracker.flush()
    tracker.end("finished")
    assert_whole(proxy, "down", bundles)
    # What was started while nobody listened bears the time at which it was.
    assert before <= tracker.client.get_run(tracker.run_of(1)).info.start_time <= after
    assert re.match(r"the store does not answer \(connection re(fused|set)\): the trials", said[0])
    assert [line for line in said[1:] if "answers again" not in line] == []


def test_still_down_at_the_end(
    proxy: FaultyProxy,
    make_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "FLUSH_TIMEOUT", 0.3)
    monkeypatch.setattr(writer, "INTERRUPT_TIMEOUT", 0.1)
    folder = tmp_path / "late"
    tracker = start(proxy, folder)
    bundles = {key: make_bundle(key) for key in range(2)}
    begin(tracker, 0)
    with proxy.down():
        train(tracker, 0, bundles[0])
        begin(tracker, 1)
        train(tracker, 1, bundles[1])
        with pytest.raises(
            UndeliveredError, match=r"connection re(fused|set).*lies in .*record\.jsonl"
        ):
            tracker.end("finished")
    assert SECRET not in (folder / OUTBOX_FILE).read_text()
    # As of a process that was killed while it wrote a line.
    with (folder / OUTBOX_FILE).open("ab") as file:
        file.write(b'[99,"log",0,{"metr')
    client, experiment_id = open_store(proxy.uri)
    run = find_sweep(client, [experiment_id], "late")
    assert run.info.status == "RUNNING"
    monkeypatch.setattr(writer, "FLUSH_TIMEOUT", 60.0)
    proxy.choose = _lose_the_first_posts(5)
    assert deliver_left(client, run, folder) > 10
    assert_whole(proxy, "late", bundles)
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert deliver_left(client, run, folder) == 0


def _lose_the_first_posts(count: int) -> Callable[[str, str], Fault]:
    left = iter(range(count))

    def choose(method: str, path: str) -> Fault:
        return "lose" if method == "POST" and next(left, None) is not None else "pass"

    return choose


def test_driver_killed_while_the_server_is_down(
    proxy: FaultyProxy, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    folder, bundle = tmp_path / "killed", make_bundle(0)
    code = f"""
import os, sys, urllib.request
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1] / "support")!r}]
from pathlib import Path
from test_outage import begin, start, train
from sentiment.tracking.http import one_try_each

class Proxy:
    uri = {proxy.uri!r}

with one_try_each():
    tracker = start(Proxy, Path({str(folder)!r}))
    begin(tracker, 0)
    tracker.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    train(tracker, 0, Path({str(bundle)!r}))
    os.kill(os.getpid(), 9)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        with proxy.down():
            driver.communicate("\n")
    assert driver.returncode == -9
    client, experiment_id = open_store(proxy.uri)
    deliver_left(client, find_sweep(client, [experiment_id], "killed"), folder)
    assert_whole(proxy, "killed", {0: bundle})


def test_what_a_request_made_that_came_late_is_removed(
    proxy: FaultyProxy, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    tracker = start(proxy, tmp_path / "slow")
    client = tracker.client
    tags = {"mlflow.parentRunId": tracker.run_id, "sweep.trial": "0", "sweep.role": "trial"}

    def cut_the_first(method: str, path: str) -> Fault:
        if path.endswith("runs/create"):
            proxy.choose = lambda method, path: "pass"
            return "cut"
        return "pass"

    proxy.choose = cut_the_first
    begin(tracker, 0)
    key = tracker.run_of(0)
    # The request that seemed lost stood in a queue, and only now comes through.
    client.create_run(tracker.experiment_id, tags={**process_tags(), **tags})
    train(tracker, 0, bundle := make_bundle(0))
    tracker.flush()
    tracker.end("finished")
    assert tracker.run_of(0) == key
    assert_whole(proxy, "slow", {0: bundle})


def test_outbox_is_locked_by_one_process(proxy: FaultyProxy, tmp_path: Path) -> None:
    tracker = start(proxy, tmp_path / "mine")
    run = tracker.client.get_run(tracker.run_id)
    with pytest.raises(InputError, match="the sweep mine is running, in another process"):
        deliver_left(tracker.client, run, tmp_path / "mine")
    tracker.end("finished")


def test_request_that_is_refused_ends_the_record(proxy: FaultyProxy, tmp_path: Path) -> None:
    tracker = start(proxy, tmp_path / "refused")
    begin(tracker, 0)
    tracker.client.delete_run(tracker.run_of(0))
    tracker.trial(0).log_evaluation(64, {"epoch": 1.0})
    with pytest.raises(RecordError, match="deleted"):
        tracker.flush()
    with pytest.raises(RecordError, match="deleted"):
        tracker.end("interrupted")
    run = tracker.client.get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["sweep.state"]) == ("KILLED", "interrupted")


def test_retry_after_of_the_server(proxy: FaultyProxy) -> None:
    assert retry_after(proxy.uri) is None
    proxy.choose, proxy.retry_after = (lambda method, path: "429"), "3"
    assert retry_after(proxy.uri) == 3.0
    with proxy.down():
        assert retry_after(proxy.uri) == 0.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("1e99", 600.0), ("-3", 0.0), ("nan", 0.0)],
)
def test_header_retry_after(header: str, seconds: float) -> None:
    assert transient_errors._seconds(header) == seconds
    past, future = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2265 07:28:00 GMT"
    assert (transient_errors._seconds(past), transient_errors._seconds(future)) == (0.0, 600.0)


def test_server_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment.tracking.http._PROBE_SECONDS", 0.5)

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(100):
                try:
                    connection.sendall(b"X-Slow: 1\r\n")
                except OSError:
                    return
                time.sleep(0.1)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(InputError, match="does not answer"):
            read_store(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_server_that_fails_at_launch(proxy: FaultyProxy) -> None:
    proxy.choose = lambda method, path: "pass" if path == "/version" else "503"
    with pytest.raises(InputError, match=r"can't be used: .*503") as told:
        open_store(proxy.uri)
    assert SECRET not in str(told.value)
    proxy.choose = lambda method, path: "500"
    with pytest.raises(InputError, match="answers 500"):
        open_store(proxy.uri)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sweep_that_loses_its_server(proxy: FaultyProxy, tmp_path: Path) -> None:
    """A whole sweep, on a network that fails now and then, and then is gone; and its resume."""
    proxy.choose = (draw := _Draws(seed=5, share=0.04)).choose

    def launch(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sweeps.launch", "--tracking-uri", proxy.uri, "--quiet"]
        return subprocess.Popen(
            [*command, *more],
            cwd=tmp_path,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )

    data = ["--dataset", "rotten-tomatoes", "--trials", "4", "--max-epochs", "0.5"]
    with launch(*data, "--name", "night") as sweep:
        # The record of the trials is under way when the server goes for good.
        while not any(path.endswith("runs/log-batch") for _, _, path in proxy.asked[50:]):
            assert sweep.poll() is None, sweep.communicate()[0]
            time.sleep(0.1)
        with proxy.down():
            told, _ = sweep.communicate()
    assert sweep.returncode == 1, told
    assert ".sweeps/night/record.jsonl" in told
    assert "python -m sweeps.launch --resume night" in told
    assert SECRET not in told
    _assert_no_secret_in(tmp_path)

    with launch("--resume", "night") as sweep:
        told, _ = sweep.communicate()
    assert sweep.returncode == 0, told
    assert SECRET not in told
    _assert_no_secret_in(tmp_path)
    proxy.choose = lambda method, path: "pass"
    client, experiment_id = open_store(proxy.uri)
    parent = find_sweep(client, [experiment_id], "night")
    assert (parent.info.status, parent.data.tags["sweep.state"]) == ("FINISHED", "finished")
    trials = trials_of(client, parent)
    assert [trial.key for trial in trials] == [0, 1, 2, 3, NB_LOGISTIC]
    for trial in trials[:-1]:
        assert trial.outcome in ("completed", "stopped_early")
        history = client.get_metric_history(trial.run_id, "valid/accuracy")
        assert len({point.step for point in history}) == len(history) > 0
    assert len(client.search_model_versions("name = 'sentiment'")) == 1
    assert [point for point, times in proxy.points.items() if times > 1] == []
    assert draw.faults
    assert f"http://***@127.0.0.1:{proxy.port}" in parent.data.tags["provenance.command"]


def _assert_no_secret_in(folder: Path) -> None:
    """The outbox, the settings, the study and all else that lies there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "settings.json" for path in files)
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


class _Draws:
    """Faults drawn at random for a share of the requests."""

    def __init__(self, seed: int, share: float) -> None:
        self._draw = random.Random(seed)
        self._share = share
        self.faults = 0

    def choose(self, method: str, path: str) -> Fault:
        # What stands before the sweep's run is told at once, not waited out.
        if path.startswith("/version") or "experiments/" in path:
            return "pass"
        if self._draw.random() >= self._share or not self._under_way(path):
            return "pass"
        self.faults += 1
        return self._draw.choice(FAULTS)

    def _under_way(self, path: str) -> bool:
        self._begun = getattr(self, "_begun", False) or "log-batch" in path
        return self._begun
