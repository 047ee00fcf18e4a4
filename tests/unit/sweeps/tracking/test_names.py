from __future__ import annotations

from datetime import datetime

import pytest
from tracked_sweeps import Store, start

from sentiment.errors import InputError
from sweeps.tracking.names import check_sweep_name, new_sweep_name


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 81, "a/b", "été"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="letters, digits"):
        check_sweep_name(name)


def test_name_is_used_once(store: Store) -> None:
    now = datetime(2026, 11, 21, 17, 45, 0)
    name = new_sweep_name(store[0], store[1], "my data/été.csv", now)
    assert name == "my-data-t-.csv-20261121-174500"
    check_sweep_name(name)
    start(store, name).end("finished")
    assert new_sweep_name(store[0], store[1], "my data/été.csv", now) == f"{name}-2"
    with pytest.raises(InputError, match=f"--resume {name}"):
        start(store, name)
