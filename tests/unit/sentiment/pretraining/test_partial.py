"""What a pretraining leaves while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sentiment.pretraining.partial import PartialPretraining, Progress


@pytest.fixture
def partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartialPretraining:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    return PartialPretraining("ab12")


def test_the_newest_whole_state_is_taken(partial: PartialPretraining) -> None:
    assert partial.load() is None
    partial.save(3, {"step": 3}, {"x": torch.tensor([1.0])})
    partial.save(12, {"step": 12}, {"x": torch.tensor([2.0])})
    assert [path.name for path in partial.folder.iterdir()] == ["step-000000012"]
    # What a kill between the two leaves: an older state, and half of a newer.
    older = partial.folder / "step-000000012"
    older.rename(partial.folder / "step-000000007")
    partial.save(20, {"step": 20}, {"x": torch.tensor([3.0])})
    (partial.folder / "step-000000020" / "state.safetensors").write_bytes(b"torn")
    assert partial.load() is None
    partial.save(21, {"step": 21}, {"x": torch.tensor([4.0])})
    state, tensors = partial.load() or ({}, {})
    assert state == {"step": 21}
    assert tensors["x"].tolist() == [4.0]


def test_progress_and_its_end(partial: PartialPretraining) -> None:
    assert partial.read_progress() is None
    partial.report(Progress(10, 40, 0.5, 4.25))
    found = partial.read_progress()
    assert found == Progress(10, 40, 0.5, 4.25)
    assert found is not None
    assert found.seconds_left == 15.0
    partial.remove()
    assert partial.read_progress() is None
    assert not partial.folder.exists()
    partial.remove()
