"""Successive halving, and trials that it sees again."""

from types import SimpleNamespace

from ray.tune.schedulers import AsyncHyperBandScheduler

from sweeps.search.asha import ResumableASHA, make_scheduler
from sweeps.search.rungs import plan_rungs


def test_the_schedulers_rungs_are_the_plans():
    scheduler = make_scheduler("asha", plan_rungs(3, 17_500), "valid/loss")
    assert isinstance(scheduler, AsyncHyperBandScheduler)
    at = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    assert at[:3] == [6562, 13124, 26248]
    assert scheduler._metric_op == -1.0


def test_a_trial_that_starts_again_stands_in_the_rungs_that_it_passed():
    """And in no other: at the evaluation that it has to repeat it is judged anew."""
    known = {}
    scheduler = make_scheduler("asha", plan_rungs(2, 800), "valid/accuracy", lambda i: known)
    assert isinstance(scheduler, ResumableASHA)
    scheduler.restore_trials([{200: 0.6, 400: 0.7, 800: 0.8}, {200: 0.5}])
    trial = SimpleNamespace(trial_id="again")
    scheduler.on_trial_add(None, trial)
    rungs = dict(scheduler._brackets[0]._rungs)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5}
    assert rungs[400] == {"before-0": 0.7}
    weak = {"examples": 410, "valid/accuracy": 0.55}
    # The rung has stopped it, but its worker died before that was done.
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"
    known.update({205: 0.65})
    scheduler.on_trial_add(None, trial)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5, "again": 0.65}
    assert "again" not in rungs[400]
    assert scheduler.on_trial_result(None, trial, {**weak, "examples": 205}) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"
