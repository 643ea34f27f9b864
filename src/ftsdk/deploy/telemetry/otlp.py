"""Telemetry that goes to a collector by OTLP over HTTP, with providers of its own."""

from __future__ import annotations

from ftsdk.deploy.telemetry.telemetry import Telemetry, metric_views
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.urls import check_service_url

__all__ = ["OtlpTelemetry"]

_TIMEOUT_S = 5.0
"""For one export; a collector that is down costs no request anything."""


class OtlpTelemetry(Telemetry):
    """Sends a router's spans and metrics to a collector, such as OpenTelemetry's own, Grafana Alloy or Jaeger.

        >>> Router(tuned, observers=[OtlpTelemetry("http://127.0.0.1:4318")])

    Headers, such as a key of the service, come from OTEL_EXPORTER_OTLP_HEADERS, as for every exporter of
    OpenTelemetry. What can't be sent is dropped, and logged by OpenTelemetry.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4318",
        *,
        interval_s: float = 15.0,
        service: str = "ftsdk",
        closes_with_router: bool = False,
    ) -> None:
        """Make the exporters; nothing is sent yet.

        Args:
            url: The collector's address, without `/v1/traces`.
            interval_s: Seconds between two exports of metrics.
            service: The name of the service, `service.name`.
            closes_with_router: Whether it ends with the router; one that several routers share is closed by `close`.

        Raises:
            MissingExtraError: The extra `telemetry` isn't installed.
            SpecError: The address or the interval can't be.
        """
        check_amount("interval_s", interval_s, above=0, at_most=3600)
        try:
            base = check_service_url(
                "url", url, key_comes_from="the variable OTEL_EXPORTER_OTLP_HEADERS", allow_http=True
            ).rstrip("/")
        except ValueError as error:
            raise SpecError(str(error)) from error
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtraError("telemetry", needed_for="telemetry by OTLP", missing=error.name) from error
        self._closes_with_router = closes_with_router
        resource = Resource.create({"service.name": service})
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=_TIMEOUT_S),
            export_interval_millis=interval_s * 1000,
            export_timeout_millis=_TIMEOUT_S * 1000,
        )
        self._meters = MeterProvider([reader], resource=resource, views=metric_views())
        self._tracers = TracerProvider(resource=resource)
        self._tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=_TIMEOUT_S))
        )
        super().__init__(meter_provider=self._meters, tracer_provider=self._tracers)

    def flush(self) -> None:
        """Send what is left; a router calls this at its end."""
        if self._closes_with_router:
            self.close()
            return
        self._tracers.force_flush(int(_TIMEOUT_S * 1000))
        self._meters.force_flush(int(_TIMEOUT_S * 1000))

    def close(self) -> None:
        """Send what is left and stop; nothing is counted afterwards."""
        self._tracers.shutdown()
        self._meters.shutdown(timeout_millis=_TIMEOUT_S * 1000)
