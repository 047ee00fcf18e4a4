"""Sweeps that are killed at chosen moments, gone on with, and judged by their stores alone."""

import pytest

from benchmarks.chaos import Round, planned, retrained

TRIALS = 4


def survive(folder, trials, seed, kills, agents=True):
    outcome = Round(folder, trials, seed, agents).run(kills)
    assert outcome.clean, outcome
    assert outcome.trials == trials
    assert [retrained(folder, number) for number in range(trials)] == [[]] * trials
    return outcome


def test_a_sweep_survives_the_death_of_a_worker_and_of_everything(tmp_path):
    kills = [("checkpoint", "worker"), ("record", "everything")]
    outcome = survive(tmp_path, TRIALS, 1, kills, agents=False)
    assert outcome.kills["worker at checkpoint"] == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "kills"), enumerate(planned(5, 3, seed=7)))
def test_sweeps_survive_kills_at_all_moments(seed, kills, tmp_path):
    survive(tmp_path, 6, seed, kills)
