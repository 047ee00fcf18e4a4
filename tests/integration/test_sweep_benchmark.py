"""Both sides of the benchmark of whole sweeps do the same work."""

import csv
from pathlib import Path

import pytest
import yaml

from benchmarks import sweep
from benchmarks.straightforward_sweep import SEARCHED

REVIEWS = 100


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return sweep.make_plan(
        tmp_path_factory.mktemp("plan"), "rotten-tomatoes", REVIEWS, max_length=0, last=2
    )


def test_there_are_four_configurations_a_cell():
    listed = yaml.safe_load(sweep.CONFIGURATIONS.read_text())["configurations"]
    cells = [each["cell"] for each in listed]
    assert {cell: cells.count(cell) for cell in cells} == {"rnn": 4, "gru": 4, "lstm": 4}
    assert len({tuple(each.items()) for each in listed}) == 12
    assert all(set(each) == set(SEARCHED) for each in listed)


def test_reviews_are_divided_once_for_all(plan):
    with Path(plan["reviews"]).open(encoding="utf-8", newline="") as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    assert {name: splits.count(name) for name in splits} == dict.fromkeys(
        ("train", "valid", "test"), REVIEWS
    )


def test_both_sides_train_the_same_on_the_same(plan, tmp_path):
    sides = [sweep.run(side, plan, tmp_path) for side in ("straightforward", "ours, float32")]
    for timing in sides:
        assert list(timing.reviews) == [REVIEWS] * 2
        assert len(timing.accuracies) == 2
        assert 0 < timing.trials < timing.whole
        assert all(0 <= accuracy <= 1 for accuracy in timing.accuracies)
        trained = [{name: each[name] for name in SEARCHED} for each in timing.trained]
        wanted = [{name: each[name] for name in SEARCHED} for each in plan["configurations"]]
        assert trained == wanted
    table = sweep.rows(dict(zip(("straightforward", "ours, float32"), sides, strict=True)))
    assert table[0][3] == "1.0"
    assert float(table[1][3]) == pytest.approx(sides[0].trials / sides[1].trials, abs=0.05)
