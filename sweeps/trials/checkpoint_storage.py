"""Where the checkpoints of trials lie: a folder, or a bucket that all nodes reach."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from pyarrow import fs

from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Storage:
    """A folder on a disk or in an object store; nothing is made before it is written to.

    It is pickled as its address alone, so that a worker on another node opens it for itself.
    """

    def __init__(self, address: str | Path) -> None:
        """Name the folder.

        Args:
            address: a path, or what `pyarrow.fs.FileSystem.from_uri` takes, such as
                `s3://bucket/folder` or `gs://bucket/folder`.

        Raises:
            InputError: it names no bucket.
        """
        text = str(address)
        if _SCHEME.fullmatch(text):
            raise InputError(f"--storage {text}: name a bucket too, as in {text}bucket/folder")
        self.address = text if _SCHEME.match(text) else str(Path(text).absolute())

    def __getstate__(self) -> dict[str, str]:
        return {"address": self.address}

    def __str__(self) -> str:
        return redacted(self.address)

    def __truediv__(self, name: str) -> Storage:
        """Return a folder within this one."""
        if self.local is not None:
            return Storage(self.local / name)
        plain, question, options = self.address.partition("?")
        return Storage(f"{plain.rstrip('/')}/{name}{question}{options}")

    @property
    def local(self) -> Path | None:
        """The folder's path, if it is on a disk."""
        return None if _SCHEME.match(self.address) else Path(self.address)

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        if self.local is not None:
            return fs.LocalFileSystem(), self.address
        try:
            system, path = fs.FileSystem.from_uri(self.address)
        except (OSError, ValueError) as error:
            reason = redacted(str(error).splitlines()[0])
            raise InputError(
                f"--storage {self}: {reason}; give a folder, s3://bucket/… or gs://bucket/…"
            ) from None
        return system, path

    @property
    def filesystem(self) -> fs.FileSystem:
        """Its file system.

        Raises:
            InputError: the address is none.
        """
        return self._opened[0]

    @property
    def path(self) -> str:
        """Where it lies within its file system.

        Raises:
            InputError: the address is none.
        """
        return self._opened[1]

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.filesystem.get_file_info(self.path).type == fs.FileType.Directory

    def names(self) -> list[str]:
        """Return the names of the folders within it, sorted; none if it isn't there."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(each.base_name for each in found if each.type == fs.FileType.Directory)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Give the folder as one of this machine: itself, or a copy that is removed afterwards.

        Raises:
            OSError: it can't be read.
        """
        if self.local is not None:
            yield self.local
            return
        copy = Path(tempfile.mkdtemp(prefix="storage-"))
        try:
            fs.copy_files(
                self.path, str(copy), self.filesystem, fs.LocalFileSystem(), use_threads=False
            )
            yield copy
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def put(self, folder: Path) -> None:
        """Copy a folder of this machine here; what was here before goes.

        Raises:
            OSError: that can't be done.
        """
        self.remove()
        self.filesystem.create_dir(self.path, recursive=True)
        fs.copy_files(
            str(folder), self.path, fs.LocalFileSystem(), self.filesystem, use_threads=False
        )

    def remove(self) -> None:
        """Remove the folder and what is in it, if it is there."""
        if self.local is not None:
            # What another process is still writing there stays.
            shutil.rmtree(self.local, ignore_errors=True)
        elif self.exists():
            self.filesystem.delete_dir(self.path)

    def remove_empty(self) -> None:
        """Remove the folder if nothing is in it; what others have put there meanwhile stays."""
        if self.local is not None:
            with suppress(OSError):  # it isn't empty, or isn't there
                self.local.rmdir()
        elif self.exists() and not self.filesystem.get_file_info(fs.FileSelector(self.path)):
            self.filesystem.delete_dir(self.path)

    def write(self, name: str, text: str) -> None:
        """Write a small file into it, and make it if it isn't there.

        Raises:
            OSError: that can't be done.
        """
        self.filesystem.create_dir(self.path, recursive=True)
        with self.filesystem.open_output_stream(f"{self.path}/{name}") as file:
            file.write(text.encode())

    def read(self, name: str) -> str:
        """Read what `write` wrote.

        Raises:
            OSError: that can't be done.
        """
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as file:
            return file.read().decode()
