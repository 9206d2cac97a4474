"""What the server counts, for Prometheus. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One set a server; labels are route patterns and names of bundles that exist, never what a request made up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        labels = ("route", "method", "status")
        self.requests = Counter("adaptune_requests", "Requests by route, method and status", labels, registry=r)
        self.seconds = Histogram(
            "adaptune_request_seconds", "From first line to last byte", ("route",), registry=r, buckets=SECONDS
        )
        self.rows = Counter("adaptune_rows", "Rows answered by bundle", ("bundle",), registry=r)
        self.tokens = Counter("adaptune_tokens", "Tokens read by bundle", ("bundle",), registry=r)
        self.written = Counter("adaptune_written_tokens", "Tokens written by bundle", ("bundle",), registry=r)
        self.first_token = Histogram(
            "adaptune_first_token_seconds",
            "From a text's request to its first token",
            registry=r,
            buckets=SECONDS,
        )
        self.alerts = Counter("adaptune_alerts", "Alerts by rule and severity", ("rule", "severity"), registry=r)
        self.lost_alerts = Counter("adaptune_lost_alerts", "Alerts that a file or an address did not take", registry=r)
        self.feedback = Counter("adaptune_feedback", "Corrections stored, by bundle", ("bundle",), registry=r)
        self.lost_predictions = Counter(
            "adaptune_lost_predictions", "Predictions that could not be remembered", registry=r
        )
        self.batch_rows = Histogram("adaptune_batch_rows", "Rows of a batch", registry=r, buckets=ROWS)
        self.batch_seconds = Histogram("adaptune_batch_seconds", "Time of a batch", registry=r, buckets=SECONDS)

    def batch(self, rows: int, seconds: float) -> None:
        """A batch was computed."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def watch(self, name: str, help: str, read: Callable[[], float]) -> None:  # noqa: A002
        """A number that is read when the metrics are."""
        Gauge(name, help, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)
