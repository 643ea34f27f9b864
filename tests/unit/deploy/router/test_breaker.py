from __future__ import annotations

from ftsdk.deploy.router.breaker import Breaker, BreakerRule, Ticket

RULE = BreakerRule(failures=3, cooldown_s=10, longest_cooldown_s=30)


def fail(breaker: Breaker, now: float, **options: float) -> None:
    ticket = breaker.admit(now)
    assert ticket is not None
    breaker.failed(ticket, now, **options)


def opened() -> Breaker:
    breaker = Breaker(RULE)
    for now in (0.0, 1.0, 2.0):
        fail(breaker, now)
    return breaker


def test_failures_in_a_row_open_it_and_one_probe_closes_it() -> None:
    breaker = opened()
    assert breaker.state(3) == "open"
    assert breaker.admit(11.9) is None
    probe = breaker.admit(12)
    assert probe is not None
    assert breaker.admit(12) is None, "one request at a time tries"
    breaker.succeeded(probe)
    assert breaker.state(12) == "closed"


def test_a_probe_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    breaker = opened()
    fail(breaker, 12)
    assert breaker.seconds_left(12) == 20
    fail(breaker, 32)
    assert breaker.seconds_left(32) == 30


def test_a_probe_whose_client_went_away_lets_the_next_one_try() -> None:
    breaker = opened()
    probe = breaker.admit(12)
    assert probe is not None
    breaker.released(probe)
    assert breaker.admit(12) is not None


def test_a_late_answer_from_before_it_opened_says_nothing() -> None:
    breaker = Breaker(RULE)
    late = breaker.admit(0)
    for now in (0.0, 1.0, 2.0):
        fail(breaker, now)
    assert late is not None
    breaker.succeeded(late)
    assert breaker.state(3) == "open"
    breaker.failed(late, 3)
    assert breaker.seconds_left(3) == 9


def test_retry_after_opens_it_at_once_within_the_longest_rest() -> None:
    breaker = Breaker(RULE)
    fail(breaker, 0, retry_after_s=20)
    assert breaker.seconds_left(0) == 20
    other = Breaker(RULE)
    fail(other, 0, retry_after_s=9_999)
    assert other.seconds_left(0) == 30


def test_every_other_failure_opens_it_too() -> None:
    breaker = Breaker(RULE)
    for now in range(20):
        ticket = breaker.admit(now)
        assert isinstance(ticket, Ticket)
        if now % 2:
            breaker.failed(ticket, now)
        else:
            breaker.succeeded(ticket)
    assert breaker.state(19) == "open"
