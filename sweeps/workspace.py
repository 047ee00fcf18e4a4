"""A sweep's own folder, beside the store: what it was asked to do, its study, Ray's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from sentiment.errors import InputError

STATE_FOLDER = Path(".sweeps")
"""Beside the store: a workspace for each sweep."""

SETTINGS_FILE = "settings.json"
"""What the sweep was asked to do; also among the artifacts of its run."""
SPACE_FILE = "space.yaml"
STUDY_FILE = "study.db"
LOCK_FILE = "lock"
"""Held by the process that runs the sweep."""


class Workspace:
    """The folder of one sweep, which one process has at a time.

    It is there, with settings and space, before anything of the sweep is recorded: from then on
    a sweep that is interrupted can be resumed.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is read or written."""
        self.path = path
        self._lock = FileLock(path / LOCK_FILE)

    @classmethod
    def create(cls, path: Path, settings: str, space: str) -> Workspace:
        """Create the folder of a new sweep and lock it.

        Args:
            path: the folder; its name is the sweep's.
            settings: JSON.
            space: YAML.

        Raises:
            FileExistsError: another sweep has it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        folder = cls(temporary)
        try:
            folder.write(settings, space)
            folder._lock.acquire(timeout=0)
            temporary.chmod(0o755)
            # A folder that is there and not empty is not replaced.
            temporary.rename(path)
        except BaseException as error:
            folder.release()
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and path.exists():
                raise FileExistsError(path) from None
            raise
        folder.path = path
        return folder

    def lock(self) -> None:
        """Lock the folder of a sweep that is resumed; created, where another machine started it.

        Raises:
            InputError: another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # Not at once: `sweeps.clean` holds it for a moment when it looks.
            self._lock.acquire(timeout=1)
        except Timeout:
            raise InputError(
                f"the sweep {self.path.name} is running, in another process: wait for it, or end "
                "that process first"
            ) from None

    def release(self) -> None:
        """Unlock the folder; the end of the process, however it comes, does the same."""
        self._lock.release()

    def write(self, settings: str, space: str) -> None:
        """Keep what the sweep is asked to do."""
        for name, text in ((SETTINGS_FILE, settings), (SPACE_FILE, space)):
            temporary = self.path / f"{name}.tmp-{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path / name)

    def read(self, name: str) -> str | None:
        """Return the settings or the space; None if they are not there."""
        file = self.path / name
        return file.read_text(encoding="utf-8") if file.is_file() else None

    @property
    def study(self) -> Path:
        """Optuna's database."""
        return self.path / STUDY_FILE

    @property
    def ray(self) -> Path:
        """Ray's own files, the checkpoints of running trials among them."""
        return self.path.absolute() / "ray"
