"""From a request through a real router to the monitor, the metrics and the next round's data."""

import time

import httpx
import pytest
from routed_targets import Target

from ftsdk import Dataset, Fingerprint, Monitor, Router, Telemetry, TrafficFolder
from ftsdk.deploy.drift import measure_texts

pytest.importorskip("opentelemetry.sdk", reason="needs the extra telemetry")

SCHEMA = {"type": "object", "required": ["category"]}


def test_what_a_router_writes_is_what_the_monitor_reads(tmp_path):
    rows = [{"prompt": f"where is my parcel number {n * 37}", "completion": "shipping"} for n in range(300)]
    fingerprint = Fingerprint.of(Dataset.from_rows(rows))
    traffic = TrafficFolder(tmp_path / "traffic")
    with Target(text='{"category": "shipping"}') as tuned, Target(text='{"category": "billing"}') as frontier:
        router = Router(
            {"v3": tuned.priced("mails-v3")},
            fallback={"frontier": frontier.priced("big")},
            name="mails",
            folder=tmp_path / "mails",
            schema=SCHEMA,
            measure=measure_texts,
            observers=[Telemetry(), traffic],
        )
        address = router.start()
        try:
            base = address.rstrip("/").removesuffix("/v1")
            ids = [ask(base, f"Where is parcel {n} of ann@example.com?") for n in range(3)]
            tuned.text = "not json"
            ids.append(ask(base, "And this one?"))
            httpx.post(
                f"{base}/v1/feedback", json={"id": ids[0], "accepted": False, "corrected": '{"category": "lost"}'}
            )
            wait_for(lambda: traffic.kept == 4 and 'ftsdk_feedback_total{is_corrected="true"' in metrics(base))
            page = metrics(base)
        finally:
            router.close()
    assert 'ftsdk_fallbacks_total{ftsdk_route="mails",reason="schema"} 1.0' in page
    report = Monitor(tmp_path / "mails", fingerprint=fingerprint).report()
    assert report.route == "mails"
    assert report.whole.answered == 4
    assert report.whole.fallbacks == {"schema": 1}
    assert set(report.arms) == {"v3", "frontier"}
    assert (report.whole.judged, report.whole.accepted) == (4, 3)
    assert report.whole.usd_per_1k_accepted is not None
    assert report.waiting == 4
    assert "4 of the 500 answers" in report.drift_sentence
    traffic.close()
    kept = Dataset.from_traffic(tmp_path / "traffic")
    assert sorted(kept.column("traffic_id")) == sorted(ids)
    answers = dict(zip(kept.column("traffic_id"), kept.rows, strict=True))
    assert answers[ids[0]]["messages"][-1]["content"] == '{"category": "lost"}'
    assert "[EMAIL_1]" in answers[ids[0]]["messages"][0]["content"]
    assert kept.column("traffic_arm").count("frontier") == 1


def ask(base, text):
    body = {"model": "mails", "messages": [{"role": "user", "content": text}]}
    answer = httpx.post(f"{base}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def metrics(base):
    return httpx.get(f"{base}/metrics", timeout=60).text


def wait_for(is_there):
    for _ in range(600):
        if is_there():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
