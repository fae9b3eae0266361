"""What one gateway counts, for `/metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "understudy_http_requests",
            "Requests by method and status",
            ["method", "status"],
            registry=self.registry,
        )
        self.readers = Gauge("understudy_event_readers", "Open event streams", registry=self.registry)
