"""Which settings become finalists, and which run is registered."""

from types import SimpleNamespace

import pytest

from sweeps.tracking.queries import (
    TrialRecord,
    best_finalists,
    chosen_run,
    differing_settings,
    refit_key,
    registered_run,
    trial_number,
)


def run_of(key, role="trial", outcome="completed", **metrics):
    settings = {"cell": "gru", "hidden_dim": 32, "learning_rate": 0.001 * len(str(key))}
    return TrialRecord(
        key=key,
        run_id=f"run-{key}",
        role=role,
        name=str(key),
        outcome=outcome,
        parameters=settings,
        dataset_fingerprint=None,
        metrics=metrics,
        started=0,
        ended=1,
        model_id="m",
    )


def accuracy(value, recurrent=None, loss=0.2):
    metrics = {"best/valid/accuracy": value}
    if recurrent is None:
        return metrics
    return {**metrics, "best/valid/recurrent_accuracy": recurrent, "best/valid/loss": loss}


def test_finalists_differ_in_more_than_numbers():
    settings = [("gru", 32, 0.001), ("gru", 32, 0.002), ("gru", 64, 0.002), ("lstm", 32, 0.001)]
    ranked = [
        SimpleNamespace(
            parameters=dict(zip(("cell", "hidden_dim", "learning_rate"), each, strict=True))
        )
        for each in settings
    ]
    names = ["cell", "hidden_dim"]
    assert differing_settings(ranked, names, 2) == [ranked[0], ranked[2]]
    assert differing_settings(ranked, names, 9) == [ranked[0], ranked[2], ranked[3]]
    assert differing_settings(ranked, names, 0) == []


def test_finalists_go_by_the_log_loss_of_all():
    one = run_of("finalist-001", "finalist", **accuracy(0.93, 0.90, 0.19))
    two = run_of("finalist-002", "finalist", **accuracy(0.92, 0.89, 0.18))
    failed = run_of("finalist-003", "finalist", "failed", **accuracy(0.99, 0.99, 0.1))
    trials = [run_of(4, **accuracy(0.95)), one, two, failed]
    assert best_finalists(trials, "valid/accuracy") == [two, one]
    assert chosen_run(trials, "valid/accuracy") == two


def test_of_equal_log_losses_the_better_rnn_is_first():
    one = run_of("finalist-001", "finalist", **accuracy(0.93, 0.89))
    two = run_of("finalist-002", "finalist", **accuracy(0.92, 0.90))
    assert best_finalists([one, two], "valid/accuracy") == [two, one]


def test_finalists_go_by_the_macro_f1_of_their_rnns():
    first = {"best/valid/f1": 0.6, "best/valid/recurrent_f1": 0.4, "best/valid/loss": 0.1}
    second = {"best/valid/f1": 0.5, "best/valid/recurrent_f1": 0.5, "best/valid/loss": 0.2}
    one = run_of("finalist-001", "finalist", **first)
    two = run_of("finalist-002", "finalist", **second)
    assert best_finalists([one, two], "valid/f1") == [two, one]


def test_without_a_branch_finalists_go_by_the_objective():
    one = run_of("finalist-001", "finalist", **{"best/valid/loss": 0.3})
    two = run_of("finalist-002", "finalist", **{"best/valid/loss": 0.2})
    assert best_finalists([one, two], "valid/loss") == [two, one]


def test_without_finalists_the_best_trial_is_chosen():
    trials = [run_of(0, **accuracy(0.7)), run_of(1, **accuracy(0.8))]
    assert chosen_run(trials, "valid/accuracy") == trials[1]
    assert registered_run(trials, trials[1]) == trials[1]
    assert chosen_run([], "valid/accuracy") is None


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_refit_stands_with_what_its_finalist_reached(outcome):
    chosen = run_of("finalist-007", "finalist", **accuracy(0.93, 0.9))
    other = run_of("refit-001", "refit", **{"test/accuracy": 0.5})
    refit = run_of("refit-007", "refit", outcome, **{"test/accuracy": 0.92})
    found = registered_run([chosen, other, refit], chosen)
    if outcome == "failed":
        assert found == chosen
    else:
        assert found.run_id == "run-refit-007"
        assert found.metrics == {**accuracy(0.93, 0.9), "test/accuracy": 0.92}
    assert trial_number(chosen) == trial_number(refit) == 7


def test_the_best_ensemble_around_the_finalist_is_registered():
    chosen = run_of("finalist-007", "finalist", **accuracy(0.93, 0.9))
    refit = run_of("refit-007", "refit")

    def ensemble(key, outcome, loss):
        return run_of(key, "ensemble", outcome, **{"best/valid/loss": loss})

    best = ensemble("ensemble-aa-007", "completed", 0.3)
    others = [
        ensemble("ensemble-bb-007", "completed", 0.4),
        ensemble("ensemble-cc-007", "interrupted", 0.1),
        ensemble("ensemble-dd-001", "completed", 0.1),
    ]
    assert registered_run([chosen, refit, *others, best], chosen) == best
    assert registered_run([chosen, refit, *others[1:]], chosen).run_id == refit.run_id


def test_a_trial_and_a_finalist_of_its_settings_are_refit_apart():
    assert refit_key(run_of("finalist-007", "finalist")) == "refit-007"
    assert refit_key(run_of(7)) == "refit-trial-007"
    assert trial_number(run_of("refit-trial-007", "refit")) == 7
