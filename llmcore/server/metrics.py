"""What the server counts, as Prometheus reads it.

Counted by every module of this package, read by `/metrics`; `app` adds collectors of other rooms to the same registry.
Knows no user, conversation or plan: none of them may become a label.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Traffic:
    """Plain numbers for the hot path; a counter of the client library costs as much as a write."""

    connections: int = 0
    connections_total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    events: int = 0
    """Events handed to clients' sockets or queues."""
    broadcasts_dropped: int = 0
    slow_closed: int = 0
    rate_limited: int = 0
    refused_frames: int = 0
    ignored_frames: int = 0


class _TrafficCollector(Collector):
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        seen = self._traffic
        yield GaugeMetricFamily("llmcore_connections", "Open WebSocket connections", seen.connections)
        for name, text, value in (
            ("connections_opened", "WebSocket connections accepted", seen.connections_total),
            ("received_bytes", "Bytes of text frames from clients", seen.bytes_in),
            ("sent_bytes", "Bytes of text frames to clients", seen.bytes_out),
            ("events_sent", "Events handed to clients", seen.events),
            ("broadcasts_dropped", "Broadcasts left out for slow clients", seen.broadcasts_dropped),
            ("slow_clients_closed", "Clients closed because they did not read", seen.slow_closed),
            ("rate_limited", "Requests over a user's rate", seen.rate_limited),
            ("refused_frames", "Frames that could not be understood", seen.refused_frames),
            ("ignored_frames", "Responses and events sent by clients", seen.ignored_frames),
        ):
            yield CounterMetricFamily(f"llmcore_{name}", text, value)


@dataclass(slots=True)
class Metrics:
    """The registry and what is counted in it."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    traffic: Traffic = field(default_factory=Traffic)
    rpcs: Counter = field(init=False)
    rpc_seconds: Histogram = field(init=False)
    logins: Counter = field(init=False)
    _rpc_children: dict[tuple[str, str], tuple[Counter, Histogram]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Register everything."""
        self.rpcs = Counter("llmcore_rpcs", "RPCs answered", ("intent", "status"), registry=self.registry)
        self.rpc_seconds = Histogram(
            "llmcore_rpc_seconds", "Time to the answer", ("intent",), buckets=BUCKETS_S, registry=self.registry
        )
        self.logins = Counter("llmcore_logins", "Requests for tokens", ("result",), registry=self.registry)
        self.registry.register(_TrafficCollector(self.traffic))

    def answered(self, intent: str, status: str, seconds: float) -> None:
        """Count an RPC; `intent` is one of the catalogue or `unknown`, `status` is `success` or an error code."""
        found = self._rpc_children.get((intent, status))
        if found is None:
            found = self.rpcs.labels(intent, status), self.rpc_seconds.labels(intent)
            self._rpc_children[intent, status] = found
        found[0].inc()
        found[1].observe(seconds)
