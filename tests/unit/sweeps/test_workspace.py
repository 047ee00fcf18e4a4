"""A sweep's folder: whole from the start, and one process's at a time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sentiment.errors import InputError
from sweeps.workspace import SETTINGS_FILE, SPACE_FILE, Workspace


def test_of_many_that_want_a_name_one_gets_it(tmp_path):
    def create(number):
        try:
            return Workspace.create(tmp_path / "mine", f"{number}", "space")
        except FileExistsError:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [folder for folder in pool.map(create, range(8)) if folder]
    (folder,) = won
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert folder.read(SPACE_FILE) == "space"
    assert folder.read(SETTINGS_FILE) in [str(number) for number in range(8)]


def test_a_sweep_that_is_running_can_not_be_gone_on_with(tmp_path):
    """Also not after its folder was renamed into place, and only until it ends by any means."""
    script = (
        "import sys, time; from pathlib import Path; from sweeps.workspace import Workspace;"
        "folder = Workspace.create(Path(sys.argv[1]), '{}', ''); print('created', flush=True);"
        "time.sleep(600)"
    )
    path = tmp_path / "other"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "created\n"
        with pytest.raises(InputError, match="the sweep other is running, in another process"):
            Workspace(path).lock()
    finally:
        process.kill()
        process.wait()
    folder = Workspace(path)
    folder.lock()
    folder.write('{"trials": 3}', "cell: gru")
    folder.release()
    assert sorted(file.name for file in path.iterdir()) == ["lock", SETTINGS_FILE, SPACE_FILE]
