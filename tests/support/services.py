"""Real services of a team, each on loopback and gone when the test is over."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a service answers; fail with its log if it ends or takes two minutes."""
    for _ in range(600):
        if done():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def postgresql(*databases: str) -> Iterator[Callable[[str], str]]:
    """Run a PostgreSQL server of the test's own; gives the address of a database by its name."""
    places = [Path(found).parent for found in [shutil.which("postgres")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        pytest.skip("PostgreSQL is not installed here")
    # It refuses to run as root.
    owner = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    port, password = free_port(), secrets.token_hex(8)
    secret = folder / "password"
    secret.write_text(password)
    if owner:
        for path in (folder, secret):
            os.chown(path, NOBODY, NOBODY)
    data = folder / "data"
    initialise = [places[-1] / "initdb", "-D", data, "-U", "sweeps", "--auth=scram-sha-256"]
    log = folder / "log"
    try:
        with log.open("wb") as output:
            pipes = {"stdout": output, "stderr": output, "cwd": folder, **owner}
            subprocess.run([*initialise, f"--pwfile={secret}", "--no-sync"], check=True, **pipes)
            command = [places[-1] / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port)]
            process = subprocess.Popen([*command, "-k", "", "-c", "fsync=off"], **pipes)
        try:
            wait_until(lambda: answers(port), process, log)
            address = f"postgresql://sweeps:{password}@127.0.0.1:{port}"
            _create(f"{address}/postgres", databases)
            yield lambda name: f"{address}/{name}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _create(address: str, databases: Sequence[str]) -> None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError

    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    for _ in range(100):  # it listens before it lets anybody in
        try:
            with engine.connect() as connection:
                for name in databases:
                    connection.execute(text(f"CREATE DATABASE {name}"))
            break
        except OperationalError as error:
            assert "starting up" in str(error), error
            time.sleep(0.2)
    engine.dispose()


def on_read_only(folder: Path) -> list[str]:
    """Return the start of a command that is run in a folder which it can't write to."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, str(folder)]
    if os.getuid() != 0 or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("a folder that is read-only for root too needs root's right to mount")
    return prefix


@contextmanager
def mlflow_server(backend: str, folder: Path, **variables: str) -> Iterator[str]:
    """Run MLflow's own server, with artifacts through it and more environment variables, if any;
    gives its address."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", backend),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Six processes more, of which no sweep has any use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **variables,
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _is_healthy(port), process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


class Cluster:
    """A Ray cluster on this machine, of nodes that see nothing of each other's folders.

    Each node is a tree of processes with mounts and process ids of its own, so that it can be
    ended like a machine that loses its power. The head trains nothing.
    """

    def __init__(self, folder: Path, hidden: Sequence[Path], cores: int = 1) -> None:
        """Start the head.

        `nodes` are the processes that hold a node each, the head's first.

        Args:
            folder: for logs.
            hidden: folders that nodes other than the head find empty.
            cores: that each of these nodes says it has.
        """
        self._cores = cores
        self._folder = folder
        self._hidden = list(hidden)
        self.nodes: list[subprocess.Popen[bytes]] = []
        # Short, as the paths of sockets are.
        self._temporary = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.environment = {
            **{name: v for name, v in os.environ.items() if name != "PYTHONPATH"},
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        head = self._start(
            *("--head", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *("--num-cpus=0", "--include-dashboard=false"),
            hidden=(),
        )
        wait_until(lambda: answers(port), head, self._log(head))

    def add_node(self) -> subprocess.Popen[bytes]:
        """Start one more node; it joins within seconds."""
        number = len(self.nodes) + 1
        return self._start(
            *(f"--address={self.address}", f"--node-ip-address=127.0.0.{number}"),
            f"--num-cpus={self._cores}",
            hidden=self._hidden,
        )

    def wait(self) -> None:
        """Wait until all nodes have joined."""
        for node in self.nodes:
            log = self._log(node)
            wait_until(lambda log=log: "Ray runtime started" in log.read_text(), node, log)

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()
            node.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _start(self, *arguments: str, hidden: Sequence[Path]) -> subprocess.Popen[bytes]:
        number = len(self.nodes)
        mounts = "".join(f"mount -t tmpfs none '{path}' && " for path in hidden)
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
        ray += ["--block", "--disable-usage-stats", "--object-store-memory=150000000"]
        ray += [f"--temp-dir={self._temporary / str(number)}"]
        with (self._folder / f"node-{number}.log").open("wb") as log:
            node = subprocess.Popen(
                [*own, "sh", "-c", f'{mounts}exec "$@"', "sh", *ray],
                cwd="/",
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.nodes.append(node)
        return node

    def _log(self, node: subprocess.Popen[bytes]) -> Path:
        return self._folder / f"node-{self.nodes.index(node)}.log"


@contextmanager
def ray_cluster(
    folder: Path, hidden: Sequence[Path], nodes: int, cores: int = 1
) -> Iterator[Cluster]:
    """Run a cluster of a head and some nodes that train."""
    if os.getuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("nodes with mounts of their own need root's rights")
    cluster = Cluster(folder, hidden, cores)
    try:
        for _ in range(nodes):
            cluster.add_node()
        # A launch that comes first would find no room.
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()
