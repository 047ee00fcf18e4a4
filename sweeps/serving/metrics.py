"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import prometheus_client as prometheus
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServingMetrics:
    """Counters of one server: requests, their seconds, labels predicted, the model."""

    def __init__(self, model: str) -> None:
        """Begin at zero.

        Args:
            model: name of the model that answers.
        """
        self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "sentiment_requests", "Requests answered, by HTTP status.", ["status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = prometheus.Histogram(
            "sentiment_request_seconds", "Seconds from a request's headers to its answer.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._texts = prometheus.Histogram(
            "sentiment_request_texts", "Texts of a request.",
            buckets=_TEXTS, registry=self._registry,
        )  # fmt: skip
        self._predictions = prometheus.Counter(
            "sentiment_predictions", "Texts classified, by model and label.", ["model", "label"],
            registry=self._registry,
        )  # fmt: skip
        self._model = prometheus.Gauge(
            "sentiment_model", "1 for the model that answers.", ["model"], registry=self._registry
        )
        self._switches = prometheus.Counter(
            "sentiment_model_switches", "Changes to another version of the model.", ["result"],
            registry=self._registry,
        )  # fmt: skip
        self._model.labels(model).set(1)

    def answered(self, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def predicted(self, model: str, labels: Iterable[str]) -> None:
        """Count the labels of one request's texts."""
        counts = Counter(labels)
        for label, count in counts.items():
            self._predictions.labels(model, label).inc(count)
        self._texts.observe(counts.total())

    def switched(self, model: str) -> None:
        """Count a change of the model that answers."""
        self._model.clear()
        self._model.labels(model).set(1)
        self._switches.labels("done").inc()

    def failed_switch(self) -> None:
        """Count a version that could not take over."""
        self._switches.labels("failed").inc()

    def add(self, collector: Collector) -> None:
        """Have the page show what a collector counts, too."""
        self._registry.register(collector)

    def page(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return prometheus.generate_latest(self._registry)
