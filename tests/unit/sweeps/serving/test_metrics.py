from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from sweeps.serving.metrics import ServingMetrics


def samples(metrics: ServingMetrics) -> dict[tuple[str, ...], float]:
    """Return what the page says, by name and the values of its labels in their names' order."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def test_what_is_counted_is_on_the_page() -> None:
    metrics = ServingMetrics("sentiment/1")
    metrics.answered(200, 0.004)
    metrics.answered(200, 0.2)
    metrics.answered(400, 0.0001)
    metrics.predicted("sentiment/1", ["pos", "neg", "pos"])
    page = samples(metrics)
    assert page["sentiment_requests_total", "200"] == 2
    assert page["sentiment_requests_total", "400"] == 1
    assert page["sentiment_request_seconds_bucket", "0.005"] == 2
    assert page["sentiment_request_seconds_count",] == 3
    assert page["sentiment_predictions_total", "pos", "sentiment/1"] == 2
    assert page["sentiment_predictions_total", "neg", "sentiment/1"] == 1
    assert page["sentiment_request_texts_sum",] == 3
    assert page["sentiment_model", "sentiment/1"] == 1


def test_a_change_of_the_model() -> None:
    metrics = ServingMetrics("sentiment/1")
    metrics.switched("sentiment/2")
    metrics.failed_switch()
    page = samples(metrics)
    assert ("sentiment_model", "sentiment/1") not in page
    assert page["sentiment_model", "sentiment/2"] == 1
    assert page["sentiment_model_switches_total", "done"] == 1
    assert page["sentiment_model_switches_total", "failed"] == 1
