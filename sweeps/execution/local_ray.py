"""A Ray of this process alone, started beside what else a sweep does before its first trial."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sweeps.execution.ray_env  # noqa: F401 - before Ray

# isort: split
import ray
from ray._private import ray_constants
from ray._private.worker import global_worker
from ray.exceptions import OutOfDiskError

from sentiment.errors import InputError, first_line
from sentiment.installation import PACKAGE
from sentiment.io.processes import available_cores
from sweeps.errors import SweepError
from sweeps.execution.ray_directory import choose_directory, full, full_store, used_by_ray
from sweeps.execution.ray_token import own_token
from sweeps.execution.resources import Node, Workers, plan_workers
from sweeps.signals import interruptible
from sweeps.trials.protocol import WORKERS_READY

QUIET: dict[str, Any] = {
    "configure_logging": True,
    "logging_level": logging.CRITICAL,
    "log_to_driver": False,
}
"""Options of `ray.init`."""
_RAY_STARTS = 3  # it gives itself 30 seconds, which a machine with much to do may exceed
_PRELOADED = "sweeps.trials.preloaded"
_PRELOAD, _PRESTART = "RAY_preload_python_modules", "RAY_prestart_worker_first_driver"
_LONGEST_WAIT = 15.0  # seconds; a trial that finds no worker ready gets a new one
_MOMENT = 0.05
_MOST_PRELOADED = 64
_GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where the kernel shows a GPU, of which torch can count those that it can use."""


class LocalRay:
    """Ray with room for just some workers, from its start to its end on a thread of its own.

    The kernel ends Ray's processes with the thread that started them, so that none outlives this
    process, however it ends.
    """

    running: LocalRay | None = None
    """The one of this process; another waits until it has ended."""

    def __init__(self, workers: Workers, gpus: int, trials: int | None = None) -> None:
        """Begin to start Ray; `wait` tells whether that went well.

        Args:
            workers: what there is to be room for.
            gpus: of this machine.
            trials: fewer than workers need not have all of these ready; None: as many.

        Raises:
            InputError: this process runs a Ray already, or there is no folder for Ray's files.
            SweepError: the disk of that folder is full.
        """
        check_no_other()
        silence()
        self.directory = choose_directory()
        self.room = _room(workers, gpus)
        self.is_taken = False
        """Whether a sweep uses it."""
        # Ray starts an idle worker for each core, and none that has a GPU.
        alike = workers.cpus == 1 and not workers.gpus and workers.count <= _MOST_PRELOADED
        enough = trials is None or workers.count <= trials
        # More than there are cores for keep each other from being ready.
        fitting = workers.count <= available_cores()
        self._preloaded = workers.count if alike and enough and fitting else 0
        self._up, self._over = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._ready = Path(tempfile.mkdtemp(prefix="ray-workers-"))
        self._thread = threading.Thread(target=self._run, name="ray")
        self._thread.start()
        LocalRay.running = self

    def wait(self) -> None:
        """Wait until Ray is there.

        Raises:
            SweepError: it does not start, tried three times, or the disk of its files is full.
        """
        self._up.wait()
        if self._error is not None:
            raise self._error
        # A worker that still imports would be passed over for a new one, which imports again.
        limit = time.monotonic() + _LONGEST_WAIT
        while self._ready_workers < self._preloaded and time.monotonic() < limit:
            time.sleep(_MOMENT)

    @property
    def _ready_workers(self) -> int:
        """How many have been ready for a moment, so that Ray knows it too."""
        before = time.time() - 4 * _MOMENT
        return sum(file.stat().st_mtime < before for file in self._ready.iterdir())

    def end(self) -> None:
        """Begin to end Ray; `join` waits until that is done."""
        self._over.set()

    def join(self) -> None:
        """Wait until Ray has ended."""
        self._thread.join()
        if LocalRay.running is self:
            LocalRay.running = None

    @property
    def is_ending(self) -> bool:
        """Whether it ends, or has ended."""
        return self._over.is_set() or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with used_by_ray(self.directory), own_token(), _environment(self._variables()):
                try:
                    self._start()
                    self._up.set()
                    self._over.wait()
                finally:
                    shut_down()
        except Exception as error:  # noqa: BLE001 - `wait` raises it where it is asked for
            self._error = error
        finally:
            self._up.set()
            shutil.rmtree(self._ready, ignore_errors=True)

    def _variables(self) -> dict[str, str]:
        """Return what Ray's processes find in their environment."""
        if not self._preloaded:
            return {_PRESTART: "0"}
        variables = {_PRESTART: "1", _PRELOAD: _PRELOADED, WORKERS_READY: str(self._ready)}
        # Before its first job a worker finds a checkout that is not installed by this alone.
        root = PACKAGE.parent
        if root.name not in ("site-packages", "dist-packages"):
            paths = [each for each in (os.environ.get("PYTHONPATH"), str(root)) if each]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        return variables

    def _start(self) -> None:
        cpus, gpus = self.room
        for left in reversed(range(_RAY_STARTS)):
            if self._over.is_set():
                return
            try:
                _init_on_loopback(
                    # Not a cluster that happens to run here.
                    address="local",
                    num_cpus=cpus,
                    num_gpus=gpus,
                    include_dashboard=False,
                    **QUIET,
                )
                return
            except Exception as error:
                shut_down()
                if full_now := full(self.directory):
                    raise full_now from error
                if not left:
                    reason = first_line(error).rstrip(".")
                    raise SweepError(f"Ray does not start: {reason}") from error


class _EndingWorker:
    """Stands for Ray's core worker while one thread ends it, which alone still reaches it.

    What frees an object reference tells the core worker, and one that has ended ends the process at
    once, without a word.
    """

    def __init__(self, worker: Any) -> None:
        self._worker, self._thread = worker, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        ours = threading.get_ident() == self._thread
        return getattr(self._worker, name) if ours else _nothing


def _nothing(*given: object, **named: object) -> None:
    pass


def shut_down() -> None:
    """End Ray, though other threads may free what refers to its objects meanwhile."""
    if hasattr(global_worker, "core_worker"):
        global_worker.core_worker = _EndingWorker(global_worker.core_worker)
    ray.shutdown()


@contextmanager
def local_ray(workers: Workers, gpus: int, trials: int | None = None) -> Iterator[LocalRay]:
    """Give the Ray that was started ahead for such workers, or start one; end it at the end.

    It has ended when this is left, unless `LocalRay.end` was called within: then it ends beside
    what follows, and `join_ending` waits for it. The arguments are those of `LocalRay`.

    Raises:
        InputError: this process runs another Ray already, or there is no folder for Ray's files.
        SweepError: Ray does not start, or the disk of its files is full.
    """
    check_no_other()
    own = LocalRay.running
    if own is not None and own.room != _room(workers, gpus):
        own.end()
        own.join()
        own = None
    try:
        own = own or LocalRay(workers, gpus, trials)
        own.is_taken = True
        own.wait()
        with interruptible(), _environment_of_ray():
            yield own
    except OutOfDiskError as error:
        raise full_store(own.directory if own else choose_directory()) from error
    finally:
        if own is not None and not own.is_ending:
            own.end()
            own.join()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and undo that at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _environment_of_ray() -> Iterator[None]:
    """Give trials no variables of their own: Ray's processes have those of this one.

    A trial with variables of its own would be given none of the workers that have started already.
    """
    from ray.tune.execution import class_cache

    default, propagated = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = default, propagated


def start_ahead(
    trials: int,
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    concurrency: int | None,
) -> None:
    """Begin to start the Ray that `local_ray` will ask for with such settings.

    Where that can't be known yet, since there may be a GPU, or the settings are wrong, nothing
    starts: the checks of a sweep say what is wrong.
    """
    if any(Path(device).exists() for device in _GPUS):
        return
    with suppress(InputError, SweepError):
        workers = plan_workers(
            [Node(available_cores())],
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            concurrency=concurrency,
        )
        LocalRay(workers, gpus=0, trials=trials)


def end_ahead() -> None:
    """Begin to end what `start_ahead` has started, if it is still there."""
    if LocalRay.running is not None:
        LocalRay.running.end()


def join_ending() -> None:
    """Wait until the Ray of this process has ended, if it is about to."""
    own = LocalRay.running
    if own is not None and own.is_ending:
        own.join()


def check_no_other() -> None:
    """Make sure that this process does not run a Ray of its caller's, which is not ours to end.

    Raises:
        InputError: it does.
    """
    join_ending()
    own = LocalRay.running
    if own.is_taken if own is not None else ray.is_initialized():
        raise InputError(
            "Ray runs in this process already, and a sweep starts its own: call ray.shutdown() "
            "before, or run the sweep in another process"
        )


def silence() -> None:
    """Keep Ray's logs from the screen."""
    # A trial's failure is logged and recorded by us; Ray would print its traceback three times.
    for name in ("ray", "ray.tune", "ray.air", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _room(workers: Workers, gpus: int) -> tuple[int, int]:
    return workers.count * workers.cpus, gpus if workers.gpus else 0


def _init_on_loopback(**options: Any) -> None:
    """Start Ray so that no other machine reaches its processes.

    They listen on all addresses unless the node's is 127.0.0.1, which Ray takes by itself where it
    makes no clusters (macOS, Windows) and replaces by another, even if it is given, where it does.
    """
    makes_clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(**options)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = makes_clusters
