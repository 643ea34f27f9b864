import http.client
import json
import threading
import time

import httpx
import pytest
from answer_records import answer_record
from typer.testing import CliRunner

from ftsdk import Dataset, Fingerprint, Monitor, SpecError, TrafficFolder
from ftsdk.cli.app import app
from ftsdk.deploy.drift import measure_texts
from ftsdk.deploy.monitor import Promise
from ftsdk.deploy.monitor.server import MonitorServer
from ftsdk.deploy.router.records import AttemptRecord, RecordLog

NOW = 1_764_000_000.0


def record(name, **changes):
    return answer_record(name, **{"at": NOW - 3600, **changes})


@pytest.fixture
def log(tmp_path):
    found = RecordLog(tmp_path / "mails", clock=lambda: NOW)
    yield found
    found.close()


def report(tmp_path, **settings):
    return Monitor(tmp_path / "mails", clock=lambda: NOW, **settings).report()


def attempt(arm, role, outcome):
    return AttemptRecord(arm=arm, role=role, model="m", outcome=outcome, duration_s=0.1)


def test_a_target_is_charged_with_answers_another_target_replaced(tmp_path, log):
    for n, outcome in enumerate(("rejected", "rejected", "failed")):
        tried = (attempt("v4", "canary", outcome), attempt("frontier", "fallback", "answered"))
        log.append(record(f"a{n}", arm="frontier", role="fallback", accepted=True, attempts=tried).to_dict())
    log.append(record("b", arm="v4", accepted=True, attempts=(attempt("v4", "canary", "answered"),)).to_dict())
    found = report(tmp_path)
    own = found.arms["v4"]
    assert (own.requests, own.answered, own.rejected, own.failed) == (4, 1, 2, 1)
    assert own.acceptance is not None
    assert own.acceptance[0] == pytest.approx(1 / 3)
    assert (found.whole.requests, found.whole.failed, found.arms["frontier"].requests) == (4, 0, 3)


def test_switches_of_several_sessions_are_in_order_of_time(tmp_path, log):
    for at, before, after, why in ((NOW - 5, "v4", "v3", "rollback"), (NOW - 9, "v3", "v4", "promote")):
        log.append({"kind": "switch", "at": at, "from": before, "to": after, "why": why, "reason": "r"})
    log.append(
        {"kind": "switch", "at": NOW - 20, "from": "v3", "to": "v3", "canary": "v4", "share": 0.2, "reason": "r"}
    )
    assert [one.sentence for one in report(tmp_path).switches] == [
        "v4 rolled back; v3 answers",
        "v4 promoted; it was v3",
        "v3, canary v4 (20%)",
    ]


def test_figures_are_those_of_the_records(tmp_path, log):
    for n in range(100):
        log.append(record(f"a{n}", duration_s=(n + 1) / 100, accepted=n >= 10, accepted_by="validator").to_dict())
    for n in range(4):
        fell = record(f"b{n}", arm="frontier", role="fallback", fallback_reason="schema", cost_usd=0.01, accepted=True)
        log.append(fell.to_dict())
    log.append(record("c", outcome="failed", error="no_target", cost_usd=None).to_dict())
    log.append(record("old", at=NOW - 30 * 3600).to_dict())
    found = report(tmp_path)
    whole = found.whole
    assert (whole.requests, whole.answered, whole.failed) == (105, 104, 1)
    assert found.arms["v3"].p50_s == 0.5
    assert found.arms["v3"].p95_s == 0.95
    assert found.arms["v3"].p99_s == 0.99
    assert whole.errors == {"no_target": 1}
    assert whole.fallbacks == {"schema": 4}
    assert (whole.judged, whole.accepted) == (104, 94)
    assert whole.usd_per_1k_accepted is not None
    value, low, high = whole.usd_per_1k_accepted
    assert value == pytest.approx(1000 * 0.14 / 94)
    assert low < value < high
    assert found.arms["frontier"].p99_s is None
    text = str(found)
    assert "schema 4" in text
    assert "Drift isn't watched" in text


def test_feedback_counts_more_than_a_judge_and_shadows_cost(tmp_path, log):
    log.append(record("a", accepted=True, accepted_by="validator").to_dict())
    log.append(record("b").to_dict())
    log.append({"kind": "feedback", "id": "a", "at": NOW, "accepted": False})
    log.append({"kind": "verdict", "id": "a", "at": NOW, "accepted": True, "by": "judge"})
    log.append({"kind": "verdict", "id": "b", "at": NOW, "accepted": True, "by": "judge"})
    attempt = AttemptRecord(arm="x", role="shadow", model="x", outcome="answered", duration_s=1.0, cost_usd=0.5)
    log.append({"kind": "shadow", "id": "b", "at": NOW, "attempt": attempt.to_dict()})
    log.append({"kind": "from a later version"})
    found = report(tmp_path).whole
    assert (found.judged, found.accepted) == (2, 1)
    assert found.cost_usd == pytest.approx(0.502)


def test_a_report_reads_on_where_it_stopped_and_never_half_a_line(tmp_path, log):
    monitor = Monitor(tmp_path / "mails", clock=lambda: NOW)
    log.append(record("a").to_dict())
    assert monitor.report().whole.requests == 1
    line = json.dumps(record("b").to_dict()).encode() + b"\n"
    (path,) = (tmp_path / "mails" / "records").iterdir()
    with path.open("ab") as file:
        file.write(line[:50])
        file.flush()
        assert monitor.report().whole.requests == 1
        file.write(line[50:] + b"not json\n[1]\n" + b'{"kind": "answer"}\n')
    assert monitor.report().whole.requests == 2
    assert monitor.report().whole.requests == 2


def test_the_cost_is_held_against_the_promise(tmp_path, log):
    for n in range(1000):
        log.append(record(f"a{n}", cost_usd=0.001, accepted=n % 10 > 0).to_dict())
    assert "not kept" in report(tmp_path, promise=Promise(usd_per_1k_accepted=0.5)).promise_sentence
    assert ": kept" in report(tmp_path, promise=Promise(usd_per_1k_accepted=2)).promise_sentence
    assert "can't tell" in report(tmp_path, promise=Promise(usd_per_1k_accepted=1.12)).promise_sentence
    with_hours = report(tmp_path, promise=Promise(usd_per_1k_accepted=2), usd_per_hour=4.0)
    assert with_hours.whole.cost_usd == pytest.approx(5.0)
    assert "not kept" in with_hours.promise_sentence
    assert "without the hours" not in with_hours.promise_sentence


def test_own_answers_without_a_price_are_paid_by_the_hour(tmp_path, log):
    log.append(record("a", cost_usd=None, accepted=True).to_dict())
    assert report(tmp_path).whole.usd_per_1k_accepted is None
    assert "price of 1 requests isn't known" in str(report(tmp_path))
    paid = report(tmp_path, usd_per_hour=1.0).whole.usd_per_1k_accepted
    assert paid is not None
    assert paid[0] == pytest.approx(1000)
    log.append(record("b", role="fallback", cost_usd=None, accepted=True).to_dict())
    assert report(tmp_path, usd_per_hour=1.0).whole.usd_per_1k_accepted is None


@pytest.fixture(scope="module")
def fingerprint():
    rows = [{"prompt": f"where is my parcel number {n * 37}", "completion": "shipping"} for n in range(300)]
    return Fingerprint.of(Dataset.from_rows(rows))


def drifted(log, *, judged, fell, traffic=None):
    for n in range(400):
        text = f"where is my parcel number {n * 41}" if n < 200 else f"the hotel lost our luggage in room {n * 41}"
        is_good = n < 200 or not fell or n % 2 == 0
        messages = [{"role": "user", "content": text}]
        one = record(f"r{n}", accepted=is_good if judged else None, measures=measure_texts(messages, "shipping"))
        log.append(one.to_dict())
        if traffic is not None:
            traffic.answered(one, messages=messages, answer="shipping")


@pytest.mark.parametrize(
    ("judged", "fell", "sentence", "retrain"),
    [
        (True, True, "Retrain: the input length and input texts", True),
        (True, False, "acceptance holds", False),
        (False, False, "Retrain, or judge a sample first", True),
    ],
)
def test_drift_says_whether_to_retrain(tmp_path, log, fingerprint, judged, fell, sentence, retrain):
    drifted(log, judged=judged, fell=fell)
    found = report(tmp_path, fingerprint=fingerprint, window=200)
    assert len(found.looks) == 2
    assert sentence in found.drift_sentence
    assert found.advice[0].retrain is retrain
    assert [int(one.id[1:]) >= 200 for one in found.examples] == [True] * 5
    assert found.examples[0].prompt is None


def test_the_texts_behind_an_alarm_are_shown_if_they_were_kept(tmp_path, log, fingerprint):
    traffic = TrafficFolder(tmp_path / "traffic")
    drifted(log, judged=True, fell=True, traffic=traffic)
    found = report(tmp_path, fingerprint=fingerprint, window=200, traffic=tmp_path / "traffic")
    assert all("luggage" in str(one.prompt) for one in found.examples)
    assert "luggage" in found.to_html()
    assert "luggage" in str(found)


def test_without_measures_the_report_says_so(tmp_path, log, fingerprint):
    log.append(record("a").to_dict())
    assert "doesn't measure texts" in report(tmp_path, fingerprint=fingerprint).drift_sentence
    log.append(record("b", measures=measure_texts([{"role": "user", "content": "x"}], "y")).to_dict())
    assert "1 of the 500 answers" in report(tmp_path, fingerprint=fingerprint).drift_sentence


def test_the_page_loads_nothing_and_escapes_what_strangers_wrote(tmp_path, log):
    log.append(record("a", arm="<script>x</script>", error="<b>").to_dict())
    log.append({"kind": "switch", "at": NOW, "from": "<i>", "to": "v3", "why": "rollback", "reason": "\x1b[31m"})
    page = report(tmp_path).to_html()
    assert "<script" not in page
    assert "<i>" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "rolled back" in page
    assert "\x1b" not in str(report(tmp_path))


def test_an_empty_router_has_a_report_and_a_missing_one_an_error(tmp_path):
    (tmp_path / "mails").mkdir()
    found = report(tmp_path)
    assert "no requests yet" in found.to_html()
    assert "no answers" in str(found)
    with pytest.raises(SpecError, match="there is no router's folder"):
        Monitor(tmp_path / "none").report()
    json.dumps(found.to_dict())


def get(server, path="/", host="127.0.0.1"):
    port = int(server.address.rstrip("/").rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer, content


def test_the_server_shows_what_is_new_and_answers_this_machine_only(tmp_path, log):
    log.append(record("a").to_dict())
    server = MonitorServer(Monitor(tmp_path / "mails", clock=lambda: NOW), refresh_s=7)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        answer, page = get(server)
        assert (answer.status, answer.headers["Refresh"]) == (200, "7")
        assert "mails: monitor" in page
        log.append(record("b").to_dict())
        assert json.loads(get(server, "/report.json")[1])["whole"]["requests"] == 2
        assert get(server, "/elsewhere")[0].status == 404
        assert get(server, host="evil.example")[0].status == 403
        assert server.address.startswith("http://127.0.0.1:")
    finally:
        server.stop()
        thread.join()


def command(*arguments):
    return CliRunner().invoke(app, ["monitor", *map(str, arguments)])


def test_the_command_prints_a_report_and_writes_a_page(tmp_path):
    log = RecordLog(tmp_path / "mails")
    log.append(record("a", at=time.time() - 60).to_dict())
    log.close()
    shown = command(tmp_path / "mails", "--once")
    assert shown.exit_code == 0, shown.output
    assert "mails: 1 request from" in shown.output
    assert max(map(len, shown.output.partition("Tokens")[0].splitlines())) <= 80
    assert json.loads(command(tmp_path / "mails", "--once", "--json").output)["whole"]["requests"] == 1
    assert command(tmp_path / "mails", "--once", "--html", tmp_path / "m.html").exit_code == 0
    assert "<!doctype html>" in (tmp_path / "m.html").read_text()
    assert command("--grafana", tmp_path / "board.json").exit_code == 0
    assert json.loads((tmp_path / "board.json").read_text())["title"] == "ftsdk router"


def test_the_command_compares_with_training_data(tmp_path, log, fingerprint):
    drifted(log, judged=True, fell=True)
    path = fingerprint.save(tmp_path / "f.json")
    shown = command(tmp_path / "mails", "--once", "--window", 200, "--fingerprint", path)
    assert "Retrain: the input length and input texts" in shown.output.replace("\n", " ")
    refused = command(tmp_path / "mails", "--fingerprint", path, "--run", "local:x")
    assert refused.exit_code == 2
    assert "names the training data" in refused.output


def test_a_promise_is_read_from_a_crossover(tmp_path):
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    from ftsdk.cost import SelfHosted, Workload, crossover

    answer = crossover(
        workload=Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15),
        api="anthropic/claude-haiku-4-5",
        self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod"),
        training=12,
    )
    path = tmp_path / "crossover.json"
    path.write_text(json.dumps(answer.to_dict()))
    found = Promise.from_file(path)
    assert found.usd_per_1k_accepted == answer.option("self-hosted").usd_per_1k_accepted
    with pytest.raises(SpecError, match="no option"):
        Promise.from_file(path, "moon")
    path.write_text("{")
    with pytest.raises(SpecError, match="can't be read"):
        Promise.from_file(path)


def test_the_page_runs_no_script_and_is_in_no_frame(tmp_path, log):
    log.append(record("a").to_dict())
    server = MonitorServer(Monitor(tmp_path / "mails", clock=lambda: NOW))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        found = httpx.get(server.address)
    finally:
        server.stop()
        thread.join()
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert "<script" not in found.text
