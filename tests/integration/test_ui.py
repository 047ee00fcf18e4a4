from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest
from mlflow import MlflowClient

from sentiment.errors import InputError
from sweeps import ui
from sweeps.serving import ports
from sweeps.tracking.runs_view import keep_trials_view, runs_page


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_pages_show_the_store_and_end_on_control_c(store: tuple[MlflowClient, str]) -> None:
    client, experiment = store
    tags = {"sweep.role": "sweep", "sweep.name": "first"}
    client.create_run(experiment, tags=tags)
    keep_trials_view(client, experiment, "first", "valid/accuracy", ["cell"])
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sweeps.ui", "--port", str(port)),
            *("--tracking-uri", store[0].tracking_uri),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **{name: value for name, value in os.environ.items() if name.lower() != "no_proxy"},
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # It is not on the way to a server of this machine.
            "http_proxy": f"http://127.0.0.1:{free_port()}",
        },
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    trials = process.stdout.readline()
    started = psutil.Process(process.pid).children(recursive=True)
    try:
        page = f"/#/experiments/{store[1]}/runs?workflowType=machine_learning"
        assert line == f"http://127.0.0.1:{port}{page}  (Control-C ends it)\n"
        link = f"http://127.0.0.1:{port}{page}&viewStateShareKey=sweep-first"
        assert trials == f"{link}  (trials of first, the best first)\n"
        base = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(base, timeout=30) as page:
            assert b"MLflow" in page.read()
        search = f"{base}/api/2.0/mlflow/experiments/search?max_results=10"
        with urllib.request.urlopen(search, timeout=30) as answer:
            names = {one["name"] for one in json.load(answer)["experiments"]}
        assert "sentiment" in names
        listening = {
            connection.laddr.ip
            for child in started
            for connection in child.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert started
    assert psutil.wait_procs(started, timeout=10)[1] == []
    ports.check_port("127.0.0.1", port)


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"can't listen there .*--port {port + 1}"):
            ports.check_port("127.0.0.1", port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_number_that_is_no_port(port: int) -> None:
    with pytest.raises(InputError, match="from 1 to 65535"):
        ports.check_port("127.0.0.1", port)


def test_the_experiment_of_the_pages(
    store: tuple[MlflowClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, experiment = store
    other = client.create_experiment("reviews")
    assert list(ui.pages(client, "sentiment")) == [f"/{runs_page(experiment)}"]
    assert list(ui.pages(client, "nothing")) == [""]
    shown: dict[str, str] = {}
    monkeypatch.setattr(ui, "serve", lambda *given: shown.update(given[-1]) or 0)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reviews")
    ui.main(["--port", str(free_port()), "--tracking-uri", client.tracking_uri])
    assert list(shown) == [f"/{runs_page(other)}"]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machines_has_another_remedy_than_another_port(host: str) -> None:
    with pytest.raises(InputError, match=r"give --host an address of this machine, such as 127"):
        ports.check_port(host, 5123)


def test_server_has_pages_of_its_own() -> None:
    with pytest.raises(InputError, match=r"127.0.0.1:1: the store is a server .*; open that"):
        ui.main(["--tracking-uri", "http://127.0.0.1:1"])
