"""The database of a study: Optuna's RDB storage with fewer statements for each value."""

from __future__ import annotations

import copy
import json
import re
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event, func, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from sentiment.errors import InputError

# How long a statement waits for another process to leave an SQLite file.
_SQLITE_TIMEOUT_S = 60


@dataclass(frozen=True)
class _NewRow:
    """What is to be inserted into a table.

    Attributes:
        model: of the table.
        row: the values by column.
        optunas_way: sets the same where it can't be inserted: it is there already, or there is a
            trouble that Optuna has words for.
    """

    model: type[Any]
    row: Mapping[str, Any]
    optunas_way: Callable[[], None]


class StudyStorage(RDBStorage):
    """Takes what is new of a running trial in one statement, and reads none back.

    Optuna's own takes three statements for a value, a parameter or an attribute, and reads all that
    is running with all of its values four times for each suggestion, because another process might
    have written. Here none does: a sweep's study has one process at a time (`sweeps.workspace`,
    `sweeps.search.study_location`). A sweep of many short trials reports hundreds of values a
    second, and waits for each.
    """

    def __init__(self, url: str, **options: Any) -> None:
        """Open the database; the arguments are Optuna's."""
        super().__init__(url, **options)
        self._running: dict[int, FrozenTrial] = {}
        self._ended: dict[int, FrozenTrial] = {}  # until they are asked for, once
        self._ids: dict[int, list[int]] = {}  # by study
        self._gathered: list[_NewRow] | None = None  # in a transaction that has not begun

    @contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Write what is new of running trials at the end of the context, in one transaction.

        A suggestion sets a dozen parameters and attributes, and each commit costs more than they
        do. All of them are in memory at once; what else writes or reads the database meanwhile
        has them written before.
        """
        self._gathered = []
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            if gathered:
                self._write(gathered)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial: a copy, if it is running."""
        if trial_id not in self._running:
            return super().get_trial(trial_id)
        trial = copy.copy(self._running[trial_id])
        # Optuna writes into them, before or after it writes to the database.
        trial.params = dict(trial.params)
        trial.distributions = dict(trial.distributions)
        trial.intermediate_values = dict(trial.intermediate_values)
        trial.user_attrs = dict(trial.user_attrs)
        trial.system_attrs = dict(trial.system_attrs)
        return trial

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return what Optuna's own does, trials from memory where they are there."""
        if states is not None:
            self._write_gathered()
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        ids = self._ids_of(study_id)
        wanted = set(ids[bisect_right(ids, trial_id_greater_than) :])
        wanted |= {each for each in included_trial_ids if each <= trial_id_greater_than}
        known = self._running | self._ended
        unknown = wanted - known.keys()
        read: list[FrozenTrial] = []
        if unknown:
            # Those above the bound come in any case.
            read = super()._get_trials(study_id, None, unknown, max(unknown))
            read = [trial for trial in read if trial._trial_id in unknown]
        kept = [known[each] for each in wanted & known.keys()]
        self._ended = {each: t for each, t in self._ended.items() if each not in wanted}
        self._running.update({t._trial_id: t for t in read if t.state == TrialState.RUNNING})
        return sorted([*read, *kept], key=lambda trial: trial._trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state of a trial."""
        self._write_gathered()
        trial = self._running.pop(trial_id, None)
        done = super().set_trial_state_values(trial_id, state, values)
        if trial is not None and done and state.is_finished():
            ended = copy.copy(trial)
            ended.state = state
            ended.values = values
            # Optuna's own class has a property in place of the column, which is in UTC.
            column = TrialModel.__table__.c.datetime_complete
            with self.engine.connect() as connection:
                at = connection.execute(select(column).where(TrialModel.trial_id == trial_id))
            utc: datetime = at.scalar_one().replace(tzinfo=UTC)
            ended.datetime_complete = utc.astimezone().replace(tzinfo=None)
            self._ended[trial_id] = ended
        return done

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        optunas_way = partial(super().set_trial_user_attr, trial_id, key, value)
        kept = self._running[trial_id].user_attrs if trial_id in self._running else None
        self._set_attribute(TrialUserAttributeModel, kept, trial_id, key, value, optunas_way)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial that is Optuna's own."""
        optunas_way = partial(super().set_trial_system_attr, trial_id, key, value)
        kept = self._running[trial_id].system_attrs if trial_id in self._running else None
        self._set_attribute(TrialSystemAttributeModel, kept, trial_id, key, value, optunas_way)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Keep the value of a running trial at a step."""
        model = TrialIntermediateValueModel
        value, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        row = {
            "trial_id": trial_id,
            "step": step,
            "intermediate_value": value,
            "intermediate_value_type": kind,
        }
        optunas_way = super().set_trial_intermediate_value
        self._insert(_NewRow(model, row, partial(optunas_way, trial_id, step, intermediate_value)))
        if trial_id in self._running:
            self._running[trial_id].intermediate_values[step] = intermediate_value

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        ids = self._ids_of(study_id)
        started = self._started_trial(study_id) if template_trial is None else None
        trial = started or super()._create_new_trial(study_id, template_trial)
        if started:
            ids.append(trial._trial_id)
        else:
            del self._ids[study_id]  # one whose commit was lost on its way may be among them
        if trial.state == TrialState.RUNNING:
            self._running[trial._trial_id] = trial
        return trial

    def _ids_of(self, study_id: int) -> list[int]:
        """Return the ids of a study's trials, in ascending order; they are read once."""
        if study_id not in self._ids:
            column = TrialModel.trial_id
            wanted = select(column).where(TrialModel.study_id == study_id).order_by(column)
            with self.engine.connect() as connection:
                self._ids[study_id] = list(connection.execute(wanted).scalars())
        return self._ids[study_id]

    def _started_trial(self, study_id: int) -> FrozenTrial | None:
        """Add a running trial that has nothing yet, in two statements; None: Optuna has to."""
        table = TrialModel.__table__
        count = select(func.count()).select_from(table).where(table.c.study_id == study_id)
        started = datetime.now()
        row = {"study_id": study_id, "state": TrialState.RUNNING, "datetime_start": _utc(started)}
        try:
            with self.engine.begin() as connection:
                number = connection.execute(count).scalar_one()
                added = connection.execute(insert(table), {**row, "number": number})
        except SQLAlchemyError:
            return None
        assert added.inserted_primary_key is not None
        return FrozenTrial(
            number=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=started,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=added.inserted_primary_key[0],
        )

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        """Set a parameter of a trial; Optuna's cache in front of the database calls this."""
        running = self._running.get(trial_id)
        optunas_way = partial(
            super()._set_trial_param,
            trial_id,
            param_name,
            param_value_internal,
            distribution,
            previous_distribution,
        )
        if not running or not previous_distribution or param_name in running.params:
            self._set_as_optuna_does(trial_id, optunas_way)
            return
        check_distribution_compatibility(previous_distribution, distribution)
        row = {
            "trial_id": trial_id,
            "param_name": param_name,
            "param_value": param_value_internal,
            "distribution_json": distribution_to_json(distribution),
        }
        self._insert(_NewRow(TrialParamModel, row, optunas_way))
        running.params[param_name] = distribution.to_external_repr(param_value_internal)
        running.distributions[param_name] = distribution

    def _set_attribute(
        self,
        model: type[Any],
        kept: dict[str, Any] | None,
        trial_id: int,
        key: str,
        value: Any,
        optunas_way: Callable[[], None],
    ) -> None:
        """Add an attribute to a running trial, or set it as Optuna does.

        Args:
            model: of its table.
            kept: the attributes of that kind, in memory; None: the trial is not there.
            trial_id: of the trial.
            key: its name.
            value: what JSON can hold.
            optunas_way: sets it.
        """
        if kept is None or key in kept:
            self._set_as_optuna_does(trial_id, optunas_way)
            return
        encoded = json.dumps(value)
        row = {"trial_id": trial_id, "key": key, "value_json": encoded}
        self._insert(_NewRow(model, row, optunas_way))
        kept[key] = json.loads(encoded)

    def _set_as_optuna_does(self, trial_id: int, optunas_way: Callable[[], None]) -> None:
        """Set something of a trial, which is read from the database from then on."""
        self._write_gathered()
        self._running.pop(trial_id, None)
        optunas_way()

    def _insert(self, new: _NewRow) -> None:
        """Insert a row at once, or at the end of a transaction."""
        if self._gathered is None:
            self._write([new])
        else:
            self._gathered.append(new)

    def _write_gathered(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._write(gathered)

    def _write(self, rows: Sequence[_NewRow]) -> None:
        """Insert rows in one transaction, one statement for each run of a table's."""
        try:
            with self.engine.begin() as connection:
                for model, of_model in groupby(rows, key=lambda each: each.model):
                    connection.execute(insert(model), [each.row for each in of_model])
        except SQLAlchemyError:
            try:
                for each in rows:
                    each.optunas_way()
            except BaseException:
                # What is in memory is more than what the database has.
                for each in rows:
                    self._running.pop(each.row["trial_id"], None)
                raise


def _utc(local: datetime) -> datetime:
    """Return a time as the database has it, which knows of no zones."""
    return local.astimezone(UTC).replace(tzinfo=None)


def one_transaction(study: Study) -> AbstractContextManager[None]:
    """Return a context at whose end a study writes what is new of its running trials.

    Args:
        study: in a `StudyStorage`; another one writes as ever.
    """
    storage = getattr(study._storage, "_backend", None)
    return storage.one_transaction() if isinstance(storage, StudyStorage) else nullcontext()


def add_attributes(study: Study, key: str, values: Mapping[int, str]) -> None:
    """Add a user attribute to trials that may have ended, which Optuna's own functions refuse.

    It is for readers of the database: studies that have the trials in memory don't notice. One
    that is there already stays.

    Args:
        study: in a `StudyStorage`; nothing is done in another one.
        key: the attribute's name.
        values: by Optuna's number of the trial.
    """
    storage = getattr(study._storage, "_backend", None)
    if not isinstance(storage, StudyStorage) or not values:
        return
    ids = {trial._trial_id: trial.number for trial in study.get_trials(deepcopy=False)}
    wanted = {each: values[number] for each, number in ids.items() if number in values}
    model = TrialUserAttributeModel
    there = select(model.trial_id).where(model.key == key, model.trial_id.in_(wanted))
    with storage.engine.begin() as connection:
        missing = wanted.keys() - set(connection.execute(there).scalars())
        rows = [
            {"trial_id": each, "key": key, "value_json": json.dumps(wanted[each])}
            for each in sorted(missing)
        ]
        if rows:
            connection.execute(insert(model), rows)


def open_study_storage(url: str) -> StudyStorage:
    """Open a database for studies; its tables are made when they aren't there.

    Args:
        url: SQLAlchemy's, such as `sqlite:///sweeps.db`.

    Raises:
        InputError: it can't be opened, or holds another program's tables.
    """
    sqlite = url.startswith("sqlite")
    options = {"connect_args": {"timeout": _SQLITE_TIMEOUT_S}} if sqlite else {}
    try:
        # Optuna adds its tables to whatever is there before it looks whether it may.
        tables = inspect(create_engine(url, **options)).get_table_names()
        if "alembic_version" in tables and "studies" not in tables:
            raise RuntimeError("another program's tables, such as MLflow's, are in it")
        storage = StudyStorage(url, engine_kwargs=options)
        if sqlite:
            # The pool's connection is from before it listens.
            event.listen(storage.engine, "connect", _lighten)
            storage.engine.dispose()
            with storage.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        shown = re.sub(r"//[^@/]*@", "//…@", url)
        cause = getattr(error, "orig", None) or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
        raise InputError(
            f"the study {shown}: {reason}; give a database of its own, such as sqlite:///sweeps.db"
        ) from None
    return storage


def _lighten(connection: sqlite3.Connection, record: Any) -> None:
    """Let a commit hand its data to the operating system, and not wait for the disk.

    A suggestion is a dozen commits. With a write-ahead log the end of a process loses none of
    them; a power cut may lose the last ones, whose trials a resume then runs once more.
    """
    connection.execute("PRAGMA synchronous=NORMAL")
