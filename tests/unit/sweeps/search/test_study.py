"""Studies: opened, named, and refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from toy_search import BUDGET, METRIC, evaluation, search_over, study_in
from toy_space import TOY

from sentiment.errors import InputError
from sweeps.search.study import enqueue_first, make_study, note_runs


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def test_runs_that_were_made_too_late_are_named_at_the_end(storage):
    study = study_in(storage)
    search = search_over(study, 3)
    search.suggest("a")
    search.on_trial_complete("a", evaluation(0.5, BUDGET, finished=True))
    search.suggest("b")
    search.on_trial_complete("b", error=True)
    search.suggest("c")
    runs = {0: "run-0", 1: "run-1"}
    for _ in range(2):
        note_runs(study, runs.get)
    loaded = optuna.load_study(study_name="toy", storage=storage)
    found = [trial.user_attrs.get("mlflow_run_id") for trial in loaded.trials]
    assert found == ["run-0", "run-1", None]
    # A study in memory has no other readers.
    note_runs(study_in(None), runs.get)


def test_a_study_names_its_objective_an_older_one_once_it_is_resumed(storage):
    older = optuna.create_study(storage=storage, study_name="toy", direction="maximize")
    older.set_user_attr("objective", METRIC)
    assert older.metric_names is None
    for _ in range(2):
        assert study_in(storage).metric_names == [METRIC]
    loaded = optuna.load_study(study_name="toy", storage=storage)
    loaded.tell(loaded.ask(), 0.5)
    assert f"value_{METRIC}" in loaded.trials_dataframe().columns


@pytest.mark.parametrize(
    ("objective", "space", "says"),
    [
        ("valid/loss", TOY, "another objective: resume it with the same --objective"),
        (METRIC, TOY.fix({"cell": "gru"}), "another space: resume it with the same --space"),
    ],
)
def test_a_study_keeps_its_objective_and_space(storage, objective, space, says):
    study_in(storage)
    with pytest.raises(InputError, match=says):
        make_study(storage, "toy", objective, space)


def test_a_storage_that_cannot_be_opened_is_refused(tmp_path):
    foreign = tmp_path / "mlflow.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table alembic_version (version_num varchar(32))")
    for url, says in (
        ("nonsense", "URL"),
        (f"sqlite:///{tmp_path}/none/study.db", "unable to open"),
        ("nosuch://user:secret@host/db", "nosuch"),
        (f"sqlite:///{foreign}", "another program's tables"),
    ):
        with pytest.raises(InputError, match=r"^the study ") as caught:
            study_in(url)
        assert says in str(caught.value)
        assert "secret" not in str(caught.value)
    with sqlite3.connect(foreign) as connection:
        assert connection.execute("select count(*) from sqlite_master").fetchone() == (1,)


def test_what_a_space_enqueues_comes_first_and_once(storage):
    first = ({"cell": "gru", "learning_rate": 4e-3}, {"cell": "lstm", "dropout": 0.1})
    space = replace(TOY, enqueued=first)

    def opened():
        study = make_study(storage, "toy", METRIC, space)
        enqueue_first(study, space)
        return study

    taken = space.suggest(opened().ask())
    assert {name: taken[name] for name in first[0]} == first[0]
    # The process dies, and the sweep is resumed.
    study = opened()
    taken = space.suggest(study.ask())
    assert {name: taken[name] for name in first[1]} == first[1]
    assert len(study.get_trials(deepcopy=False)) == 2
