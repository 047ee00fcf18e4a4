from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from sentiment.errors import InputError
from sweeps.search.rdb_storage import one_transaction, open_study_storage
from sweeps.search.study import make_study
from sweeps.space.space import SearchSpace


def test_reported_values_are_optunas(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=open_study_storage(url), study_name="s")
    trial = study.ask()
    for step, value in ((100, 0.5), (200, 0.75)):
        trial.report(value, step)
    # A step that is there already is written over, as Optuna does.
    study._storage.set_trial_intermediate_value(trial._trial_id, 200, float("nan"))
    study._storage.set_trial_intermediate_value(trial._trial_id, 300, float("inf"))
    again = optuna.load_study(storage=url, study_name="s").trials[0]
    assert str(again.intermediate_values) == "{100: 0.5, 200: nan, 300: inf}"


def test_an_ended_trial_keeps_what_it_has(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_study_storage(f"sqlite:///{tmp_path}/study.db"))
    trial = study.ask()
    trial.report(0.5, 100)
    study.tell(trial, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_intermediate_value(trial._trial_id, 100, 0.25)
    assert study.trials[0].intermediate_values == {100: 0.5}


def test_commits_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    storage = open_study_storage(f"sqlite:///{tmp_path}/study.db")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_another_programs_database_is_left_alone(store_uri: str) -> None:
    with pytest.raises(InputError, match="MLflow's, are in it"):
        open_study_storage(store_uri)


@pytest.fixture(scope="module")
def empty_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study of no trials, which is copied in less time than it is made."""
    database = tmp_path_factory.mktemp("study") / "study.db"
    storage = open_study_storage(f"sqlite:///{database}")
    optuna.create_study(storage=storage, study_name="s")
    storage.engine.dispose()
    return database


@settings(max_examples=15, deadline=None)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["ask", "suggest", "report", "attribute", "tell", "fail", "prune"]),
            st.integers(0),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_what_is_kept_in_memory_is_what_the_database_has(
    empty_study: Path, tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, bool]]
) -> None:
    database = shutil.copy(empty_study, tmp_path_factory.mktemp("copy"))
    url = f"sqlite:///{database}"
    study = optuna.load_study(storage=open_study_storage(url), study_name="s")
    database_alone = RDBStorage(url)  # keeps nothing in memory
    running: list[optuna.Trial] = []
    for step, (move, which, gathered) in enumerate(moves):
        with one_transaction(study) if gathered else nullcontext():
            if move == "ask" or not running:
                running.append(study.ask())
                running[-1].suggest_float("x", 0.0, 1.0)
                running[-1].set_user_attr("trial", (step, {1: None}))
            trial = running[which % len(running)]
            match move:
                case "suggest":
                    # The trial has been read since it was asked for.
                    trial.suggest_categorical("y", [2, None, "z"])
                case "report":
                    trial.report(which % 7, step)
                case "attribute":
                    trial.set_user_attr("ray", which % 5)
                    trial.set_user_attr("ray", which % 3)
                case "tell":
                    study.tell(trial, 0.5)
                    running.remove(trial)
                case "prune":
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    running.remove(trial)
                case "fail":
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    running.remove(trial)
        assert study.get_trials() == database_alone.get_all_trials(study._study_id)


def test_a_suggestion_is_written_in_one_transaction(tmp_path: Path) -> None:
    storage = open_study_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage)
    study.ask().suggest_float("x", 0.0, 1.0)  # the first of a dimension is Optuna's to set
    commits: list[object] = []
    sqlalchemy.event.listen(storage.engine, "commit", commits.append)
    trial = study.ask()
    before = len(commits)
    with one_transaction(study):
        trial.set_user_attr("trial", 1)
        trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("ray_trial", "a")
        assert study.trials[1].user_attrs == {"trial": 1, "ray_trial": "a"}
        assert len(commits) == before
    assert len(commits) == before + 1
    known = RDBStorage(f"sqlite:///{tmp_path}/study.db").get_all_trials(study._study_id)
    assert known == study.trials


@contextmanager
def refused_commits(study: optuna.Study) -> Iterator[None]:
    """Let a database that is reached take nothing."""

    def refuse(connection: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the server has gone"))

    engine = study._storage._backend.engine
    sqlalchemy.event.listen(engine, "commit", refuse)
    try:
        yield
    finally:
        sqlalchemy.event.remove(engine, "commit", refuse)


def test_what_could_not_be_written_is_not_kept_in_memory(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_study_storage(f"sqlite:///{tmp_path}/study.db"))
    first, second = study.ask(), study.ask()
    with pytest.raises(StorageInternalError), refused_commits(study), one_transaction(study):
        first.set_user_attr("trial", 1)
        first.set_user_attr("ray_trial", "a")
    # And what follows is written at once again.
    second.report(0.5, 100)
    known = RDBStorage(f"sqlite:///{tmp_path}/study.db").get_all_trials(study._study_id)
    assert known == study.trials
    assert known[0].user_attrs == {}
    assert known[1].intermediate_values == {100: 0.5}


def test_numbers_stay_in_order_where_the_answer_to_a_commit_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=open_study_storage(url))
    study.ask()
    engine = study._storage._backend.engine
    answers = iter([True])

    def lose(connection: sqlalchemy.Connection) -> None:
        if next(answers, False):
            connection.connection.commit()
            raise OperationalError("COMMIT", {}, Exception("the server has gone"))

    sqlalchemy.event.listen(engine, "commit", lose)
    study.ask()
    study.ask()
    known = RDBStorage(url).get_all_trials(study._study_id)
    assert [trial.number for trial in known] == [0, 1, 2, 3]
    assert known == study.trials


def test_what_is_there_already_is_written_over_at_the_end_of_a_transaction(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=open_study_storage(url))
    trial = study.ask()
    with one_transaction(study):
        trial.set_user_attr("trial", 1)
        RDBStorage(url).set_trial_user_attr(trial._trial_id, "trial", 2)
        trial.set_user_attr("ray_trial", "a")
    known = RDBStorage(url).get_all_trials(study._study_id)
    assert known[0].user_attrs == {"trial": 1, "ray_trial": "a"}


def test_a_search_in_a_database_suggests_what_one_in_memory_does(tmp_path: Path) -> None:
    space = SearchSpace.from_mapping(
        {"hidden_dim": {"int": [8, 64]}, "dropout": {"float": [0, 0.6]}}
    )
    suggested = []
    for url in (None, f"sqlite:///{tmp_path}/study.db"):
        study = make_study(url, "s", "valid/accuracy", space)
        # While three train, what they try keeps the next suggestions away: also the first ones,
        # whose settings come one by one.
        running: list[tuple[optuna.Trial, int]] = []
        settings = []
        for number in range(20):
            trial = study.ask()
            settings.append(space.suggest(trial))
            running.append((trial, number))
            if len(running) > 3:
                ended, value = running.pop(number % 3)
                study.tell(ended, value % 7)
        suggested.append(settings)
    assert suggested[0] == suggested[1]
