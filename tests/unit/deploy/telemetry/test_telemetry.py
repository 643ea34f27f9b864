import json
import re
import sys
from typing import Any

import pytest
from answer_records import answer_record

from ftsdk import MissingExtraError
from ftsdk.deploy.router.records import AttemptRecord
from ftsdk.deploy.telemetry import Telemetry, grafana_board, metric_views

pytest.importorskip("opentelemetry.sdk", reason="needs the extra telemetry")
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def record(**changes):
    first = AttemptRecord(arm="v3", role="tuned", model="mails-v3", outcome="failed", error="timeout", duration_s=0.2)
    then = AttemptRecord(
        arm="frontier", role="fallback", model="big", outcome="answered", duration_s=0.3, cost_usd=0.002,
        input_tokens=40, output_tokens=5,
    )  # fmt: skip
    fields = {
        "arm": "frontier",
        "role": "fallback",
        "version": "frontier",
        "response_model": "big-1",
        "streamed": True,
        "fallback_reason": "timeout",
        "input_tokens": 40,
        "output_tokens": 5,
        "duration_s": 0.5,
        "first_token_s": 0.3,
        "cost_usd": 0.002,
        "accepted": True,
        "accepted_by": "validator",
        "attempts": (first, then),
    }
    return answer_record("req-1", **{**fields, **changes})


@pytest.fixture
def watched():
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    tracer = TracerProvider()
    tracer.add_span_processor(SimpleSpanProcessor(spans))
    meter = MeterProvider([reader])
    yield Telemetry(meter_provider=meter, tracer_provider=tracer), reader, spans
    meter.shutdown()
    tracer.shutdown()


def metrics_of(reader) -> dict[str, Any]:
    scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def test_the_metrics_have_the_names_units_and_labels_of_the_conventions(watched):
    telemetry, reader, _ = watched
    telemetry.answered(record(), messages=[{"role": "user", "content": "secret"}], answer="secret")
    found = metrics_of(reader)
    assert {name: metric.unit for name, metric in found.items()} == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.token.usage": "{token}",
        "gen_ai.client.operation.time_to_first_chunk": "s",
        "gen_ai.client.operation.time_per_output_chunk": "s",
        "ftsdk.requests": "{request}",
        "ftsdk.fallbacks": "{request}",
        "ftsdk.verdicts": "{answer}",
        "ftsdk.cost": "USD",
    }
    (point,) = found["gen_ai.client.operation.duration"].data.data_points
    assert dict(point.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "big",
        "ftsdk.route": "mails",
        "ftsdk.arm": "frontier",
        "ftsdk.role": "fallback",
    }
    assert "secret" not in repr(found)


@pytest.mark.parametrize("views", [True, False])
def test_histograms_have_the_buckets_of_the_conventions(views):
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], views=metric_views() if views else [])
    Telemetry(meter_provider=meter).answered(record())
    found = metrics_of(reader)
    bounds = {name: found[name].data.data_points[0].explicit_bounds for name in found if name.startswith("gen_ai")}
    assert bounds["gen_ai.client.operation.duration"] == tuple(0.01 * 2**i for i in range(14))
    assert bounds["gen_ai.client.operation.time_to_first_chunk"] == tuple(0.01 * 2**i for i in range(14))
    assert bounds["gen_ai.client.token.usage"] == tuple(4**i for i in range(14))
    meter.shutdown()


def test_a_request_is_a_span_with_one_below_it_for_each_target(watched):
    telemetry, _, spans = watched
    telemetry.answered(record())
    first, second, whole = spans.get_finished_spans()
    assert [span.name for span in (first, second, whole)] == ["chat mails-v3", "chat big", "chat mails"]
    assert whole.attributes["gen_ai.usage.input_tokens"] == 40
    assert whole.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert whole.attributes["ftsdk.fallback.reason"] == "timeout"
    assert whole.end_time - whole.start_time == 500_000_000
    assert first.parent.span_id == whole.context.span_id
    assert first.attributes["error.type"] == "timeout"
    assert not first.status.is_ok
    assert second.status.is_ok


def test_prometheus_reads_the_page(watched):
    telemetry, _, _ = watched
    telemetry.answered(record())
    telemetry.answered(record(outcome="failed", error="no_target", arm=None, role=None, cost_usd=None, accepted=None))
    telemetry.feedback("req-1", accepted=False, corrected="x")
    telemetry.switched({"route": "mails", "why": "rollback"})
    page, kind = telemetry.metrics_page()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    lines = page.decode().splitlines()
    own = 'ftsdk_arm="frontier",ftsdk_role="fallback",ftsdk_route="mails"'
    assert (
        f'ftsdk_requests_total{{error_type="",{own.split(",ftsdk_role")[0]},ftsdk_outcome="answered",' in page.decode()
    )
    assert 'ftsdk_fallbacks_total{ftsdk_route="mails",reason="timeout"} 2.0' in lines
    assert 'ftsdk_cost_usd_total{ftsdk_arm="frontier",ftsdk_route="mails"} 0.002' in lines
    assert 'ftsdk_switches_total{ftsdk_route="mails",why="rollback"} 1.0' in lines
    assert 'ftsdk_feedback_total{is_corrected="true",verdict="rejected"} 1.0' in lines


def test_two_routers_in_a_process_do_not_collide():
    one, other = Telemetry(), Telemetry()
    one.answered(record())
    assert b"ftsdk_requests_total{" in one.metrics_page()[0]
    assert b"ftsdk_requests_total{" not in other.metrics_page()[0]


def test_labels_have_a_bounded_number_of_values():
    telemetry = Telemetry()
    for n in range(300):
        telemetry.answered(record(error=f"error {n}"))
    page = telemetry.metrics_page()[0].decode()
    assert len(set(re.findall(r'error_type="([^"]*)"', page))) == 101
    assert 'error_type="other"' in page


def test_the_board_asks_for_metrics_that_there_are():
    telemetry = Telemetry()
    telemetry.answered(record())
    telemetry.switched({"route": "mails", "why": "rollback"})
    page = telemetry.metrics_page()[0].decode()
    board = json.loads(grafana_board())
    asked = set(
        re.findall(r"\b((?:gen_ai_client|ftsdk)_[a-z_]+?(?:_total|_bucket|_sum))\b", json.dumps(board["panels"]))
    )
    assert len(asked) == 8
    assert [name for name in asked if f"{name}{{" not in page] == []
    labels = set(
        re.findall(r"\b(ftsdk_\w+|error_type|reason|verdict|why|gen_ai_token_type)\b *[=~)]", json.dumps(board))
    )
    assert [label for label in labels if f"{label}=" not in page] == []
    assert len({json.dumps(panel["gridPos"]) for panel in board["panels"]}) == len(board["panels"])


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"ftsdk\[telemetry\]"):
        Telemetry()


def test_the_board_is_whole_and_asks_by_labels_that_there_are(watched):
    telemetry, _, _ = watched
    telemetry.answered(record())
    telemetry.switched({"route": "mails", "why": "rollback"})
    labels: dict[str, set[str]] = {}
    for line in telemetry.metrics_page()[0].decode().splitlines():
        if found := re.match(r"(\w+)\{(.*)\} ", line):
            labels.setdefault(found[1], set()).update(re.findall(r"(\w+)=\"", found[2]))
    board = json.loads(grafana_board())
    assert board["schemaVersion"] >= 39
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    for panel in board["panels"]:
        assert {"type", "title", "datasource", "targets", "fieldConfig", "gridPos"} <= set(panel)
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            asked = target["expr"]
            assert asked.count("(") == asked.count(")")
            assert asked.count("{") == asked.count("}")
            for name, matched in re.findall(r"(\w+)\{([^}]*)\}", asked):
                assert set(re.findall(r"(\w+)=", matched)) <= labels[name], asked
            grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", asked) for label in by.split(",")}
            named = {label for name in re.findall(r"(\w+)\{", asked) for label in labels[name]}
            assert grouped <= named, asked
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped
