"""Blind comparisons: what is shown, what is kept, and what it adds up to."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftsdk import SpecError
from ftsdk.evals import ExampleResult
from ftsdk.evals.blind import BlindPairs, BlindSession, VerdictFile, make_pairs, summarise_blind
from ftsdk.evals.blind.page import ComparisonPage
from ftsdk.evals.blind.verdicts import BlindVerdict, Winner


def results(*outputs: str | None, start: int = 0) -> list[ExampleResult]:
    return [
        ExampleResult(n, f"question {n}", "r", output or "", 0.0, "", error=None if output is not None else "HTTP 500")
        for n, output in enumerate(outputs, start=start)
    ]


def many(count: int = 40) -> BlindPairs:
    return make_pairs(results(*[f"one {n}" for n in range(count)]), results(*[f"two {n}" for n in range(count)]))


def judged(pairs: BlindPairs, keys: str, *, by: str = "ann") -> tuple[dict[str, Winner], list[BlindVerdict]]:
    verdicts: dict[str, Winner] = {}
    kept: list[BlindVerdict] = []
    session = BlindSession(pairs.pairs, verdicts, kept.append, by=by)
    for key in keys:
        session.press(key)
    return verdicts, kept


def test_pairs_are_shuffled_and_sides_are_random() -> None:
    pairs = many().pairs
    assert [pair.prompt for pair in pairs] != [f"question {n}" for n in range(40)]
    assert 8 < sum(pair.is_swapped for pair in pairs) < 32
    assert many().pairs == pairs
    assert {pair.shown for pair in pairs} >= {(pair.second, pair.first) for pair in pairs if pair.is_swapped}


def test_same_answers_and_failures_need_no_judge() -> None:
    pairs = make_pairs(results("a", "b", None, "d", "e"), results("a ", "c", "x", None))
    assert ([pair.prompt for pair in pairs.pairs], pairs.identical, pairs.missing) == (["question 1"], 1, 3)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(SpecError, match="no prompt in common"):
        make_pairs(results("a"), results("a", start=5))


def test_a_verdict_is_on_the_answer_and_not_on_its_side() -> None:
    pairs = many()
    verdicts, kept = judged(pairs, "a" * 40)
    assert all((verdicts[pair.id] == "second") is pair.is_swapped for pair in pairs.pairs)
    assert len(kept) == 40


def test_back_judges_the_last_pair_again() -> None:
    verdicts, kept = judged(many(3), "tzs")
    assert list(verdicts.values()) == ["skip"]
    assert [one.winner for one in kept] == ["tie", "skip"]


def test_a_comparison_goes_on_where_it_ended(tmp_path: Path) -> None:
    pairs, path = many(5), tmp_path / "deep" / "verdicts.jsonl"
    with VerdictFile(path) as file:
        session = BlindSession(pairs.pairs, {}, file.append, by="ann")
        session.press("t")
        session.press("t")
    with path.open("a") as cut:
        cut.write('{"pair": "x", "win\n[]\n{"pair": 1, "winner": "first", "by": "ann"}\n{"pair": "p", "winner": "me"}')
    with VerdictFile(path) as file:
        known = file.read()
        assert [len(own) for own in known.values()] == [2]
        assert BlindSession(pairs.pairs, known["ann"], file.append, by="ann").position == 2


def test_the_outcome_counts_wins_with_the_exact_sign_test() -> None:
    pairs = many(12)
    first: dict[str, Winner] = {pair.id: "first" if n < 9 else "second" for n, pair in enumerate(pairs.pairs[:10])}
    outcome = summarise_blind(pairs, {"ann": first}, names=("old", "new"))
    assert (outcome.wins, outcome.losses, outcome.left, outcome.share) == (9, 1, 2, 0.9)
    assert outcome.p_value == pytest.approx(22 / 1024)
    assert "old is preferred by more than chance" in str(outcome)
    assert outcome.to_dict()["names"] == ["old", "new"]


def test_the_outcome_names_what_was_not_compared() -> None:
    first = [*results(*(f"one {n}" for n in range(5))), ExampleResult(9, "only here", "", "x", 0.0, "")]
    pairs = make_pairs(first, results(*(f"two {n}" for n in range(5))), most=2)
    outcome = summarise_blind(pairs, {})
    assert (outcome.left, outcome.not_drawn, outcome.missing) == (2, 3, 1)
    assert "3 pairs not drawn, 1 without two answers" in str(outcome)


def test_no_verdict_is_no_preference() -> None:
    outcome = summarise_blind(many(3), {})
    assert (outcome.share, outcome.p_value, outcome.left) == (0.5, 1.0, 3)
    assert "won 0" in str(outcome)


def test_two_judges_have_an_agreement_and_a_majority() -> None:
    pairs = many(4)
    ids = [pair.id for pair in pairs.pairs]
    ann: dict[str, Winner] = {ids[0]: "first", ids[1]: "first", ids[2]: "second", ids[3]: "skip"}
    bob: dict[str, Winner] = {ids[0]: "first", ids[1]: "second", ids[2]: "tie", ids[3]: "tie"}
    outcome = summarise_blind(pairs, {"ann": ann, "bob": bob})
    assert (outcome.wins, outcome.losses, outcome.ties) == (1, 1, 2)
    assert outcome.agreements["ann", "bob"].n == 3


@contextmanager
def served(session: BlindSession, idle_s: float = 60.0) -> Iterator[str]:
    page = ComparisonPage(session, outcome=lambda: "old won 1", idle_s=idle_s)
    thread = threading.Thread(target=page.serve)
    thread.start()
    try:
        yield page.url
    finally:
        page._is_over = True
        thread.join(10)
        assert not thread.is_alive()


def post(url: str, key: str, page: str) -> str:
    found = re.search(r'name="pair" value="(\w+)"', page)
    form = urllib.parse.urlencode({"key": key, "pair": found[1] if found else ""}).encode()
    with urllib.request.urlopen(url, data=form, timeout=10) as answer:
        return answer.read().decode()


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert "script-src 'nonce-" in answer.headers["Content-Security-Policy"]
        # With no-referrer a browser would send the form with the origin "null".
        assert answer.headers["Referrer-Policy"] == "same-origin"
        return answer.read().decode()


def test_a_page_takes_verdicts_and_ends_with_the_outcome() -> None:
    hostile = make_pairs(results("<script>x</script>\x1b\u202e", "b"), results("z", "y"))
    kept: list[BlindVerdict] = []
    with served(BlindSession(hostile.pairs, {}, kept.append, by="ann")) as url:
        first = read(url)
        assert "1 of 2" in first
        assert "<script>x" not in first
        second = post(url, "a", first)
        assert "2 of 2" in second
        assert "2 of 2" in post(url, "a", first)  # sent twice
        assert "old won 1" in post(url, "t", second)
    assert len(kept) == 2


def test_a_page_stops_only_when_its_outcome_is_shown() -> None:
    happened: list[str] = []

    def slow_outcome() -> str:
        time.sleep(0.6)  # longer than the server waits for a request
        happened.append("shown")
        return "old won 1"

    page = ComparisonPage(BlindSession(many(1).pairs, {}, print, by="ann"), outcome=slow_outcome)
    thread = threading.Thread(target=lambda: (page.serve(), happened.append("stopped")))
    thread.start()
    assert "old won 1" in post(page.url, "q", "")
    thread.join(10)
    assert happened == ["shown", "stopped"]


def test_a_page_is_for_those_who_have_its_address() -> None:
    kept: list[BlindVerdict] = []
    with served(BlindSession(many(2).pairs, {}, kept.append, by="ann")) as url:
        host = urllib.parse.urlsplit(url).netloc
        for wrong in (f"http://{host}/", f"{url}x", f"http://{host}/é/".replace("é", "%C3%A9")):
            with pytest.raises(urllib.error.HTTPError, match="404") as found:
                urllib.request.urlopen(wrong, timeout=10)
            found.value.close()
        for headers, status in (({"Host": "evil.example"}, 404), ({"Origin": "http://evil.example"}, 400)):
            connection = http.client.HTTPConnection(host, timeout=10)
            path = urllib.parse.urlsplit(url).path
            connection.request("POST", path, body="key=a", headers=headers)
            assert connection.getresponse().status == status
            connection.close()
    assert kept == []


def test_a_page_stops_when_nobody_comes() -> None:
    page = ComparisonPage(BlindSession(many(2).pairs, {}, print, by="ann"), outcome=str, idle_s=0.3)
    page.serve()


def test_a_page_goes_back_once_for_a_form_that_is_sent_twice() -> None:
    with served(BlindSession(many(4).pairs, {}, lambda verdict: None, by="ann")) as url:
        second = post(url, "a", read(url))
        third = post(url, "b", second)
        assert "3 of 4" in third
        assert "2 of 4" in post(url, "z", third)
        assert "2 of 4" in post(url, "z", third)


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1001", "a", "1.5", ""])
def test_odd_requests_are_refused_without_a_word(length: str, capfd: pytest.CaptureFixture[str]) -> None:
    with served(BlindSession(many(2).pairs, {}, lambda verdict: None, by="ann")) as url:
        host, path = urllib.parse.urlsplit(url).netloc, urllib.parse.urlsplit(url).path
        with socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])), timeout=10) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
            assert b" 400 " in connection.recv(100)
        with socket.create_connection(
            (host.partition(":")[0], int(host.partition(":")[2])), timeout=10
        ) as connection:  # hangs up before the answer
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert "1 of 2" in read(url)
    assert capfd.readouterr().err == ""
