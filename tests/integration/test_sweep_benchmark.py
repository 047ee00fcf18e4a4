"""The sides of the benchmark of whole sweeps do the same work."""

import csv
from pathlib import Path

import pytest
import yaml

from benchmarks import sweep
from benchmarks.stock_tune import SEARCHED
from sentiment.errors import InputError

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


COMPARED = ("competent, bfloat16", "ours, float32")


@pytest.mark.parametrize(
    ("sides", "last"),
    [
        (COMPARED, 1),
        pytest.param(("straightforward", *COMPARED), 2, marks=pytest.mark.slow),
    ],
    ids=["two", "three"],
)
def test_all_sides_train_the_same_on_the_same(plan, tmp_path, sides, last):
    plan = {**plan, "configurations": plan["configurations"][-last:]}
    measured = {side: [sweep.run(side, plan, tmp_path)] for side in sides}
    for (timing,) in measured.values():
        assert list(timing.reviews) == [REVIEWS] * last
        assert len(timing.accuracies) == last
        assert 0 < timing.trials < timing.whole
        # On a machine with other work CPU seconds may be far less than wall, imports aside.
        assert 2 < timing.cpu < plan["workers"] * timing.whole + 1
        assert all(0 <= accuracy <= 1 for accuracy in timing.accuracies)
        trained = [{name: each[name] for name in SEARCHED} for each in timing.trained]
        wanted = [{name: each[name] for name in SEARCHED} for each in plan["configurations"]]
        assert trained == wanted
    (base,), (compared,) = (measured[side] for side in COMPARED)
    table = sweep.rows(measured)
    assert [row[0] for row in table] == list(sides)
    theirs, ours = table[-2:]
    assert theirs[3] == theirs[5] == theirs[7] == "1.0"
    assert float(ours[3]) == pytest.approx(base.trials / compared.trials, abs=0.05)
    assert float(ours[7]) == pytest.approx(base.cpu / compared.cpu, abs=0.05)


def _timing(trials, whole, cpu):
    return sweep.Timing(trials, whole, cpu, (0.5, 0.7), (1.0, 1.0), ({}, {}), (100, 100))


def test_ratios_are_of_rounds_against_the_better_precision():
    measured = {
        "competent, float32": [_timing(20, 30, 50), _timing(22, 30, 40), _timing(24, 30, 45)],
        "competent, bfloat16": [_timing(18, 33, 60), _timing(18, 33, 60), _timing(90, 33, 60)],
        "ours": [_timing(9, 15, 20), _timing(10, 20, 20), _timing(15, 10, 30)],
    }
    result = sweep.as_json(measured)
    assert result["rounds"] == 3
    assert set(result["ratios"]) == {"ours"}
    ratios = result["ratios"]["ours"]
    assert ratios["cpu_seconds"] == {
        "against": "competent, float32",
        "median": 2.0,
        "least": 1.5,
        "largest": 2.5,
    }
    assert ratios["trials_seconds"] == {
        "against": "competent, bfloat16",
        "median": 2.0,
        "least": 1.8,
        "largest": 6.0,
    }
    assert ratios["whole_seconds"]["against"] == "competent, float32"
    assert ratios["whole_seconds"]["median"] == 2.0
    assert result["sides"]["ours"]["cpu_seconds"] == [20, 20, 30]
    assert sweep.rows(measured)[2] == [
        *("ours", "10.0", "720", "1.8", "15.0", "2.0", "20.0", "2.2", "0.6000", "0.7000")
    ]


def test_no_rounds_are_refused():
    with pytest.raises(InputError, match="--rounds 0: give 1 or more"):
        sweep.main(["--rounds", "0"])
