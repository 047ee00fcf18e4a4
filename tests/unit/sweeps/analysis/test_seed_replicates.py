from __future__ import annotations

import pytest

from sentiment.config import Config
from sweeps.analysis.seed_replicates import confirmation_configs, confirmation_key, summarize
from sweeps.tracking.queries import TrialRecord


def record(key: int | str, outcome: str = "completed", **metrics: float) -> TrialRecord:
    return TrialRecord(
        key=key,
        run_id="0" * 32,
        role="trial" if isinstance(key, int) else "confirmation",
        name="lstm",
        outcome=outcome,
        parameters={**Config().flat(), "cell": "gru", "seed": 1240},
        dataset_fingerprint="f00",
        metrics={name.replace("_", "/"): value for name, value in metrics.items()},
        started=0,
        ended=1,
        model_id=None,
    )


def test_the_winners_settings_with_the_next_seeds() -> None:
    configs = confirmation_configs(record(6), 2)
    assert list(configs) == ["trial-006-seed-1241", "trial-006-seed-1242"]
    for seed, config in zip((1241, 1242), configs.values(), strict=True):
        assert config.flat() == {**Config().flat(), "cell": "gru", "seed": seed}


def test_mean_and_sample_standard_deviation_over_those_that_ended() -> None:
    keys = [confirmation_key(6, seed) for seed in (1, 2, 3, 4)]
    runs = [
        record(keys[0], best_valid_accuracy=0.90, test_accuracy=0.88),
        record(keys[1], best_valid_accuracy=0.92, test_accuracy=0.90),
        record(keys[2], best_valid_accuracy=0.94, test_accuracy=0.89),
        record(keys[3], "failed"),
        record("trial-002-seed-9", best_valid_accuracy=0.1, test_accuracy=0.1),
    ]
    found = summarize(runs, keys)
    metrics = found.metrics()
    assert metrics["confirmation/seeds"] == 3
    assert metrics["confirmation/valid/accuracy/mean"] == pytest.approx(0.92)
    assert metrics["confirmation/valid/accuracy/sd"] == pytest.approx(0.02)
    assert metrics["confirmation/test/accuracy/mean"] == pytest.approx(0.89)
    assert metrics["confirmation/test/accuracy/sd"] == pytest.approx(0.01)
    assert found.sentence() == (
        "Confirmation: the same settings with 3 other seeds of 4, the other failed, mean ± "
        "standard deviation: validation accuracy 0.9200 ± 0.0200, test accuracy 0.8900 ± 0.0100."
    )


def test_one_seed_has_no_spread() -> None:
    key = confirmation_key(6, 1)
    found = summarize([record(key, best_valid_accuracy=0.9, test_accuracy=0.88)], [key])
    assert "confirmation/test/accuracy/sd" not in found.metrics()
    assert found.sentence().endswith(
        "with 1 other seed: validation accuracy 0.9000, test accuracy 0.8800."
    )


def test_all_failed() -> None:
    key = confirmation_key(6, 1)
    found = summarize([record(key, "failed")], [key])
    assert found.metrics() == {"confirmation/seeds": 0}
    assert found.sentence() == "Confirmation: no result, 1 run with another seed failed."
