"""The model under an alias of an SQLite store, without the seconds that MLflow takes to import.

Only tables of one known revision are read. All else is left to `sentiment.tracking.model_uri`:
other stores, other names of a model, and whatever is wrong, for which it has the messages.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sentiment.inference.saved_folder import BUNDLE_ARTIFACT, bundle_within
from sentiment.tracking.database import sqlite_file, sqlite_read_only
from sentiment.tracking.registered_name import alias_of
from sentiment.tracking.relocation import displacement, local_path

REVISION = "dc11669786a5"
"""Of MLflow's tables, as Alembic names it."""

_BUSY_SECONDS = 1.0
_LOCATION = """
    SELECT model.artifact_location
    FROM registered_model_aliases AS alias
    JOIN model_versions AS version USING (workspace, name, version)
    JOIN logged_models AS model ON version.source = 'models:/' || model.model_id
    WHERE workspace = 'default' AND version.name = ? AND alias.alias = ?
    AND model.lifecycle_stage = 'active' AND version.current_stage <> 'Deleted_Internal'
"""


def find_bundle(reference: str | None, store: str | None) -> Path | None:
    """Return the folder of the bundle that an alias means; None where MLflow must be asked.

    Args:
        reference: `models:/NAME@ALIAS`, an alias of the registered model `sentiment`, or any other
            name of a model; None is `models:/sentiment@champion`.
        store: address of the tracking store; the default one, if None.

    Raises:
        InputError: the files of the model are gone.
    """
    found = alias_of(reference)
    database = _database(store)
    if found is None or database is None or "MLFLOW_WORKSPACE" in os.environ:
        return None
    try:
        folder = _location(database, *found)
    except (sqlite3.Error, OSError):
        return None
    return None if folder is None else bundle_within(folder / BUNDLE_ARTIFACT)


def _database(store: str | None) -> Path | None:
    uri = store or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    database = sqlite_file(uri)
    return database.absolute() if database is not None and database.is_file() else None


def _location(database: Path, name: str, alias: str) -> Path | None:
    """Return where the logged model of an alias lies; None if that is not surely on this disk."""
    address = sqlite_read_only(database)
    with closing(sqlite3.connect(address, timeout=_BUSY_SECONDS, uri=True)) as connection:
        if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [
            (REVISION,)
        ]:
            return None
        row = connection.execute(_LOCATION, (name, alias)).fetchone()
    if row is None or displacement(database) is not None:
        return None
    return local_path(row[0])
