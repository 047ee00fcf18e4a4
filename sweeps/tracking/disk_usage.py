"""What ended sweeps and the cache take on the disk, and what of it may go.

The models of registered versions never go from here, and nothing of a sweep that runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from sentiment.io.cache import cache_root, remove_entries
from sentiment.tracking.provenance import is_alive
from sentiment.tracking.store_errors import is_read_only
from sentiment.wording import counted
from sweeps.tracking.queries import MODEL_TAG, REMOVED
from sweeps.tracking.retention import artifact_size, remove_artifacts, remove_model
from sweeps.workspace import LOCK_FILE

Kind = Literal["models", "state", "checkpoints", "versions", "deleted", "cache"]

RUNNING = "it is running, so it stays"
READ_ONLY = "its folder is read-only for this user, so it stays"

_PAGE = 1000


@dataclass(frozen=True)
class Item:
    """Something on the disk that can be removed as a whole.

    Attributes:
        kind: the flag of `sweeps.clean` that removes it.
        name: the sweep, the registered model, or the part of the cache.
        state: of a sweep: `finished`, `interrupted`, `running`, `deleted`, `unknown`; else empty.
        what: what it is, in words.
        size: bytes.
        remove: removes it and returns the bytes that are free now; None for what must stay.
        stays: why it must stay, if it must.
    """

    kind: Kind
    name: str
    state: str
    what: str
    size: int
    remove: Callable[[], int] | None
    stays: str = ""


@dataclass(frozen=True)
class Record:
    """What a store holds of sweeps.

    Attributes:
        runs: all runs by id, deleted ones too.
        models: logged models that aren't deleted.
        registered: ids of the models and runs that registered versions are of.
        versions: of all registered models.
    """

    runs: dict[str, Run]
    models: list[LoggedModel]
    registered: frozenset[str]
    versions: tuple[ModelVersion, ...] = ()

    @classmethod
    def read(cls, client: MlflowClient) -> Record:
        """Read a store's record."""
        experiments = [
            experiment.experiment_id
            for experiment in pages(
                lambda token: client.search_experiments(
                    ViewType.ALL, max_results=_PAGE, page_token=token
                )
            )
        ]
        runs = pages(
            lambda token: client.search_runs(
                experiments, "", ViewType.ALL, max_results=_PAGE, page_token=token
            )
        )
        models = pages(
            lambda token: client.search_logged_models(
                experiments, max_results=_PAGE, page_token=token
            )
        )
        versions = list(
            pages(lambda token: client.search_model_versions(max_results=_PAGE, page_token=token))
        )
        registered = {str(one.run_id) for one in versions if one.run_id}
        registered |= {str(one.source).removeprefix("models:/") for one in versions}
        return cls(
            {run.info.run_id: run for run in runs},
            list(models),
            frozenset(registered),
            tuple(versions),
        )

    def states(self) -> dict[str, str]:
        """Return how each sweep stands, by its name."""
        tags = [run.data.tags for run in self.runs.values()]
        names = {each["sweep.name"] for each in tags if each.get("sweep.role") == "sweep"}
        return {name: self.state_of(name) for name in names}

    def state_of(self, name: str) -> str:
        """Return how the newest sweep of that name stands; `unknown` if there is none."""
        named = [
            run
            for run in self.runs.values()
            if run.data.tags.get("sweep.role") == "sweep" and run.data.tags["sweep.name"] == name
        ]
        if not named:
            return "unknown"
        run = max(named, key=lambda run: (not is_deleted(run), run.info.start_time))
        if is_running(run):
            return "running"
        if is_deleted(run):
            return "deleted"
        state = run.data.tags.get("sweep.state", "interrupted")
        # What says that it runs, but has no process any more, was cut off.
        return "interrupted" if state == "running" else state


def is_running(run: Run) -> bool:
    """Tell whether a run's process is at it; one on another machine may be."""
    return run.info.status == "RUNNING" and is_alive(run.data.tags) is not False


def is_deleted(run: Run) -> bool:
    """Tell whether a run is deleted in MLflow."""
    return bool(run.info.lifecycle_stage == "deleted")


def stored(client: MlflowClient, record: Record) -> Iterator[Item]:
    """Yield what a store's sweeps and deleted runs have left: their models and artifacts."""
    of_sweep: dict[str, list[LoggedModel]] = defaultdict(list)
    unwanted: list[LoggedModel] = []
    kept: dict[str, int] = defaultdict(int)
    for model in record.models:
        run = record.runs.get(str(model.source_run_id))
        if run is None:
            continue
        name = run.data.tags.get("sweep.name")
        if model.model_id in record.registered or run.info.run_id in record.registered:
            kept[name or ""] += 1
        elif is_deleted(run) or (name and record.state_of(name) == "deleted"):
            if not is_running(run):
                unwanted.append(model)
        elif name:
            of_sweep[name].append(model)
    for name, models in sorted(of_sweep.items()):
        state = record.state_of(name)
        size = sum(artifact_size(client, model.artifact_location) for model in models)
        registered = counted(kept[name], "registered stays", "registered stay")
        stays = f"; {registered}" if kept[name] else ""
        yield Item(
            "models",
            name,
            state,
            f"{counted(len(models), 'model')}{stays}",
            size,
            None if state == "running" else _remover(client, record, models, []),
            RUNNING,
        )
    deleted = [
        run
        for run in record.runs.values()
        if is_deleted(run) and not is_running(run) and run.info.run_id not in record.registered
    ]
    sizes = {run.info.run_id: artifact_size(client, run.info.artifact_uri) for run in deleted}
    deleted = [run for run in deleted if sizes[run.info.run_id]]
    size = sum(sizes.values())
    size += sum(artifact_size(client, model.artifact_location) for model in unwanted)
    if deleted or unwanted:
        what = f"{counted(len(unwanted), 'model')}, artifacts of {counted(len(deleted), 'run')}"
        remove = _remover(client, record, unwanted, deleted)
        yield Item("deleted", "runs deleted in MLflow", "", what, size, remove)


def states(folder: Path, record: Record) -> Iterator[Item]:
    """Yield the folders of sweeps: study, settings, Ray's files.

    Args:
        folder: where they lie.
        record: what the store holds of sweeps.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_dir():
            continue
        state = "running" if _taken(path) else record.state_of(path.name)
        for kind, part, what in (
            ("checkpoints", path / "ray", "Ray's files and checkpoints"),
            ("state", path, "study and settings, for --resume"),
        ):
            size = size_of(part)
            if size or kind == "state":
                writable = os.access(part.parent, os.W_OK)
                stays = RUNNING if state == "running" or writable else READ_ONLY
                remove = _folder_remover(path, part) if writable and state != "running" else None
                yield Item(kind, path.name, state, what, size, remove, stays)  # type: ignore[arg-type]


def running_sweep(folder: Path) -> str | None:
    """Return the name of a sweep whose folder a process holds; None if there is none.

    Args:
        folder: where the sweeps' folders lie.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and _taken(path):
            return path.name
    return None


def caches(busy: bool) -> Iterator[Item]:
    """Yield the parts of the cache.

    Args:
        busy: whether a sweep runs, so that all of it must stay.
    """
    root = cache_root()
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        size = size_of(path)
        if path.is_dir() and size:
            count = sum(not entry.name.endswith(".lock") for entry in path.iterdir())
            what = f"{counted(count, 'entry', 'entries')}, made or fetched again when needed"
            remove = None if busy else _cache_remover(path)
            stays = "a sweep is running, so it stays"
            yield Item("cache", path.name, "", what, size, remove, stays)


def size_of(folder: Path) -> int:
    """Return the bytes of a folder's files; those that go meanwhile count nothing."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return size


def _remover(
    client: MlflowClient, record: Record, models: Sequence[LoggedModel], runs: Sequence[Run]
) -> Callable[[], int]:
    def remove() -> int:
        size = 0
        # Read again: a sweep may have been resumed, or a model registered, since.
        now = Record.read(client)
        for model in models:
            run = now.runs[str(model.source_run_id)]
            name = run.data.tags.get("sweep.name")
            running = is_running(run) or (name and now.state_of(name) == "running")
            if running or now.registered & {model.model_id, run.info.run_id}:
                continue
            if not is_deleted(run):
                # The tag comes first: a run never points to a model that is gone.
                client.set_tag(run.info.run_id, MODEL_TAG, REMOVED)
            size += remove_model(client, model.model_id)
        for run in runs:
            present = now.runs[run.info.run_id]
            if is_deleted(present) and run.info.run_id not in now.registered:
                size += remove_artifacts(client, run.info.artifact_uri)
        return size

    return remove


def _folder_remover(sweep: Path, part: Path) -> Callable[[], int]:
    def remove() -> int:
        if _taken(sweep):
            return 0
        size = size_of(part)
        shutil.rmtree(part)
        return size

    return remove


def _cache_remover(path: Path) -> Callable[[], int]:
    def remove() -> int:
        before = size_of(path)
        remove_entries(path.name)
        return before - size_of(path)

    return remove


def _taken(sweep: Path) -> bool:
    """Tell whether a process holds the lock of a sweep's folder."""
    path = sweep / LOCK_FILE
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError as error:
        if not is_read_only(error):
            raise
        return _is_held(path)
    lock.release()
    return False


def _is_held(path: Path) -> bool:
    """Tell whether a process holds a lock file that this user may not write."""
    try:
        # A shared lock needs no right to write, and an exclusive one excludes it.
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError:
        return False
    return False


def pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield what a paged search of MLflow finds, on whatever page it is."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
