"""`python -m benchmarks.serving`: how fast the served champion answers.

Single requests one after the other, and what several clients at once get through, with the times
that they see. Server and clients share this machine; the server's own CPU time for a request is
the figure that other work on it disturbs least.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psutil

from sentiment import cli
from sentiment.data.datasets import DATASETS, DataConfig, load_dataset

_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class LoadResult:
    """What clients saw.

    Attributes:
        seconds: of each answered request, sorted.
        errors: requests without an answer of status 200.
        took: seconds in all.
        cpu: seconds of CPU time that the server took.
    """

    seconds: list[float]
    errors: int
    took: float
    cpu: float

    def quantile(self, share: float) -> float:
        """Return the milliseconds within which a share of the requests were answered."""
        return 1e3 * self.seconds[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def main(argv: list[str] | None = None) -> int:
    """Serve the champion of a store, or of a small sweep, and measure; 1 if a request failed."""
    parser = cli.Parser(
        prog="python -m benchmarks.serving",
        description="Serve a champion on this machine and measure single requests and load.",
    )
    parser.add_argument(
        "--store", metavar="DIR", help="folder with mlflow.db (default: makes a small sweep)"
    )
    parser.add_argument("--model", metavar="DIR", help="folder of a saved model to serve instead")
    parser.add_argument("--dataset", default="rotten-tomatoes", choices=DATASETS, help="texts sent")
    parser.add_argument("--requests", type=int, default=500, help="single requests")
    parser.add_argument("--clients", type=int, default=8, help="clients at once")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they ask")
    args = parser.parse_args(argv)
    if args.store is not None:
        return _measure(Path(args.store), args)
    with tempfile.TemporaryDirectory() as scratch:
        if args.model is not None:
            return _measure(Path(scratch), args, "--model", str(Path(args.model).absolute()))
        sweep = ["--trials", "3", "--max-epochs", "0.5", "--quiet"]
        _run(["sweeps.launch", "--dataset", "rotten-tomatoes", *sweep], Path(scratch))
        _run(["sweeps.promote", "--yes"], Path(scratch))
        return _measure(Path(scratch), args)


def _measure(store: Path, args: argparse.Namespace, *flags: str) -> int:
    texts = load_dataset(DataConfig(dataset=args.dataset)).splits["test"].texts
    bodies = [json.dumps({"inputs": [text]}).encode() for text in texts]
    words = statistics.mean(len(text.split()) for text in texts)
    print(f"{args.dataset}, test split: a text a request, {words:.0f} words on average")
    with serving(store, *flags) as (process, port):
        ask(process, port, bodies[:50], clients=1)
        one = ask(process, port, bodies[: args.requests], clients=1)
        many = ask(process, port, bodies, clients=args.clients, seconds=args.seconds)
    print(f"{'clients':>8}{'requests':>10}{'errors':>8}{'a second':>10}", end="")
    print(f"{'median ms':>11}{'99% ms':>9}{'most ms':>9}{'CPU ms each':>13}")
    for clients, answers in ((1, one), (args.clients, many)):
        count = len(answers.seconds)
        print(f"{clients:>8}{count:>10,}{answers.errors:>8}{count / answers.took:>10.1f}", end="")
        print(f"{answers.quantile(0.5):>11.1f}{answers.quantile(0.99):>9.1f}", end="")
        print(f"{answers.quantile(1.0):>9.1f}{1e3 * answers.cpu / count:>13.1f}")
    return int(one.errors + many.errors > 0)


@contextmanager
def serving(store: Path, *flags: str) -> Iterator[tuple[psutil.Process, int]]:
    """Serve the champion of a store's folder while in here; give the process and the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.serve", "--port", str(port), *flags],
        cwd=store,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError(f"sweeps.serve did not start: exit status {process.wait()}")
        yield psutil.Process(process.pid), port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ask(
    server: psutil.Process,
    port: int,
    bodies: Sequence[bytes],
    *,
    clients: int,
    seconds: float = 0.0,
) -> LoadResult:
    """Send requests, each client one after the other over a connection that stays open.

    Args:
        server: the server's process, on this machine.
        port: where it listens.
        bodies: what is sent.
        clients: at once.
        seconds: how long; 0 sends each body once, from one client.
    """
    taken: list[float] = []
    errors: list[str] = []
    cpu = sum(server.cpu_times()[:2])
    began = time.perf_counter()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        start = number * len(bodies) // clients
        rotated = [*bodies[start:], *bodies[:start]]
        for body in cycle(rotated) if seconds else rotated:
            before = time.perf_counter()
            if seconds and before - began > seconds:
                return
            try:
                connection.request("POST", "/invocations", body, _HEADERS)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    errors.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                errors.append(str(error))
                connection.close()
            else:
                taken.append(time.perf_counter() - before)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return LoadResult(sorted(taken), len(errors), took, sum(server.cpu_times()[:2]) - cpu)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _environment() -> dict[str, str]:
    """Return this process's environment, by which the commands find the folder's own store."""
    root = str(Path(__file__).parents[1])
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return {**kept, "PYTHONPATH": os.pathsep.join([root, kept.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    cli.run(main)
