"""`Telemetry`: a router's requests as OpenTelemetry traces and metrics, and as a page for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.deploy.telemetry import conventions as names
from ftsdk.errors import MissingExtraError
from ftsdk.spec.positional import by_name_only

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.view import View
    from opentelemetry.trace import TracerProvider

    from ftsdk.deploy.router.records import AnswerRecord, AttemptRecord

__all__ = ["Telemetry", "metric_views"]

_BUCKETS: Mapping[str, Sequence[float]] = {
    names.DURATION_METRIC: names.DURATION_BUCKETS,
    names.FIRST_CHUNK_METRIC: names.DURATION_BUCKETS,
    names.PER_CHUNK_METRIC: names.PER_CHUNK_BUCKETS,
    names.TOKEN_METRIC: names.TOKEN_BUCKETS,
}
_NS = 1_000_000_000


def metric_views() -> list[View]:
    """Return views that give our histograms the buckets of the conventions: `MeterProvider(views=metric_views())`.

    `Telemetry` asks for the same buckets by itself, which views of yours override.

    Raises:
        MissingExtraError: opentelemetry-sdk isn't installed.
    """
    try:
        from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
    except ImportError as error:
        raise MissingExtraError("telemetry", needed_for="metrics by OpenTelemetry", missing=error.name) from error
    return [
        View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(buckets))
        for name, buckets in _BUCKETS.items()
    ]


@by_name_only
class Telemetry:
    """Turns a router's requests into spans and metrics by OpenTelemetry's conventions for generative AI.

        >>> Router(tuned, fallback=frontier, observers=[Telemetry()])

    Spans and metrics go to the providers that your program has set up, and nowhere without one; `GET /metrics` of the
    router serves Prometheus either way. Prompts, answers and conversation ids are never part of them.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        """Make the instruments.

        Args:
            meter_provider: Where metrics go; None: the program's own.
            tracer_provider: Where spans go; None: the program's own.

        Raises:
            MissingExtraError: The extra `telemetry` isn't installed.
        """
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise MissingExtraError("telemetry", needed_for="telemetry of a router", missing=error.name) from error
        from ftsdk.deploy.telemetry.prometheus import PrometheusPage

        meter = metrics.get_meter("ftsdk.router", meter_provider=meter_provider, schema_url=names.SCHEMA_URL)
        self._tracer = trace.get_tracer("ftsdk.router", tracer_provider=tracer_provider, schema_url=names.SCHEMA_URL)
        self._prometheus = PrometheusPage()

        def histogram(name: str, unit: str, text: str) -> Any:
            return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=_BUCKETS[name])

        self._duration = histogram(names.DURATION_METRIC, "s", "GenAI operation duration.")
        self._tokens = histogram(names.TOKEN_METRIC, "{token}", "Number of input and output tokens used.")
        self._first = histogram(names.FIRST_CHUNK_METRIC, "s", "Time to receive the first chunk.")
        self._per_chunk = histogram(names.PER_CHUNK_METRIC, "s", "Mean time per output token after the first.")
        self._requests = meter.create_counter(names.REQUESTS_METRIC, "{request}", "Requests that are over.")
        self._fallbacks = meter.create_counter(names.FALLBACKS_METRIC, "{request}", "Requests that fell back.")
        self._verdicts = meter.create_counter(names.VERDICTS_METRIC, "{answer}", "Judged answers.")
        self._cost = meter.create_counter(names.COST_METRIC, "USD", "US dollars of all attempts.")
        self._switches = meter.create_counter(names.SWITCHES_METRIC, "{switch}", "Changes of the alias.")

    def answered(
        self, record: AnswerRecord, *, messages: Sequence[Mapping[str, Any]] = (), answer: str | None = None
    ) -> None:
        """Count a request that is over; a router calls this. The texts aren't looked at."""
        del messages, answer
        self._prometheus.count(record)
        self._count(record)
        self._trace(record)

    def feedback(self, id: str, *, accepted: bool, corrected: str | None = None) -> None:  # noqa: A002
        """Count a verdict of a user."""
        del id
        self._prometheus.feedback(accepted=accepted, is_corrected=corrected is not None)
        label = "accepted" if accepted else "rejected"
        self._verdicts.add(1, {names.EVALUATION_NAME: "feedback", names.EVALUATION_LABEL: label})

    def switched(self, line: Mapping[str, Any]) -> None:
        """Count a change of the alias."""
        route, why = str(line.get("route", "route")), str(line.get("why", "switch"))
        self._prometheus.switched(route, why)
        self._switches.add(1, {names.ROUTE: route, "ftsdk.switch.why": why})

    def metrics_page(self) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
        return self._prometheus.page()

    def _count(self, record: AnswerRecord) -> None:
        labels = _labels(record)
        self._requests.add(1, {**labels, names.OUTCOME: record.outcome, **_error(record.error)})
        self._duration.record(record.duration_s, {**labels, **_error(record.error)})
        if record.first_token_s is not None:
            self._first.record(record.first_token_s, labels)
            if record.output_tokens is not None and record.output_tokens > 1:
                rest = (record.duration_s - record.first_token_s) / (record.output_tokens - 1)
                self._per_chunk.record(max(0.0, rest), labels)
        for kind, tokens in (("input", record.input_tokens), ("output", record.output_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, {**labels, names.TOKEN_TYPE: kind})
        if record.fallback_reason is not None:
            self._fallbacks.add(1, {names.ROUTE: record.route, names.FALLBACK_REASON: record.fallback_reason})
        if record.accepted is not None:
            label = "accepted" if record.accepted else "rejected"
            by = record.accepted_by or "none"
            self._verdicts.add(1, {**labels, names.EVALUATION_NAME: by, names.EVALUATION_LABEL: label})
        if record.cost_usd is not None:
            self._cost.add(max(0.0, record.cost_usd), labels)

    def _trace(self, record: AnswerRecord) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        start = int(record.at * _NS)
        span = self._tracer.start_span(
            f"{names.CHAT} {record.request_model}",
            kind=SpanKind.CLIENT,
            start_time=start,
            attributes=_span_attributes(record),
        )
        _set_status(span, record.error if record.outcome == "failed" else None)
        within = set_span_in_context(span)
        at = start
        for attempt in record.attempts:
            if attempt.role == "shadow":  # in parallel, and not on the client's time
                continue
            inner = self._tracer.start_span(
                f"{names.CHAT} {attempt.model}",
                context=within,
                kind=SpanKind.CLIENT,
                start_time=at,
                attributes=_attempt_attributes(record, attempt),
            )
            _set_status(inner, attempt.error)
            at += int(attempt.duration_s * _NS)
            inner.end(at)
        span.end(max(at, start + int(record.duration_s * _NS)))


def _labels(record: AnswerRecord) -> dict[str, str]:
    return {
        names.OPERATION: names.CHAT,
        names.PROVIDER: record.provider,
        # What a client asked for may be any text; the arm's own model is one of a few.
        names.REQUEST_MODEL: record.attempts[-1].model if record.attempts else record.route,
        names.ROUTE: record.route,
        names.ARM: record.arm or "none",
        names.ROLE: record.role or "none",
    }


def _error(error: str | None) -> dict[str, str]:
    return {} if error is None else {names.ERROR_TYPE: error}


def _span_attributes(record: AnswerRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        names.OPERATION: names.CHAT,
        names.PROVIDER: record.provider,
        names.REQUEST_MODEL: record.request_model,
        names.RESPONSE_MODEL: record.response_model,
        names.FINISH_REASONS: None if record.finish_reason is None else (record.finish_reason,),
        names.INPUT_TOKENS: record.input_tokens,
        names.OUTPUT_TOKENS: record.output_tokens,
        names.ROUTE: record.route,
        names.ARM: record.arm,
        names.ROLE: record.role,
        names.FALLBACK_REASON: record.fallback_reason,
        names.ROLLOUT: record.rollout,
        names.REQUEST_ID: record.id,
        names.COST: record.cost_usd,
        names.OUTCOME: record.outcome,
        **_error(record.error),
    }
    return {name: value for name, value in found.items() if value is not None}


def _attempt_attributes(record: AnswerRecord, attempt: AttemptRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        names.OPERATION: names.CHAT,
        names.PROVIDER: record.provider,
        names.REQUEST_MODEL: attempt.model,
        names.INPUT_TOKENS: attempt.input_tokens,
        names.OUTPUT_TOKENS: attempt.output_tokens,
        names.ARM: attempt.arm,
        names.ROLE: attempt.role,
        names.COST: attempt.cost_usd,
        names.OUTCOME: attempt.outcome,
        **_error(attempt.error),
    }
    return {name: value for name, value in found.items() if value is not None}


def _set_status(span: Any, error: str | None) -> None:
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, error))
