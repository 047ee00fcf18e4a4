"""What a server counts of its shadow, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sweeps.registry.latency_histogram import BOUNDS, LatencyHistogram
from sweeps.serving.shadow import Shadow

_LABELS = ("champion", "shadow")
_COUNTERS = {
    "requests": "Requests whose texts the shadow predicted too.",
    "texts": "Texts compared.",
    "agreed": "Texts for which champion and shadow say the same label.",
    "difference": "Sum of the absolute differences of the probability of the champion's label.",
    "errors": "Batches at which the shadow raised an exception.",
    "dropped": "Texts that were not compared since too many waited.",
}


class ShadowMetrics(Collector):
    """The counts of a shadow, read when the page is asked for."""

    def __init__(self, shadow: Shadow) -> None:
        """Take what counts."""
        self._shadow = shadow

    def collect(self) -> Iterator[Metric]:
        """Yield a metric a count, with a sample a pair of versions."""
        found = self._shadow.counts()
        for name, help_ in _COUNTERS.items():
            family = CounterMetricFamily(f"sentiment_shadow_{name}", help_, labels=_LABELS)
            for pair, counts in found.items():
                family.add_metric(pair, getattr(counts, name))
            yield family
        seconds = HistogramMetricFamily(
            "sentiment_shadow_predict_seconds",
            "Seconds of CPU time for the same batch, by champion and shadow.",
            labels=(*_LABELS, "role"),
        )
        for pair, counts in found.items():
            for role, histogram in (
                ("champion", counts.champion_seconds),
                ("shadow", counts.shadow_seconds),
            ):
                seconds.add_metric((*pair, role), _buckets(histogram), histogram.total)
        yield seconds


def _buckets(histogram: LatencyHistogram) -> list[tuple[str, float]]:
    """Return the counts up to each bound, as Prometheus has them."""
    ends = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    return list(zip(ends, map(float, accumulate(histogram.counts)), strict=True))
