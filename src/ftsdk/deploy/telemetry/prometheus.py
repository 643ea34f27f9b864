"""A router's counters and histograms as a page for Prometheus, in a registry of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftsdk.deploy.telemetry.conventions import DURATION_BUCKETS, TOKEN_BUCKETS
from ftsdk.errors import MissingExtraError

if TYPE_CHECKING:
    from ftsdk.deploy.router.records import AnswerRecord

__all__ = ["PrometheusPage"]

_MOST_VALUES = 100
"""Different values of a label; the others are counted as one. A client may name any model that it likes."""
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusPage:
    """Counts answers, and writes the page. Names follow OpenTelemetry's rules for Prometheus."""

    def __init__(self) -> None:
        """Make the registry.

        Raises:
            MissingExtraError: prometheus-client isn't installed.
        """
        try:
            from prometheus_client import CollectorRegistry, Counter, Histogram
        except ImportError as error:
            raise MissingExtraError("telemetry", needed_for="metrics for Prometheus", missing=error.name) from error
        self._registry = CollectorRegistry()
        self._seen: dict[str, set[str]] = {}

        def counter(name: str, text: str, *labels: str) -> Any:
            return Counter(name, text, labels, registry=self._registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Any:
            return Histogram(name, text, labels, registry=self._registry, buckets=buckets)

        own = ("ftsdk_route", "ftsdk_arm", "ftsdk_role")
        self._duration = histogram(
            "gen_ai_client_operation_duration_seconds",
            "Time from request to the end of the answer",
            DURATION_BUCKETS,
            *own,
            "error_type",
        )
        self._first = histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time from request to the first token, when streaming",
            DURATION_BUCKETS,
            *own,
        )
        self._tokens = histogram(
            "gen_ai_client_token_usage", "Tokens of a request", TOKEN_BUCKETS, *own, "gen_ai_token_type"
        )
        self._requests = counter("ftsdk_requests_total", "Requests that are over", *own, "ftsdk_outcome", "error_type")
        self._fallbacks = counter(
            "ftsdk_fallbacks_total", "Requests that the first target didn't answer", "ftsdk_route", "reason"
        )
        self._verdicts = counter("ftsdk_verdicts_total", "Judged answers", "ftsdk_route", "ftsdk_arm", "verdict", "by")
        self._feedback = counter("ftsdk_feedback_total", "Verdicts of users", "verdict", "is_corrected")
        self._cost = counter("ftsdk_cost_usd_total", "US dollars of all attempts", "ftsdk_route", "ftsdk_arm")
        self._unpriced = counter("ftsdk_unpriced_requests_total", "Requests whose cost isn't known", "ftsdk_route")
        self._switches = counter("ftsdk_switches_total", "Changes of the alias", "ftsdk_route", "why")

    def count(self, record: AnswerRecord) -> None:
        """Count a request that is over."""
        route, arm = self._few("route", record.route), self._few("arm", record.arm or "none")
        own = (route, arm, record.role or "none")
        error = self._few("error", record.error or "")
        self._requests.labels(*own, record.outcome, error).inc()
        self._duration.labels(*own, error).observe(record.duration_s)
        if record.first_token_s is not None:
            self._first.labels(*own).observe(record.first_token_s)
        for kind, tokens in (("input", record.input_tokens), ("output", record.output_tokens)):
            if tokens is not None:
                self._tokens.labels(*own, kind).observe(tokens)
        if record.fallback_reason is not None:
            self._fallbacks.labels(route, self._few("reason", record.fallback_reason)).inc()
        if record.accepted is not None:
            by = self._few("by", record.accepted_by or "none")
            self._verdicts.labels(route, arm, "accepted" if record.accepted else "rejected", by).inc()
        if record.cost_usd is None:
            self._unpriced.labels(route).inc()
        else:
            self._cost.labels(route, arm).inc(max(0.0, record.cost_usd))

    def feedback(self, *, accepted: bool, is_corrected: bool) -> None:
        """Count a verdict of a user."""
        self._feedback.labels("accepted" if accepted else "rejected", str(is_corrected).lower()).inc()

    def switched(self, route: str, why: str) -> None:
        """Count a change of the alias."""
        self._switches.labels(self._few("route", route), self._few("why", why)).inc()

    def page(self) -> tuple[bytes, str]:
        """Return the page and its content type."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry), _CONTENT_TYPE

    def _few(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value not in seen:
            if len(seen) >= _MOST_VALUES:
                return "other"
            seen.add(value)
        return value
