"""What one run writes to MLflow: parameters, metrics, provenance, the model.

`sentiment.train` records one run with `RunRecord`; sweeps write their many runs with the same
functions. Nothing here touches MLflow's global state: every call names its client and its run.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from filelock import FileLock

# MLflow reads these when it is imported: no figures of use leave the machine, and neither bars
# of artifact copies nor addresses of runs stand between the lines of a command.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from sqlalchemy.exc import SQLAlchemyError

from sentiment.config import SECTION_OF, Config
from sentiment.data.tokenizer import LANGUAGE_PACKAGES
from sentiment.errors import InputError
from sentiment.installation import PACKAGE
from sentiment.io.yaml_numbers import load_yaml
from sentiment.tracking.database import database_has_store, is_database, sqlite_file
from sentiment.tracking.experiment import EXPERIMENT
from sentiment.tracking.http import check_is_mlflow, check_reachable, is_server, one_try_each
from sentiment.tracking.provenance import process_tags, provenance_tags, redacted
from sentiment.tracking.relocation import check_location
from sentiment.tracking.store_errors import store_error

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

BUNDLE_ARTIFACT = "artifacts/bundle"
"""Where a bundle lies within its logged model."""
SERVING_PACKAGES = (
    "mlflow",
    "filelock",
    "numpy",
    "pandas",
    "platformdirs",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scipy",
    "spacy",
    "torch",
)
"""What a logged model needs beside its own code; pinned at the installed versions."""
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "text")]),
    outputs=Schema([ColSpec("string", "label"), ColSpec("float", "probability")]),
)

_MAKING_SECONDS, _MAKING_PAUSE = 30.0, 0.5
_HALF_MADE = re.compile("already exists|no such table|database is locked")
_METRICS_A_REQUEST = 800  # MLflow takes 1,000 metrics, parameters and tags together
_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")

for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# It logs, over many lines, errors that it raises too.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def tracking_uri(explicit: str | None = None) -> str:
    """Return the address of the store: the given one, `MLFLOW_TRACKING_URI`, or the default.

    The default is the SQLite file that a bare `mlflow ui` opens in the current folder. Paths in
    the result are absolute.

    Raises:
        InputError: MLflow can't write to a store of that kind.
    """
    uri = explicit or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        if mlflow.get_tracking_uri().startswith("file:"):
            raise InputError(
                "mlruns/ holds runs of MLflow's old file store, which it no longer writes: "
                "move them away, or set MLFLOW_TRACKING_URI to another store"
            )
        uri = "sqlite:///mlflow.db"
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        database = uri.partition("///")[2]
        if not database or database == ":memory:":
            raise InputError(f"{uri}: write the store as sqlite:///FILE")
        # MLflow takes the path as it stands, so nothing in it is quoted.
        return f"sqlite:///{Path(database).absolute()}"
    if scheme not in (*_DATABASES, "http", "https", "databricks"):
        raise InputError(
            f"{redacted(uri)}: MLflow has no such store; give sqlite:///FILE or http://HOST:PORT"
        )
    return uri


def open_store(uri: str, experiment: str = EXPERIMENT) -> tuple[MlflowClient, str]:
    """Open a store, made when it isn't there, and return its client and the experiment's id.

    Any number of processes may do so at once. Artifacts of a new experiment in a SQLite store go
    to `mlruns/` beside the file.

    Args:
        uri: an address from `tracking_uri`.
        experiment: name of the experiment, made when it isn't there.

    Raises:
        InputError: the store can't be reached, opened or written, or the experiment is deleted.
    """
    check_writable(uri)
    with _usable(uri), _alone(uri):
        client = _opened(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            location = _artifact_location(uri, experiment)
            try:
                return client, client.create_experiment(experiment, location)
            except MlflowException as error:
                # On a server another process may have made it meanwhile.
                found = client.get_experiment_by_name(experiment)
                if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        if found.lifecycle_stage != "active":
            raise InputError(
                f"the experiment {experiment!r} is deleted: restore it with `mlflow experiments "
                f"restore -x {found.experiment_id}`, or name another with --experiment"
            )
        return client, found.experiment_id


def read_store(uri: str) -> MlflowClient:
    """Open a store that is there already.

    Raises:
        InputError: there is none, or it can't be reached or opened.
    """
    client = find_store(uri)
    if client is None:
        raise InputError(
            f"{sqlite_file(uri) or redacted(uri)}: there is no such store yet; the first sweep "
            "makes it: python -m sweeps.launch"
        )
    return client


def find_store(uri: str) -> MlflowClient | None:
    """Open a store; return None where there is none yet.

    Raises:
        InputError: it can't be reached or opened.
    """
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        return None
    with _usable(uri) as has_tables, _alone(uri):
        return _opened(uri) if has_tables else None


def check_writable(uri: str) -> None:
    """Check that this user may write to a store; only of an SQLite file is it known beforehand.

    Raises:
        InputError: the file or its folder is read-only.
    """
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return
    # SQLite writes a journal beside its file.
    if not (os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)):
        raise InputError(
            f"the store {database} is read-only for this user: run in a folder of your own, or "
            "give another --tracking-uri"
        )


def run_parameters(config: Config, dataset: str, fingerprint: str) -> dict[str, str]:
    """Return a run's parameters: every hyperparameter under its own name, and the data."""
    return {
        **{name: parameter_text(value) for name, value in config.flat().items()},
        "dataset": dataset,
        "dataset_fingerprint": fingerprint,
    }


def parameter_text(value: Any) -> str:
    """Write a value as `--set` takes it: `true`, `null`, `0.002`, `lstm`."""
    return value if isinstance(value, str) else json.dumps(value)


def hyperparameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the hyperparameters among a run's parameters as values; undoes `parameter_text`."""
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        if name in SECTION_OF:
            values[name] = load_yaml(text)
    return values


def as_metrics(
    values: Mapping[str, float], step: int, at: int | None = None, model_id: str | None = None
) -> list[Metric]:
    """Return MLflow's metrics of one moment.

    Args:
        values: metrics by name.
        step: training examples seen.
        at: milliseconds since the epoch at which they were measured; now, if None.
        model_id: the logged model that they describe.
    """
    at = now_ms() if at is None else at
    return [
        Metric(name, float(value), at, step, model_id=model_id) for name, value in values.items()
    ]


def now_ms() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
) -> str:
    """Start a run of this process and return its id; it ends if its parameters can't be written."""
    run_id = open_run(client, experiment_id, name, tags=tags)
    with ended_on_failure(client, run_id):
        log_batch(client, run_id, parameters=parameters)
    return run_id


def open_run(
    client: MlflowClient, experiment_id: str, name: str, *, tags: Mapping[str, str]
) -> str:
    """Start a run of this process, without parameters yet, and return its id."""
    run = client.create_run(experiment_id, tags={**process_tags(), **tags}, run_name=name)
    run_id: str = run.info.run_id
    return run_id


@contextmanager
def ended_on_failure(
    client: MlflowClient, run_id: str, tags: Mapping[str, str] | None = None
) -> Iterator[None]:
    """End a run if what is done in here fails (FAILED) or is interrupted (KILLED).

    Args:
        client: client of the store.
        run_id: the run.
        tags: set when it has ended so.
    """
    try:
        yield
    except BaseException as error:
        try:
            # The end comes first: whatever has failed may make the tags fail too.
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            if tags:
                log_batch(client, run_id, tags=tags)
        except Exception as further:  # noqa: BLE001 - the first error is the one to tell
            error.add_note(f"the run {run_id} could not be ended: {further}")
        raise


def log_batch(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: list[Metric] | None = None,
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write to a run in as few requests as MLflow's limits allow."""
    metrics = metrics or []
    rest = [Param(name, value) for name, value in (parameters or {}).items()]
    labels = [RunTag(name, value) for name, value in (tags or {}).items()]
    for start in range(0, max(len(metrics), 1), _METRICS_A_REQUEST):
        first = start == 0
        some = metrics[start : start + _METRICS_A_REQUEST]
        client.log_batch(run_id, some, rest if first else [], labels if first else [])


def log_bundle(
    client: MlflowClient,
    run_id: str,
    bundle: Path,
    *,
    name: str,
    metrics: Mapping[str, float],
    step: int,
    at: int | None = None,
) -> str:
    """Save a bundle as a logged model of a run and return the model's id (`m-…`).

    The model takes raw text and brings its own code, so it runs where this project is not
    installed. Nothing is loaded or inferred here: the cost is that of copying the files.

    Args:
        client: client of the store.
        run_id: the run that trained it.
        bundle: the saved bundle's folder.
        name: the model's name in the UI.
        metrics: what the checkpoint reached; linked to the model.
        step: training examples that the checkpoint has seen.
        at: milliseconds since the epoch at which the metrics were measured; now, if None.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, name, source_run_id=run_id)
    model_id: str = model.model_id
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            save_mlflow_model(bundle, folder, model_id=model_id, run_id=run_id)
            client.log_model_artifacts(model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(model_id, "FAILED")
        raise
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
    log_batch(client, run_id, metrics=as_metrics(metrics, step, at, model_id))
    return model_id


def save_mlflow_model(
    bundle: Path, folder: Path, *, model_id: str | None = None, run_id: str | None = None
) -> None:
    """Write a bundle as a folder that MLflow loads and serves: signature, example, code, pins."""
    with tempfile.TemporaryDirectory() as scratch:
        # MLflow keeps the name of the folder that it copies.
        named = Path(scratch, PurePosixPath(BUNDLE_ARTIFACT).name)
        shutil.copytree(bundle, named)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(PACKAGE / "inference" / "pyfunc.py"),
            artifacts={"bundle": str(named)},
            code_paths=[str(PACKAGE)],
            signature=SIGNATURE,
            input_example=pd.DataFrame({"text": ["This film is great"]}),
            pip_requirements=serving_requirements(_language_packages(bundle)),
            mlflow_model=Model(model_id=model_id, model_uuid=model_id, run_id=run_id),
        )


def serving_requirements(further: Sequence[str] = ()) -> list[str]:
    """Return the pins of what a logged model needs; no local label such as `+cpu` is in them.

    Args:
        further: packages that not every model needs.
    """
    return list(_pins((*SERVING_PACKAGES, *further)))


@cache
def _pins(packages: tuple[str, ...]) -> tuple[str, ...]:
    # Reading the metadata of a dozen packages is a seventh of the cost of logging a model.
    return tuple(f"{name}=={metadata.version(name).partition('+')[0]}" for name in packages)


def _language_packages(bundle: Path) -> tuple[str, ...]:
    """Return the packages that the tokenizer of a bundle's language needs."""
    settings = json.loads((bundle / "config.json").read_bytes())["settings"]["text"]
    uses_spacy = settings["tokenizer"] == "spacy"
    return LANGUAGE_PACKAGES.get(settings["language"], ()) if uses_spacy else ()


def close_run(
    client: MlflowClient,
    run_id: str,
    status: RunStatus,
    *,
    tags: Mapping[str, str] | None = None,
    error: str | None = None,
    at: int | None = None,
) -> None:
    """End a run.

    Args:
        client: client of the store.
        run_id: the run.
        status: MLflow's word for how it ended.
        tags: set before it ends.
        error: a traceback, kept as the artifact `error.txt`.
        at: milliseconds since the epoch at which it ended; now, if None.
    """
    if tags:
        log_batch(client, run_id, tags=tags)
    if error:
        client.log_text(run_id, error, "error.txt")
    client.set_terminated(run_id, status, end_time=now_ms() if at is None else at)


class RunRecord:
    """One run of its own, such as `sentiment.train` makes.

    As a context it ends the run: FINISHED, KILLED on Control-C, else FAILED with the traceback
    in `error.txt`.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    @classmethod
    def start(
        cls,
        client: MlflowClient,
        experiment_id: str,
        name: str,
        *,
        parameters: Mapping[str, str],
        precision: str,
        inputs: Sequence[DatasetInput] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a run with its parameters and its provenance.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            name: the run's name in the UI.
            parameters: from `run_parameters`.
            precision: the precision taken.
            inputs: the data.
            tags: further tags.
        """
        all_tags = {**provenance_tags(precision), **(tags or {})}
        run_id = create_run(client, experiment_id, name, tags=all_tags, parameters=parameters)
        with ended_on_failure(client, run_id):
            if inputs:
                client.log_inputs(run_id, list(inputs))
        return cls(client, run_id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at a number of training examples seen."""
        log_batch(self.client, self.run_id, metrics=as_metrics(metrics, step))

    def log_model(self, bundle: Path, name: str, metrics: Mapping[str, float], step: int) -> str:
        """Save the bundle as the run's logged model and return the model's id."""
        return log_bundle(self.client, self.run_id, bundle, name=name, metrics=metrics, step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            close_run(self.client, self.run_id, "FINISHED")
        elif isinstance(error, Exception):
            text = redacted("".join(traceback.format_exception(error)))
            close_run(self.client, self.run_id, "FAILED", error=text)
        else:
            close_run(self.client, self.run_id, "KILLED")


def _artifact_location(uri: str, experiment: str) -> str | None:
    database = sqlite_file(uri)
    # MLflow's own choice is mlruns/ in the current folder, by the experiment's id.
    if database is None or database.parent == Path.cwd():
        return None
    # `..` stays what it is when it is quoted.
    folder = quote(experiment, safe="").replace(".", "%2E", not experiment.strip("."))
    return str(database.parent / "mlruns" / folder)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold off the other processes that open a SQLite store: its creation can't be shared."""
    database = sqlite_file(uri)
    if database is None or (database.exists() and not os.access(database.parent, os.W_OK)):
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{database}.lock")
    lock.acquire()
    try:
        yield
    finally:
        # Unlinked while held: a process that waits on it sees that it has no name, and retries.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _opened(uri: str) -> MlflowClient:
    """Open a store that nobody else of us is opening; an SQLite file is made if it isn't there."""
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        _make_database(database)
    deadline = time.monotonic() + _MAKING_SECONDS
    while True:
        try:
            return MlflowClient(uri)
        except (MlflowException, SQLAlchemyError) as error:
            # Such as `mlflow ui`, started at the same moment, is still making the tables.
            if time.monotonic() > deadline or not _HALF_MADE.search(str(error)):
                raise
        time.sleep(_MAKING_PAUSE)


def _make_database(database: Path) -> None:
    """Make an SQLite store, whole under its name or not at all; the store's lock is held.

    MLflow takes seconds for its tables, and a file in which a kill has left but some of them can
    never be opened again.
    """
    for left in database.parent.glob(f".{database.name}-*"):
        left.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}-{os.getpid()}")
    try:
        MlflowClient(f"sqlite:///{temporary}")
        try:
            os.link(temporary, database)
        except FileExistsError:
            pass  # another program has made it meanwhile
        except OSError:  # a file system without links
            temporary.rename(database)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _usable(uri: str) -> Iterator[bool]:
    """Turn what goes wrong in opening a store into an InputError, within seconds.

    Yields whether the store has its tables; those of a database server may be yet to make.
    """
    shown = redacted(uri)
    has_tables = True
    try:
        with one_try_each():
            if is_server(uri):
                check_reachable(uri)
                check_is_mlflow(uri)
            elif is_database(uri):
                has_tables = database_has_store(uri)
            else:
                _check_file(uri)
            yield has_tables
    except OSError as error:
        raise InputError(
            f"the store {shown} can't be opened ({error.strerror or error}): run this in a folder "
            "that can be written, or name another store with --tracking-uri"
        ) from error
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"the store {shown} can't be used: {store_error(error)}") from error


def _check_file(uri: str) -> None:
    """Check an SQLite store that is there; MLflow would try for minutes to read anything else.

    Raises:
        InputError: it is something else, can't be read, or was moved or copied.
        OSError: the file can't be read.
    """
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return
    if not _is_sqlite(database):
        raise InputError(
            f"{database} is not an SQLite file: name another store with --tracking-uri"
        )
    try:
        check_location(database)
    except sqlite3.Error as error:
        hint = "" if os.access(database.parent, os.W_OK) else "; copy its folder to one of yours"
        raise InputError(f"{database} can't be read ({error}){hint}") from error


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in (b"", b"SQLite format 3\0")
