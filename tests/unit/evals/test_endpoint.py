"""An endpoint as something to measure: a real HTTP client against a server on loopback."""

from __future__ import annotations

import contextlib
import json
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from serving import serving

from ftsdk import Endpoint, Eval, Model
from ftsdk.errors import BackendError, CredentialsError, SpecError
from ftsdk.evals import evaluate, targets
from ftsdk.evals.chat_errors import seconds_to_wait
from ftsdk.evals.chat_wire import ChatWire

MakeRows = Callable[..., Any]
KEY = "sk-endpoint-0123456789"


class Answers(ThreadingHTTPServer):
    """Repeats the last message, unless `fault` has another response to the n-th request for a question."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault: Callable[[str, int], tuple[int, dict[str, str], bytes] | None] = lambda question, n: None
        self.requests: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.delay_s: Callable[[str], float] = lambda question: 0.0
        self.drip_s = 0.0
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Answers  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; waiting for each other they take 40 ms

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.requests.append({"path": self.path, "authorization": self.headers.get("Authorization"), **body})
            self.server.asked[question] += 1
            n = self.server.asked[question]
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        time.sleep(self.server.delay_s(question))
        with self.server.lock:
            self.server.in_flight -= 1
        status, headers, content = self.server.fault(question, n) or (200, {}, completion(question))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may hang up
            if not self.server.drip_s:
                self.wfile.write(content)
                return
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(self.server.drip_s)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


def completion(text: str | None) -> bytes:
    return json.dumps(
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    ).encode()


def refuses(status: int, message: str = "", **headers: str) -> Callable[[str, int], tuple[int, dict[str, str], bytes]]:
    return lambda question, n: (status, headers, json.dumps({"error": {"message": message}}).encode())


@pytest.fixture
def server() -> Iterator[Answers]:
    with serving(Answers()) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def wire(server: Answers, slept: list[float]) -> Iterator[ChatWire]:
    with ChatWire(
        url=server.url, model="slug/mails", key=KEY, key_name="MY_KEY", attempts=3, timeout_s=5, sleep=slept.append
    ) as made:
        yield made


def ask(wire: ChatWire, *questions: str, **options: Any) -> list[str]:
    return wire.generate(
        [[{"role": "user", "content": question}] for question in questions], max_new_tokens=7, **options
    )


def test_a_request_is_greedy_and_has_the_key_in_its_header_only(server: Answers, wire: ChatWire) -> None:
    assert ask(wire, "hello") == ["hello"]
    assert server.requests == [
        {
            "path": "/v1/chat/completions",
            "authorization": f"Bearer {KEY}",
            "model": "slug/mails",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 7,
            "temperature": 0,
        }
    ]


def test_answers_come_in_the_order_of_the_questions(server: Answers, wire: ChatWire) -> None:
    questions = [str(n) for n in range(24)]
    server.delay_s = lambda question: 0.05 if int(question) % 8 == 0 else 0.0
    assert ask(wire, *questions) == questions


def test_no_more_requests_are_in_flight_than_asked_for(server: Answers) -> None:
    server.delay_s = lambda question: 0.02
    with ChatWire(url=server.url, model="m", concurrency=3) as wire:
        ask(wire, *(str(n) for n in range(12)))
    assert server.most_in_flight == 3


def test_progress_grows_and_ends_at_the_total(server: Answers, wire: ChatWire) -> None:
    seen: list[tuple[int, int]] = []
    ask(wire, *"abcdef", on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(
    server: Answers, wire: ChatWire, slept: list[float]
) -> None:
    server.fault = lambda question, n: (
        refuses(429, "slow down", **{"Retry-After": "7"})(question, n) if n == 1 else None
    )
    assert ask(wire, "hello") == ["hello"]
    assert slept == [7.0]


def test_a_server_that_stays_busy_is_a_retryable_error_with_its_own_words(
    server: Answers, wire: ChatWire, slept: list[float]
) -> None:
    server.fault = refuses(429, "slow down", **{"Retry-After": "7"})
    with pytest.raises(BackendError, match="slow down") as caught:
        ask(wire, "hello")
    assert (caught.value.retryable, caught.value.retry_after_s, caught.value.status_code) == (True, 7.0, 429)
    assert server.asked["hello"] == 3
    assert slept == [7.0, 7.0]


def test_a_server_that_is_down_for_a_moment_is_asked_again(server: Answers, wire: ChatWire, slept: list[float]) -> None:
    server.fault = lambda question, n: refuses(503)(question, n) if n < 3 else None
    assert ask(wire, "hello") == ["hello"]
    assert slept == [1.0, 2.0]


def test_a_refused_key_is_the_caller_s_and_is_not_tried_again(server: Answers, wire: ChatWire) -> None:
    server.fault = refuses(401, f"Incorrect key: {KEY}")
    with pytest.raises(CredentialsError, match="MY_KEY") as caught:
        ask(wire, "hello")
    assert server.asked["hello"] == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "context"), (402, "billing"), (404, "/v1"), (413, "too long"), (422, "context"), (301, "url")],
)
def test_a_refused_request_says_what_to_do_next_and_is_not_sent_again(
    server: Answers, wire: ChatWire, status: int, advice: str
) -> None:
    server.fault = refuses(status, "the server's words")
    with pytest.raises(BackendError, match=advice) as caught:
        ask(wire, "hello")
    assert "the server's words" in str(caught.value)
    assert (caught.value.retryable, caught.value.status_code, server.asked["hello"]) == (False, status, 1)


def test_an_answer_that_does_not_come_is_retryable(server: Answers) -> None:
    server.delay_s = lambda question: 0.3
    with (
        ChatWire(url=server.url, model="m", timeout_s=0.05, attempts=2, sleep=lambda seconds: None) as wire,
        pytest.raises(BackendError) as caught,
    ):
        ask(wire, "hello")
    assert caught.value.retryable
    assert "timeout_s" in str(caught.value)


def test_a_server_that_drips_is_cut_off_in_time(server: Answers) -> None:
    server.drip_s = 0.05
    started = time.monotonic()
    with (
        ChatWire(url=server.url, model="m", timeout_s=0.3, attempts=1) as wire,
        pytest.raises(BackendError, match=r"within 0\.3 s") as caught,
    ):
        ask(wire, "hello")
    assert time.monotonic() - started < 3  # the whole answer takes five seconds
    assert caught.value.retryable


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_without_end_is_not_read_to_the_end(server: Answers, wire: ChatWire, status: int) -> None:
    server.fault = lambda question, n: (status, {}, b" " * (5 << 20))
    with pytest.raises(BackendError, match="more than 4 MiB" if status == 200 else "refused the request") as caught:
        ask(wire, "hello")
    assert (caught.value.status_code, caught.value.retryable, server.asked["hello"]) == (status, False, 1)


def test_answers_in_flight_come_out_before_the_failure(server: Answers) -> None:
    server.fault = lambda question, n: refuses(401, "no")(question, n) if question == "0" else None
    server.delay_s = lambda question: 0.0 if question == "0" else 0.3
    came: list[int] = []
    conversations = [[{"role": "user", "content": str(n)}] for n in range(50)]
    with ChatWire(url=server.url, model="m", concurrency=4) as wire, pytest.raises(CredentialsError, match="no"):
        came.extend(index for index, _ in wire.stream(conversations, max_new_tokens=7, skip={1}))
    assert {str(index) for index in came} == set(server.asked) - {"0"}
    assert came
    assert 1 not in came


def test_a_refused_example_is_recorded_and_asked_again(server: Answers, make_rows: MakeRows, tmp_path: Path) -> None:
    item = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(12))))
    target = Endpoint(url=server.url, model="m", revision="1", concurrency=1).target()
    server.fault = lambda question, n: refuses(400, "content filter")(question, n) if question == "9" else None
    for _ in range(2):
        report = evaluate([item], [target], into=tmp_path)
        assert (report.scores[0].correct, report.scores[0].errors) == (11, 1)
        assert "1 of 12 examples have no answer from tuned" in str(report)
    lines = (tmp_path / "exact_match" / "tuned.answers.jsonl").read_text().splitlines()
    assert sum("content filter" in line for line in lines) == 2
    server.fault = lambda question, n: None
    assert evaluate([item], [target], into=tmp_path).scores[0].correct == 12
    assert {question for question, n in server.asked.items() if n > 1} == {"9"}


def test_a_server_that_is_not_there_is_retryable(server: Answers) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with (
        ChatWire(url=url, model="m", attempts=2, sleep=lambda seconds: None) as wire,
        pytest.raises(BackendError, match="can't reach") as caught,
    ):
        ask(wire, "hello")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "content",
    [
        b"<html>We'll be right back</html>",
        b"{}",
        b'{"choices": []}',
        b"[]",
        b'{"choices": [{"message": {"content": 7}}]}',
        b"[" * 200_000,
    ],
)
def test_a_response_that_is_no_completion_is_refused(server: Answers, wire: ChatWire, content: bytes) -> None:
    server.fault = lambda question, n: (200, {}, content)
    with pytest.raises(BackendError, match="did not answer with a chat completion"):
        ask(wire, "hello")


def test_an_answer_without_text_is_empty(server: Answers, wire: ChatWire) -> None:
    server.fault = lambda question, n: (200, {}, completion(None))
    assert ask(wire, "hello") == [""]


def test_one_failure_for_good_stops_the_rest_and_names_its_example(server: Answers) -> None:
    server.fault = lambda question, n: (
        refuses(400, "too long")(question, n)
        if question == "0"
        else refuses(429, "", **{"Retry-After": "60"})(question, n)
    )
    started = time.monotonic()
    with (
        ChatWire(url=server.url, model="m", concurrency=4) as wire,
        pytest.raises(BackendError, match="too long") as caught,
    ):
        ask(wire, *(str(n) for n in range(200)))
    assert time.monotonic() - started < 20  # nobody sleeps a minute for answers that nobody waits for
    assert caught.value.__notes__ == ["while answering example 1"]
    assert len(server.requests) < 100


def test_errors_pickle_with_what_they_carry(server: Answers, wire: ChatWire) -> None:
    server.fault = refuses(503, "down", **{"Retry-After": "3"})
    with pytest.raises(BackendError) as caught:
        ask(wire, "hello")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.retry_after_s, again.status_code) == (str(caught.value), 3.0, 503)


def test_a_date_in_retry_after_is_read_and_nonsense_is_left_alone() -> None:
    assert seconds_to_wait(formatdate(1_800_000_030, usegmt=True), 1_800_000_000) == 30.0
    assert seconds_to_wait(formatdate(1_800_000_000, usegmt=True), 1_800_000_030) == 0.0
    assert seconds_to_wait("2.5", 0) == 2.5
    assert [seconds_to_wait(text, 0) for text in ("soon", "nan", "inf", "-5", "Fri, 31 Dec 99999 23:59:59 GMT")] == [
        None
    ] * 5
    assert seconds_to_wait(None, 0) is None


def test_the_bound_of_tokens_is_the_bytes() -> None:
    with ChatWire(url="http://127.0.0.1:9/v1", model="m") as wire:
        assert wire.count_tokens(["abc", "Grüße", ""]) == [3, 7, 0]


def test_the_key_is_in_no_repr_and_no_value(server: Answers, wire: ChatWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    endpoint = Endpoint(url=server.url, model="m", api_key_env="MY_KEY")
    with endpoint.open() as opened:
        shown = [repr(endpoint), str(endpoint), endpoint.to_json(), repr(endpoint.target()), repr(opened), repr(wire)]
    assert not any(KEY in text for text in shown)
    assert "MY_KEY" in endpoint.to_json()


def test_a_missing_key_names_its_variable_before_anything_is_sent(server: Answers) -> None:
    with (
        pytest.raises(CredentialsError, match="NO_SUCH_KEY"),
        Endpoint(url=server.url, model="m", api_key_env="NO_SUCH_KEY").open(),
    ):
        pass
    assert server.requests == []


def test_an_endpoint_without_a_key_sends_none(server: Answers) -> None:
    with Endpoint(url=server.url + "/", model="m").open() as wire:
        ask(wire, "hello")
    assert server.requests[0]["authorization"] is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/v1", "https://"),
        ("host/v1", "https://"),
        ("http://me:secret@host/v1", "no password"),
        ("http://host/v1?key=secret", "no query"),
        ("http://host/v1/chat/completions", "must end before"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused(url: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Endpoint(url=url, model="m")


def test_a_key_over_plain_http_has_to_be_asked_for() -> None:
    for options in ({"url": "https://host/v1"}, {"url": "http://127.0.0.1/v1"}, {"allow_http": True}):
        Endpoint(**{"url": "http://host/v1", "model": "m", "api_key_env": "K", **options})
    Endpoint(url="http://host/v1", model="m")
    with pytest.raises(SpecError, match="allow_http=True"):
        Endpoint(url="http://host/v1", model="m", api_key_env="K")


@pytest.mark.parametrize(
    "name", ["sk-0123456789abcdef", "hf_" + "aB3" * 10, "0123456789abcdef0123", "A KEY", "K=v", ""]
)
def test_a_key_in_place_of_its_name_is_refused_unseen(name: str) -> None:
    with pytest.raises(SpecError, match="name of an environment variable") as caught:
        Endpoint(url="https://host/v1", model="m", api_key_env=name)
    assert not name or name not in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout_s": 1e300}, {"timeout_s": float("nan")}, {"attempts": 10**9}])
def test_times_and_counts_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(options))):
        Endpoint(url="https://host/v1", model="m", **options)


@pytest.mark.parametrize(
    "odd",
    [
        (400, {}, b'{"error": "content filter"}'),
        (200, {}, b"[" * 100_000),
        (200, {}, completion("x").replace(b'"x"', b"9" * 5000)),
        (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    ],
)
def test_an_answer_that_fails_costs_no_other(
    odd: tuple[int, dict[str, str], bytes], server: Answers, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(*((str(n), str(n)) for n in range(20)))
    server.fault = lambda question, n: odd if question == "19" else (200, {}, completion("\ud800" + question))
    target = Endpoint(url=server.url, model="m", revision="1", concurrency=1, attempts=1).target()
    for _ in range(2):
        report = evaluate([Eval.exact_match(rows)], [target], into=tmp_path)
        assert (report.scores[0].correct, report.scores[0].errors) == (0, 1)
    assert Counter(server.asked.values()) == {1: 19, 2: 1}
    server.fault = lambda question, n: None
    report = evaluate([Eval.exact_match(rows)], [target], into=tmp_path)
    assert report.score("exact_match", "tuned").correct == 1
    assert server.asked["0"] == 1


def test_half_a_surrogate_in_a_prompt_is_sent_escaped(server: Answers, wire: ChatWire) -> None:
    assert ask(wire, "a\ud800b") == ["a\ud800b"]


def test_an_endpoint_survives_json() -> None:
    endpoint = Endpoint(url="https://host/v1", model="m", api_key_env="K", revision="r", concurrency=2)
    assert TypeAdapter(Endpoint).validate_json(endpoint.to_json()) == endpoint


def test_an_eval_measures_base_and_tuned_at_endpoints(server: Answers, make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(("yes", "yes"), ("no", "no"), ("maybe", "maybe"), ("perhaps", "maybe"))
    accuracy = Eval.exact_match(rows, name="accuracy")
    server.fault = lambda question, n: (200, {}, completion("yes")) if server.requests[-1]["model"] == "base" else None
    base, tuned = (Endpoint(url=server.url, model=name, concurrency=1) for name in ("base", "tuned"))
    report = evaluate([accuracy], [base.target("base"), tuned.target("tuned")], into=tmp_path)
    assert (report.score("accuracy", "base").correct, report.score("accuracy", "tuned").correct) == (1, 3)
    assert {request["max_tokens"] for request in server.requests} == {16}


def test_a_model_on_this_machine_is_compared_with_an_endpoint(
    server: Answers, make_rows: MakeRows, tmp_path: Path, tiny_model: Path
) -> None:
    accuracy = Eval.exact_match(make_rows(("yes", "yes"), ("no", "no")), name="accuracy", max_new_tokens=2)
    pair = targets(Model(id=tiny_model.as_posix()), Endpoint(url=server.url, model="tuned"))
    report = evaluate([accuracy], pair, into=tmp_path)
    assert [score.target for score in report.scores] == ["base", "tuned"]
    assert report.score("accuracy", "tuned").correct == 2
    assert report.pairs[0].only_tuned == 2  # two random tokens are no answer
    assert len(server.requests) == 2


def test_answers_are_used_again_only_under_a_revision(server: Answers, make_rows: MakeRows, tmp_path: Path) -> None:
    accuracy = Eval.exact_match(make_rows(("yes", "yes")), name="accuracy")
    for revision, requests in ((None, 2), ("weights-1", 1), ("weights-2", 1)):
        server.requests.clear()
        for _ in range(2):
            evaluate([accuracy], [Endpoint(url=server.url, model="m", revision=revision).target()], into=tmp_path)
        assert len(server.requests) == requests


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_endpoint_prints_as_its_model_and_address() -> None:
    shown = str(Endpoint(url="https://api.example.com/v1", model="mails", api_key_env="MY_KEY"))
    assert shown == "mails at https://api.example.com/v1, with the key in MY_KEY"
