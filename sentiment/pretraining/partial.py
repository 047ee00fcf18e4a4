"""What a pretraining leaves on disk while it runs: its state, to resume it, and its progress.

They lie beside the cache's entry of the finished language model, whose lock is held by the process
that trains. A state is a folder with a manifest, renamed when it is whole.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

from sentiment.io.cache import cache_root, is_intact, write_manifest

KIND = "language-model-partial"
_PROGRESS, _STATE, _TENSORS = "progress.json", "state.json", "state.safetensors"
_STEP = "step-"


class Progress(NamedTuple):
    """How far a pretraining is.

    Attributes:
        step: steps done.
        steps: steps in all.
        seconds_a_step: mean of the present start.
        loss: mean of the last steps, in nats a word.
    """

    step: int
    steps: int
    seconds_a_step: float
    loss: float

    @property
    def seconds_left(self) -> float:
        """Seconds to its end at the present speed."""
        return (self.steps - self.step) * self.seconds_a_step


class PartialPretraining:
    """The folder of one pretraining that has not ended."""

    def __init__(self, fingerprint: str) -> None:
        """Name it by the fingerprint of what is trained; nothing is made before it is written."""
        self.folder = cache_root() / KIND / fingerprint

    def save(self, step: int, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write a state in place of the one before.

        Args:
            step: steps done.
            state: JSON.
            tensors: by name.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".", dir=self.folder))
        (making / _STATE).write_text(json.dumps(state), encoding="utf-8")
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(whole, making / _TENSORS)
        write_manifest(making)
        made = self.folder / f"{_STEP}{step:09d}"
        making.rename(made)
        for path in self.folder.iterdir():
            if path.is_dir() and path != made:
                shutil.rmtree(path)

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return the newest whole state, None if there is none."""
        if not self.folder.is_dir():
            return None
        for path in sorted(self.folder.glob(f"{_STEP}*"), reverse=True):
            if is_intact(path):
                state = json.loads((path / _STATE).read_text(encoding="utf-8"))
                return state, load_file(path / _TENSORS)
        return None

    def report(self, progress: Progress) -> None:
        """Write how far it is, for `read_progress`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{_PROGRESS}"
        path.write_text(json.dumps(progress), encoding="utf-8")
        path.replace(self.folder / _PROGRESS)

    def read_progress(self) -> Progress | None:
        """Return how far it is, None before its first report and after its end."""
        try:
            return Progress(*json.loads((self.folder / _PROGRESS).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove the folder: the language model is finished."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
