"""Spans and metrics at a collector on loopback, by the real exporter."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra telemetry")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from routed_targets import Target

from ftsdk import Router, SpecError
from ftsdk.deploy.router.route_file import RouteFile
from ftsdk.deploy.telemetry import OtlpTelemetry


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.services: set[str] = set()
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        self.server.raw.append(content)
        self.server.headers.append(dict(self.headers))
        if self.path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(content).resource_spans:
                self.server.services |= {one.value.string_value for one in group.resource.attributes}
                self.server.spans += [span for scope in group.scope_spans for span in scope.spans]
        elif self.path == "/v1/metrics":
            for group in ExportMetricsServiceRequest.FromString(content).resource_metrics:
                self.server.metrics |= {one.name: one for scope in group.scope_metrics for one in scope.metrics}
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_collector_gets_spans_and_metrics_when_the_router_ends(
    tuned: Target, frontier: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=mails")
    tuned.behaviour = 500
    with collecting() as collector:
        telemetry = OtlpTelemetry(collector.url, interval_s=3600, service="mails")
        with Router(
            tuned.endpoint("m3"), fallback=frontier.endpoint("big"), folder=tmp_path, observers=[telemetry]
        ) as router:
            router.complete("the words of a prompt")
        telemetry.close()
    outer = [span for span in collector.spans if not span.parent_span_id]
    inner = [span for span in collector.spans if span.parent_span_id]
    assert [attributes(span)["gen_ai.operation.name"] for span in outer] == ["chat"]
    assert {attributes(span)["gen_ai.request.model"] for span in inner} == {"m3", "big"}
    assert all(
        span.trace_id == outer[0].trace_id and span.end_time_unix_nano >= span.start_time_unix_nano for span in inner
    )
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "ftsdk.requests"} <= set(collector.metrics)
    assert "mails" in collector.services
    assert all(headers["x-team"] == "mails" for headers in collector.headers)
    assert not [content for content in collector.raw if b"words of a prompt" in content or b"from frontier" in content]


def test_a_collector_that_is_down_costs_no_answer(tuned: Target, tmp_path: Path) -> None:
    file = tmp_path / "route.yaml"
    target = f"{{url: '{tuned.url}', model: m}}"
    file.write_text(f"targets: {{v3: {target}}}\nfolder: state\notlp: 'http://127.0.0.1:9'\n")
    with RouteFile.from_yaml(file).router(file) as router:
        assert router.complete("Where?").text == "from tuned"
    # Nothing is left that would try again.
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1:4318", "ftp://127.0.0.1", "127.0.0.1:4318", ""])
def test_an_address_that_cannot_be_is_told_without_its_secret(url: str) -> None:
    with pytest.raises(SpecError) as raised:
        OtlpTelemetry(url)
    assert "secret" not in str(raised.value)
