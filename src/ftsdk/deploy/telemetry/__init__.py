"""OpenTelemetry, Prometheus and Grafana for a router. Needs the extra `telemetry`, loaded on first use."""

from ftsdk.deploy.telemetry.dashboard import grafana_board
from ftsdk.deploy.telemetry.otlp import OtlpTelemetry
from ftsdk.deploy.telemetry.telemetry import Telemetry, metric_views

__all__ = ["OtlpTelemetry", "Telemetry", "grafana_board", "metric_views"]
