"""`python -m sweeps.ui`: MLflow's own pages over the store that the sweeps wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted
from sweeps.serving.ports import address_of, check_port, warn_if_open

if TYPE_CHECKING:
    from mlflow import MlflowClient

_START_SECONDS = 90.0
_STOP_SECONDS = 10.0


def main(argv: list[str] | None = None) -> int:
    """Serve the pages until Control-C."""
    parser = cli.Parser(
        prog="python -m sweeps.ui",
        description="Show the sweeps in MLflow's UI, on this machine only unless --host says "
        "otherwise. Control-C ends it.",
        common=("--port", "--host", "--tracking-uri"),
        examples=(
            "python -m sweeps.ui",
            "python -m sweeps.ui --port 5001 --tracking-uri sqlite:////data/mlflow.db",
        ),
    )
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    cli.add_store_arguments(parser)
    args = parser.parse_args(argv)

    from sentiment.tracking.store import read_store, tracking_uri

    uri = tracking_uri(args.tracking_uri)
    if uri.startswith(("http://", "https://")):
        raise InputError(
            f"{redacted(uri)}: the store is a server with pages of its own; open that address in a "
            "browser"
        )
    check_port(args.host, args.port)
    warn_if_open(args.host)
    return serve(uri, args.host, args.port, pages(read_store(uri), args.experiment))


def pages(client: MlflowClient, experiment: str) -> dict[str, str]:
    """Return the pages to begin with, relative to the server's address, and what each shows.

    Args:
        client: client of the store.
        experiment: name of the experiment of the sweeps.
    """
    from sweeps.tracking.queries import sweep_run
    from sweeps.tracking.runs_view import has_trials_view, runs_page, trials_page

    to_end = "Control-C ends it"
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {"": to_end}
    # MLflow opens an experiment with the traces of agents unless the address names its runs.
    shown = {f"/{runs_page(found.experiment_id)}": to_end}
    newest = sweep_run(client, [found.experiment_id], None)
    name = "" if newest is None else newest.data.tags.get("sweep.name", "")
    if name and has_trials_view(client, found.experiment_id, name):
        shown[f"/{trials_page(found.experiment_id, name)}"] = f"trials of {name}, the best first"
    return shown


def serve(uri: str, host: str, port: int, shown: Mapping[str, str]) -> int:
    """Run MLflow's server over a store, print addresses, and wait for it or for Control-C.

    Args:
        uri: the store.
        host: address to listen on.
        port: port to listen on.
        shown: the pages whose addresses are printed, and what each shows.
    """
    # A signal that ends this process must end the server too.
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            server_command(uri, host, port),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # Neither figures of use nor MLflow's eight processes for jobs of language models.
            env={
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                **os.environ,
            },
            # Its own group: Control-C comes here alone, and the group can be ended whole.
            start_new_session=True,
        )
        try:
            address = address_of(host, port)
            if not _wait_until_ready(server, address):
                print(f"MLflow's server did not start:\n{_tail(log)}", file=sys.stderr)
                return 1
            for page, what in shown.items():
                print(f"{address}{page}  ({what})", flush=True)
            status = server.wait()
            print(f"MLflow's server ended with status {status}:\n{_tail(log)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            _end(server)


def server_command(uri: str, host: str, port: int) -> list[str]:
    """Return the command of MLflow's server over a store, with this Python."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if uri.startswith("sqlite:///"):
        # Experiments made on the pages keep their artifacts where those of the sweeps are.
        root = Path(uri.removeprefix("sqlite:///")).parent / "mlruns"
        command += ["--default-artifact-root", str(root)]
    return [*command, "--host", host, "--port", str(port), "--workers", "1"]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_until_ready(server: subprocess.Popen[bytes], address: str) -> bool:
    # A proxy that the environment names is not on the way to this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with direct.open(f"{address}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return True  # it answers, if not to this name
        except OSError:
            time.sleep(0.2)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and all processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])


if __name__ == "__main__":
    cli.run(main)
