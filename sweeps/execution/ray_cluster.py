"""A Ray cluster that is there already: joining it, its nodes, and the disk that they share."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sweeps.execution.ray_env  # noqa: F401 - before Ray

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sentiment.errors import InputError, first_line
from sentiment.installation import PACKAGE
from sentiment.wording import duration
from sweeps.errors import SweepError
from sweeps.execution.local_ray import QUIET, check_no_other, shut_down, silence
from sweeps.execution.resources import Node, Workers
from sweeps.signals import interruptible
from sweeps.trials.checkpoint_storage import Storage

CODE = [str(PACKAGE), str(Path(__file__).parents[1])]
"""The folders of this project's packages, for the nodes of a cluster."""
_ANSWER_SECONDS = 5.0
_CHECK_SECONDS = 120.0
_NODES_SECONDS = 2.0
_FOR_WORKERS = (
    "RAY_CHDIR_TO_TRIAL_DIR",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING",
    "SENTIMENT_COMPILED",
)
"""Variables that a cluster's workers don't get from this process by themselves."""


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[None]:
    """Join the cluster at an address, bring it this project's code, and leave it at the end.

    Nodes need the packages that the project depends on, and not the project.

    Args:
        address: `auto`, for the cluster that this machine is a node of, or HOST:PORT.

    Raises:
        InputError: there is no such cluster, this machine is none of its nodes, or this process
            runs a Ray already.
    """
    check_no_other()
    silence()
    if address != "auto":
        _check_answers(address)
    quiet = {name: value for name, value in os.environ.items() if name in _FOR_WORKERS}
    try:
        ray.init(
            address=address,
            runtime_env={
                "py_modules": CODE,
                "excludes": ["**/__pycache__/"],
                "env_vars": quiet,
            },
            **QUIET,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        shut_down()
        raise InputError(
            f"--address {address}: {_first_line(error)}; run this on a node of a running cluster "
            "(ray start --head makes one, ray start --address=HOST:PORT joins it)"
        ) from None
    try:
        # Ray ends the process at SIGTERM with its own status; here it is handled as Control-C.
        with interruptible():
            yield
    finally:
        shut_down()


def _check_answers(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) < 2**16):
        raise InputError(f"--address {address}: give auto, or HOST:PORT of a Ray cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"--address {address}: nothing answers there ({error.strerror or error}); is the "
            "cluster running?"
        ) from None


def _first_line(error: Exception) -> str:
    return first_line(error).rstrip(".")


def asks_for_token() -> bool:
    """Whether the Ray that is joined lets in only those who have its token."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def cluster_nodes() -> list[Node]:
    """Return the nodes that are there now, by address."""
    nodes = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        kinds = [n.partition(":")[2] for n in resources if n.startswith("accelerator_type:")]
        nodes.append(
            Node(
                cpus=int(resources.get("CPU", 0)),
                gpus=int(resources.get("GPU", 0)),
                name=node["NodeManagerAddress"],
                gpu_kind=kinds[0] if kinds else None,
            )
        )
    return sorted(nodes, key=lambda node: node.name)


def room_in_cluster(workers: Workers) -> Callable[[], int]:
    """Return a function that counts the workers that fit now: nodes join and leave a cluster."""
    asked, room = -float("inf"), workers.count

    def look() -> int:
        nonlocal asked, room
        now = time.monotonic()
        if now - asked > _NODES_SECONDS:
            asked, room = now, workers.room(cluster_nodes())
        return room

    return look


def check_storage(storage: Storage, asked: str | None, joined: bool) -> None:
    """Make sure that all who train read and write one storage.

    Args:
        storage: where checkpoints are to lie.
        asked: what `--storage` says; None if nothing does.
        joined: whether a cluster is joined, whose nodes are asked.

    Raises:
        InputError: they don't; says what to give.
    """
    nodes = {}
    if joined:
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in alive}
    before = storage.exists()
    probe = storage / f".probe-{secrets.token_hex(8)}"
    given = f"--storage {storage}" if asked else f"no --storage, and {storage}"
    needed = "give --storage a folder on a disk that all nodes share, s3://bucket/… or gs://…"
    try:
        probe.write("driver", "driver")
    except OSError as error:
        raise InputError(f"{given}: {error}; {needed}") from None
    try:
        # The driver's own node alone sees what the driver sees.
        for address, problem in _ask_nodes(probe, nodes) if len(nodes) > 1 else ():
            if problem is None and not _is_there(probe, address):
                problem = "what it writes there does not come here"
            if problem is not None:
                raise InputError(f"{given}: on node {address} {problem}; {needed}")
    finally:
        probe.remove()
        if not before:
            storage.remove_empty()


def _ask_nodes(probe: Storage, nodes: dict[str, str]) -> Sequence[tuple[str, str | None]]:
    """Return what each node has to say against a storage, with its address."""
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            probe, address
        ): address
        for node, address in nodes.items()
    }
    ready, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=_CHECK_SECONDS)
    for task in waiting:
        raise SweepError(f"node {asked[task]} does not answer within {duration(_CHECK_SECONDS)}")
    return [(asked[task], ray.get(task)) for task in ready]


def _look(probe: Storage, address: str) -> str | None:
    try:
        probe.read("driver")
        probe.write(address, address)
    except (OSError, InputError) as error:
        return f"it can't be read and written ({str(error).splitlines()[0]})"
    return None


def _is_there(probe: Storage, name: str) -> bool:
    try:
        return probe.read(name) == name
    except OSError:
        return False
