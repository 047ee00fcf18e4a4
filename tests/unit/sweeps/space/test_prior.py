"""Files of beliefs, and what does not fit a space."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.errors import InputError
from sweeps.space.prior import CONFIDENCE, Belief
from sweeps.space.space import SearchSpace

SPACE = {
    "cell": {"choice": ["rnn", "gru", "lstm"]},
    "hidden_dim": {"int": [32, 256], "step": 32},
    "learning_rate": {"float": [1e-4, 1e-2], "log": True},
    "dropout": {"float": [0.0, 0.6]},
    "layers": 1,
}
PRIOR = """
cell: {choice: [gru, lstm]}
hidden_dim: 64
learning_rate: {range: [1e-3, 5e-3], confidence: 0.9}
dropout: {value: 0.3, confidence: 0.5}
"""


def space_with(text: str, tmp_path: Path) -> SearchSpace:
    path = tmp_path / "prior.yaml"
    path.write_text(text)
    return SearchSpace.from_mapping(SPACE).believe(str(path))


def test_a_file_of_beliefs(tmp_path: Path) -> None:
    space = space_with(PRIOR, tmp_path)
    assert space.prior == {
        "cell": Belief(("gru", "lstm"), confidence=CONFIDENCE),
        "hidden_dim": Belief((64,), confidence=CONFIDENCE),
        "learning_rate": Belief((1e-3, 5e-3), is_range=True, confidence=0.9),
        "dropout": Belief((0.3,), confidence=0.5),
    }
    plain = SearchSpace.from_mapping(SPACE)
    assert space == plain
    assert space.fingerprint == plain.fingerprint
    assert plain.believe(None) is plain


def test_a_space_file_keeps_them(tmp_path: Path) -> None:
    space = space_with(PRIOR, tmp_path)
    path = tmp_path / "space.yaml"
    path.write_text(space.to_yaml())
    assert SearchSpace.load(path).prior == space.prior
    fixed = space.fix({"cell": "gru"})
    assert set(fixed.prior) == {"hidden_dim", "learning_rate", "dropout"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cells: gru", "unknown hyperparameter 'cells': did you mean cell"),
        ("layers: 1", "layers is not searched: leave it out"),
        ("cell: {range: [a, b]}", "cell: 'a': input should be 'rnn', 'gru' or 'lstm'"),
        ("hidden_dim: 48", "hidden_dim=48 is outside the space"),
        ("dropout: 0.7", "dropout=0.7 is outside the space"),
        ("dropout: {range: [0.4, 0.2]}", "a range is two numbers, the lower first"),
        ("dropout: {range: [0.4]}", r"range is \[low, high\], not"),
        ("dropout: {choice: 0.3}", "choice is a list of values, not 0.3"),
        ("dropout: {value: 0.3, range: [0, 1]}", "one of value, choice and range, not 2"),
        ("dropout: {value: 0.3, confidence: 2}", "confidence is a number from 0 to 1, not 2"),
        ("dropout: {value: 0.3, certainty: 1}", "unknown key 'certainty'"),
        ("[1, 2]", "write a line such as `cell: gru` for each belief"),
        ("", "write a line such as `cell: gru` for each belief"),
        ("seed: 3", "all trials share it; give it with --seed"),
    ],
)
def test_beliefs_that_do_not_fit_are_refused_in_a_line(
    text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        space_with(text, tmp_path)
    assert str(caught.value).startswith("--prior ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--prior .*none.yaml: no such file"):
        SearchSpace.from_mapping(SPACE).believe(str(tmp_path / "none.yaml"))
