"""Waiting: the timeout, a backend that doesn't answer, and the budget meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from ftsdk import BackendError
from ftsdk.protocol import RunStatus, StateEvent
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.run.budget import BudgetWatch
from ftsdk.run.progress import SilentProgress
from ftsdk.run.stats import RunStats
from ftsdk.run.waiter import Waiter

RUNNING = RunStatus(state="running")
DONE = RunStatus(state="succeeded")
MONTH_S = 86_400.0 * 30


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def busy(retry_after_s: float | None) -> BackendError:
    return BackendError("busy", retryable=True, retry_after_s=retry_after_s)


def answers(*given: RunStatus | BackendError) -> Callable[[], RunStatus]:
    """Answer in turn; the last answer is repeated."""

    def forever() -> Iterator[RunStatus | BackendError]:
        yield from given
        while True:
            yield given[-1]

    waiting = forever()

    def status() -> RunStatus:
        answer = next(waiting)
        if isinstance(answer, BackendError):
            raise answer
        return answer

    return status


def waiter(
    time: Time,
    status: Callable[[], RunStatus],
    *,
    timeout_s: float | None = None,
    watch: BudgetWatch | None = None,
    **how: object,
) -> Waiter:
    stop: Callable[[RunStatus], RunStatus] = how.get("stop", lambda last: RunStatus(state="cancelled"))  # type: ignore[assignment]
    return Waiter(
        ref="x:1",
        status=status,
        events=lambda after: [],
        resume=lambda: False,
        stop=stop,
        display=SilentProgress(),
        stats=RunStats(),
        watch=watch,
        timeout_s=timeout_s,
        poll_s=0.5,
        clock=lambda: time.now,
        sleep=time.sleep,
    )


def a_dollar_an_hour(budget: str) -> BudgetWatch:
    watch = BudgetWatch(
        budget_usd=Decimal(budget),
        terms=BillingTerms(kind="per_hour", usd=Decimal(36), fixed_usd=Decimal(0), source="a test"),
    )
    watch.saw([StateEvent(seq=0, at=100.0, state="running", native="attempt 1")])
    return watch


@pytest.mark.parametrize("watch", [None, a_dollar_an_hour("1000")])
@pytest.mark.parametrize("retry_after_s", [None, 7.0, MONTH_S])
def test_the_timeout_holds_whatever_the_server_says(retry_after_s: float | None, watch: BudgetWatch | None) -> None:
    time = Time()
    with pytest.raises(TimeoutError, match="can't be reached"):
        waiter(time, answers(busy(retry_after_s)), timeout_s=3, watch=watch).wait()
    assert time.now == 3


def test_a_run_that_ended_during_a_long_pause_is_seen_at_the_timeout() -> None:
    time = Time()
    assert waiter(time, answers(busy(MONTH_S), DONE), timeout_s=3).wait() == DONE


def test_a_long_retry_after_is_cut_to_five_minutes() -> None:
    time = Time()
    with pytest.raises(BackendError, match="busy"):
        waiter(time, answers(busy(MONTH_S))).wait()
    assert time.now == 300


def test_the_pause_is_what_the_server_asks_for() -> None:
    time = Time()
    assert waiter(time, answers(busy(7.0), busy(None), RUNNING, DONE)).wait() == DONE
    assert time.slept == [7.0, 1.0, 0.5]


def test_the_last_poll_is_at_the_timeout_and_not_after() -> None:
    time = Time()
    with pytest.raises(TimeoutError, match=r"still running after 1\.2 s"):
        waiter(time, answers(RUNNING), timeout_s=1.2).wait()
    assert time.now == pytest.approx(1.2)


def test_the_budget_is_watched_while_the_server_does_not_answer() -> None:
    time = Time()
    stopped_at: list[float] = []

    def stop(last: RunStatus) -> RunStatus:
        stopped_at.append(time.now)
        return RunStatus(state="cancelled")

    # $36 an hour is a cent a second.
    status = waiter(time, answers(RUNNING, busy(MONTH_S)), watch=a_dollar_an_hour("1"), stop=stop).wait()
    assert status.state == "cancelled"
    assert stopped_at[0] == pytest.approx(100, abs=1.5)


def test_a_cancellation_that_gets_no_answer_is_tried_again() -> None:
    time = Time()
    tries: list[float] = []

    def stop(last: RunStatus) -> RunStatus:
        tries.append(time.now)
        if len(tries) < 3:
            raise busy(2.0)
        return RunStatus(state="cancelled")

    assert (
        waiter(time, answers(RUNNING, busy(5.0)), watch=a_dollar_an_hour("0.1"), stop=stop).wait().state == "cancelled"
    )
    assert len(tries) == 3
