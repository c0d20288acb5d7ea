"""What the models, alerts and the audit have done so far, for `/metrics`.

Registered by `app.build` on the server's registry. Names of model figures follow the GenAI conventions of OpenTelemetry
(status: development) with underscores and the unit.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmcore.alerts import Counters
from llmcore.audit import Audit
from llmcore.providers import LLMManager


class Meters(Collector):
    """Reads the rooms' own counters whenever somebody asks."""

    def __init__(self, model: LLMManager, alerts: Counters, audit: Audit, depth: Callable[[], int]) -> None:
        """Keep no figures of its own."""
        self._model, self._alerts, self._audit, self._depth = model, alerts, audit, depth

    def collect(self) -> Iterator[Metric]:
        """All figures as they are now."""
        yield from self._models()
        refused = CounterMetricFamily("llmcore_alerts_refused", "Alert frames that did nothing", labels=["reason"])
        for reason, count in self._alerts.refused.items():
            refused.add_metric([reason], count)
        yield refused
        yield CounterMetricFamily("llmcore_alerts", "Alerts taken", value=self._alerts.accepted)
        yield CounterMetricFamily("llmcore_audit_notes_lost", "Audit notes that were never written", self._audit.lost)
        yield GaugeMetricFamily("llmcore_audit_notes_pending", "Audit notes not yet written", self._audit.pending)
        yield GaugeMetricFamily("llmcore_queue_depth", "Segments that wait or run", self._depth())

    def _models(self) -> Iterator[Metric]:
        names = ["gen_ai_provider_name", "gen_ai_request_model"]
        tokens = CounterMetricFamily("gen_ai_client_token_usage", "Tokens", labels=[*names, "gen_ai_token_type"])
        calls = CounterMetricFamily("gen_ai_client_operations", "Calls of models", labels=[*names, "outcome"])
        seconds = CounterMetricFamily("gen_ai_client_operation_duration_seconds", "Time of calls", labels=names)
        for row in self._model.meter.rows():
            who = [row.provider, row.model]
            tokens.add_metric([*who, "input"], row.usage.input_tokens)
            tokens.add_metric([*who, "output"], row.usage.output_tokens)
            calls.add_metric([*who, "error"], row.errors)
            calls.add_metric([*who, "cancelled"], row.cancelled)
            calls.add_metric([*who, "success"], max(row.calls - row.errors - row.cancelled, 0))
            seconds.add_metric(who, row.latency_s)
        yield from (tokens, calls, seconds)
