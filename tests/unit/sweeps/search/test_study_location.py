"""Studies in a database that machines share."""

from __future__ import annotations

import pytest
from optuna import load_study
from services import free_port, postgresql
from sqlalchemy.engine import make_url

from sentiment.errors import InputError
from sentiment.tracking.store import find_store, open_store, read_store
from sweeps.search.rdb_storage import add_attributes
from sweeps.search.study import make_study
from sweeps.search.study_location import StudyLocation
from sweeps.space.space import SearchSpace
from sweeps.workspace import Workspace

SPACE = SearchSpace.from_mapping({"cell": {"choice": ["rnn", "gru"]}})


@pytest.fixture(scope="module")
def studies():
    with postgresql("optuna", "empty") as database:
        yield database("optuna")


@pytest.fixture
def folder(tmp_path):
    return Workspace(tmp_path / "first")


def test_a_study_is_a_file_in_the_sweeps_folder_unless_told(folder):
    storage = StudyLocation(None)
    folder.path.mkdir()
    assert not storage.is_shared
    assert not storage.holds(folder)
    assert storage.url(folder) == f"sqlite:///{folder.path}/study.db"
    make_study(storage.url(folder), "first", "valid/accuracy", SPACE)
    assert storage.holds(folder)


def test_a_database_knows_the_studies_that_it_has(studies, folder):
    storage = StudyLocation(studies.replace("postgresql:", "postgres:"))
    assert storage.is_shared
    assert storage.url(folder) == studies
    assert not storage.holds(folder)
    study = make_study(storage.url(folder), "first", "valid/accuracy", SPACE)
    assert storage.holds(folder)
    assert not storage.holds(Workspace(folder.path.with_name("second")))
    study.tell(study.ask(SPACE.distributions()), 0.5)
    again = make_study(storage.url(folder), "first", "valid/accuracy", SPACE)
    assert [trial.value for trial in again.trials] == [0.5]
    assert again.metric_names == ["valid/accuracy"]
    for _ in range(2):
        add_attributes(again, "mlflow_run_id", {0: "a-run"})
    loaded = load_study(study_name="first", storage=storage.url(folder))
    assert loaded.trials[0].user_attrs == {"mlflow_run_id": "a-run"}


def test_one_process_has_a_study_at_a_time(studies):
    one, other = StudyLocation(studies), StudyLocation(studies)
    with one.lock("first"):
        with pytest.raises(InputError, match="the sweep first is running, perhaps on another"):
            other.lock("first").__enter__()
        with other.lock("second"):
            pass
    with other.lock("first"):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///study.db", "give postgresql://USER:PASSWORD@HOST/DATABASE"),
        ("mysql://me:secret@host/db", r"--study-storage mysql://.*: give postgresql://"),
        ("postgresql", "give postgresql://"),
    ],
)
def test_other_databases_are_refused(url, message):
    with pytest.raises(InputError, match=message) as refused:
        StudyLocation(url)
    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_answer_is_told_of(folder):
    storage = StudyLocation(f"postgresql://me:secret@127.0.0.1:{free_port()}/db")
    with pytest.raises(InputError, match=r"--study-storage .*refused") as refused:
        storage.holds(folder)
    assert "secret" not in str(refused.value)
    with pytest.raises(InputError, match="refused"):
        storage.lock("first").__enter__()


def test_a_tracking_store_in_a_database_is_looked_at_first(studies):
    empty = studies.replace("/optuna", "/empty")
    assert find_store(empty) is None
    with pytest.raises(InputError, match=r"there is no such store yet.*sweeps\.launch"):
        read_store(empty)
    with pytest.raises(InputError, match=r'database "none" does not exist; check that') as missing:
        read_store(studies.replace("/optuna", "/none"))
    password = make_url(studies).password
    with pytest.raises(InputError, match="password authentication failed") as wrong:
        open_store(studies.replace(password, "hunter2"))
    for told in (missing, wrong):
        assert password not in str(told.value)
        assert "hunter2" not in str(told.value)
        assert "\n" not in str(told.value)
