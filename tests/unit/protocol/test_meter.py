"""What a run has cost so far: one computation, whoever asks, whatever was killed in between."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.hosted import worker
from ftsdk.backends.hosted.heartbeat import HEARTBEAT, heartbeat, last_heartbeat
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.stop_condition import StopCondition
from ftsdk.protocol import Event, LogEvent, RunStatus, StateEvent, StepEvent
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.protocol.meter import OVER_BUDGET, Meter, Pace, accrued_usd
from ftsdk.run.budget import BudgetWatch
from ftsdk.runfolder.event_log import EventWriter, parse_events

usd = st.decimals(min_value=0, max_value=10_000, places=4)
seconds = st.floats(min_value=0, max_value=1e7)
shares = st.floats(min_value=0, max_value=2)
kinds = st.sampled_from(["per_hour", "per_share"])


def some_terms(kind: Any = "per_hour", usd: object = 3600, fixed_usd: object = 0, start_s: float = 0.0) -> BillingTerms:
    """A dollar a second, unless told otherwise."""
    return BillingTerms(
        kind=kind, usd=Decimal(str(usd)), fixed_usd=Decimal(str(fixed_usd)), start_s=start_s, source="a test"
    )


def attempt(at: float, number: int = 1) -> StateEvent:
    return StateEvent(seq=0, at=at, state="running", native=f"attempt {number}")


def step(at: float, number: int = 1, of: int = 10) -> StepEvent:
    return StepEvent(seq=0, at=at, step=number, total_steps=of)


def state(at: float, word: Any, native: str = "") -> StateEvent:
    return StateEvent(seq=0, at=at, state=word, native=native)


def billed_s(*events: Event, start_s: float = 0.0, submitted_at: float | None = None) -> float:
    meter = Meter(terms=some_terms(start_s=start_s), submitted_at=submitted_at)
    meter.saw(events)
    return meter.seconds


# The sum


@given(kinds, usd, usd, seconds, seconds, shares, shares)
def test_what_is_owed_never_falls_with_time_or_steps(
    kind: str, price: Decimal, fixed: Decimal, early: float, later: float, little: float, much: float
) -> None:
    terms = some_terms(kind, price, fixed)
    (early, later), (little, much) = sorted((early, later)), sorted((little, much))
    before = accrued_usd(terms, seconds=early, share_done=little, price_usd=None)
    after = accrued_usd(terms, seconds=later, share_done=much, price_usd=None)
    assert before is not None
    assert after is not None
    assert before <= after


@given(kinds, usd, usd, usd, seconds, shares)
def test_what_is_owed_never_falls_with_the_price(
    kind: str, cheap: Decimal, dear: Decimal, fixed: Decimal, s: float, share: float
) -> None:
    cheap, dear = sorted((cheap, dear))
    less, more = (
        accrued_usd(some_terms(kind, price, fixed), seconds=s, share_done=share, price_usd=None)
        for price in (cheap, dear)
    )
    assert less is not None
    assert more is not None
    assert less <= more


@given(kinds, usd, usd, st.floats(min_value=-1e7, max_value=1e7), st.floats(min_value=-2, max_value=2))
def test_what_is_owed_is_never_below_the_minimum(
    kind: str, price: Decimal, fixed: Decimal, s: float, share: float
) -> None:
    owed = accrued_usd(some_terms(kind, price, fixed), seconds=s, share_done=share, price_usd=None)
    assert owed is not None
    assert owed >= fixed


@given(kinds, usd, usd, seconds, shares, usd)
def test_the_place_s_own_word_wins(
    kind: str, price: Decimal, fixed: Decimal, s: float, share: float, said: Decimal
) -> None:
    assert accrued_usd(some_terms(kind, price, fixed), seconds=s, share_done=share, price_usd=said) == said


# The time that is billed

histories = st.lists(
    st.tuples(
        st.sampled_from(["attempt", "running", "step", "log", "queued", "finalizing", "cancelled"]),
        st.floats(min_value=0, max_value=1000),
    ),
    max_size=20,
)


def told(history: list[tuple[str, float]]) -> list[Event]:
    at, events = 1000.0, list[Event]()
    for word, pause in history:
        at += pause
        match word:
            case "attempt":
                events.append(attempt(at, len(events)))
            case "step":
                events.append(step(at, len(events), 20))
            case "log":
                events.append(LogEvent(seq=0, at=at, message="a line"))
            case _:
                events.append(state(at, word))
    return events


@given(histories, st.integers(0, 20), st.floats(min_value=0, max_value=300))
def test_more_events_never_lower_the_cost_however_they_are_split(
    history: list[tuple[str, float]], cut: int, start_s: float
) -> None:
    events = told(history)
    whole = Meter(terms=some_terms(start_s=start_s), submitted_at=1000.0)
    whole.saw(events)
    pieces = Meter(terms=some_terms(start_s=start_s), submitted_at=1000.0)
    pieces.saw(events[:cut])
    before = (pieces.seconds, pieces.share_done, pieces.longest_pause_s)
    pieces.saw(events[cut:])
    assert pieces == whole
    assert all(
        early <= later
        for early, later in zip(before, (whole.seconds, whole.share_done, whole.longest_pause_s), strict=True)
    )
    assert whole.seconds <= sum(pause for _, pause in history) + 1e-6


def test_all_attempts_are_billed_and_the_weekend_between_them_is_not() -> None:
    friday = (attempt(100), step(150), LogEvent(seq=0, at=160, message="killed at about this time"))
    monday = (attempt(200_000, 2), step(200_040), state(200_050, "succeeded"))
    assert billed_s(*friday, *monday) == 60 + 50


def test_a_run_that_waits_for_room_on_the_disk_is_not_billed_meanwhile() -> None:
    assert billed_s(attempt(0), step(10), state(12, "queued", "blocked"), attempt(5000, 2), step(5008)) == 12 + 8


@pytest.mark.parametrize(
    ("submitted_at", "billed"), [(70.0, 30 + 10), (-900.0, 300 + 10), (None, 300 + 10), (150.0, 10)]
)
def test_a_billed_start_counts_from_submission_and_is_capped(submitted_at: float | None, billed: float) -> None:
    assert billed_s(attempt(100), step(110), start_s=300, submitted_at=submitted_at) == billed


def test_every_further_start_is_billed_too() -> None:
    events = (attempt(100), step(110), attempt(150, 2), step(155), attempt(9000, 3), step(9001))
    assert billed_s(*events, start_s=60, submitted_at=90) == (10 + 10) + (40 + 5) + (60 + 1)


@given(histories, st.lists(st.tuples(st.floats(min_value=0, max_value=100), st.booleans()), max_size=10))
def test_what_a_watch_says_never_falls_from_look_to_look(
    history: list[tuple[str, float]], looks: list[tuple[float, bool]]
) -> None:
    events, watch = told(history), BudgetWatch(budget_usd=Decimal(1), terms=some_terms())
    clock_s, owed = 0.0, Decimal(0)
    for number, (pause, is_going) in enumerate(looks):
        clock_s += pause
        watch.saw(events[2 * number : 2 * number + 2])
        now = watch.owed_usd(RunStatus(state="running" if is_going else "queued"), clock_s=clock_s)
        assert now is not None
        assert now >= owed
        owed = now


def test_a_watch_bills_no_pause_in_which_nothing_was_at_work() -> None:
    watch = BudgetWatch(budget_usd=Decimal(100), terms=some_terms())
    watch.saw([attempt(1000), step(1010)])
    assert watch.owed_usd(RunStatus(state="running"), clock_s=0) == 10
    assert watch.owed_usd(RunStatus(state="queued", native="interrupted"), clock_s=5) == 15
    assert watch.owed_usd(RunStatus(state="queued", native="interrupted"), clock_s=9000) == 15
    watch.saw([attempt(10_000, 2)])
    assert watch.owed_usd(RunStatus(state="running"), clock_s=9001) == 15
    assert watch.owed_usd(RunStatus(state="running"), clock_s=9004) == 18


# The worker that watches itself


def a_request(**launch: Any) -> dict[str, Any]:
    return {"trainer": "no-such-trainer", "training": {}, "launch": launch, "spec": {"budget_usd": 5}}


def a_run(folder: Path, *events: Event, **launch: Any) -> Path:
    (folder / "run.json").write_text(json.dumps(a_request(**launch)))
    log = EventWriter(folder)
    for event in events:
        log.append(event)
    log.close()
    return folder


def events_in(folder: Path) -> list[Event]:
    return parse_events((folder / "events.jsonl").read_bytes())


@given(st.lists(st.floats(min_value=0.01, max_value=3), min_size=1, max_size=8))
def test_a_worker_and_a_watch_compute_the_same(tmp_path_factory: pytest.TempPathFactory, pauses: list[float]) -> None:
    at, events = 1000.0, list[Event]([attempt(1000.0)])
    for number, pause in enumerate(pauses, start=1):
        at += pause
        events.append(step(at, number))
    stop = StopCondition(tmp_path_factory.getbasetemp(), a_request(usd_per_hour="3600"), events, clock=lambda: at)
    watch = BudgetWatch(budget_usd=Decimal(5), terms=some_terms())
    watch.saw(events)
    assert stop() is (watch.is_over(RunStatus(state="running"), clock_s=0.0) is not None)


def test_a_worker_stops_by_its_clock_while_nothing_is_written(tmp_path: Path) -> None:
    now = 1000.0
    stop = StopCondition(tmp_path, a_request(usd_per_hour="3600"), [attempt(1000.0)], clock=lambda: now)
    now = 1004.9
    assert not stop()
    now = 1005.5
    assert stop()
    last = stop.last_event()
    assert (last.state, last.native) == ("cancelled", OVER_BUDGET)
    for words in (
        "$5.5000 is owed for 5.5 s",
        "$3600 an hour",
        "budget_usd=5",
        "up to $5.5000 may have been spent beyond",
    ):
        assert words in last.reason


@pytest.mark.parametrize("launch", [{}, {"usd_per_s": "1", "total_s": 100}])
def test_a_worker_ignores_the_budget_unless_only_it_can_keep_it(tmp_path: Path, launch: dict[str, Any]) -> None:
    assert not StopCondition(tmp_path, a_request(**launch), [attempt(0.0)])()


def test_a_cancelled_run_was_not_stopped_by_its_budget(tmp_path: Path) -> None:
    stop = StopCondition(tmp_path, a_request(usd_per_hour="0.01"), [attempt(1000.0)], clock=lambda: 1001.0)
    (tmp_path / "cancel").touch()
    assert stop()
    assert (stop.last_event().reason, stop.last_event().native) == ("cancelled by user", "")


def test_a_new_worker_trains_nothing_once_the_budget_is_used_up(tmp_path: Path) -> None:
    spent = (attempt(1000.0), StepEvent(step=1, at=1006.0))
    folder = a_run(tmp_path, *spent, usd_per_hour="3600")
    (folder / "checkpoints").mkdir()
    assert (
        worker.work(folder) == 0
    )  # with a trainer that doesn't exist: had it been asked for, the run would have failed
    last = events_in(folder)[-1]
    assert isinstance(last, StateEvent)
    assert (last.state, last.native) == ("cancelled", OVER_BUDGET)
    assert (folder / "checkpoints").is_dir()
    before = (folder / "events.jsonl").read_bytes()
    assert worker.work(folder) == 0
    assert (folder / "events.jsonl").read_bytes() == before


def test_cancelling_a_run_that_stalled_for_days_is_not_its_budget(tmp_path: Path) -> None:
    folder = a_run(tmp_path, attempt(1000.0), usd_per_hour="3600")
    (folder / "cancel").touch()
    assert worker.work(folder) == 0
    last = events_in(folder)[-1]
    assert isinstance(last, StateEvent)
    assert (last.state, last.reason, last.native) == ("cancelled", "cancelled by user", "")


def test_a_killed_worker_is_billed_to_its_last_heartbeat(tmp_path: Path) -> None:
    folder = a_run(tmp_path, attempt(1000.0), usd_per_hour="3600")
    with heartbeat(folder, is_on=True):
        pass
    os.utime(folder / HEARTBEAT, (1007.5, 1007.5))
    assert worker.work(folder) == 0
    found = events_in(folder)
    assert [(event.kind, event.at) for event in found[:2]] == [("state", 1000.0), ("log", 1007.5)]
    assert [event.native for event in found if isinstance(event, StateEvent)] == ["attempt 1", "attempt 2", OVER_BUDGET]


def test_a_worker_has_a_heartbeat_where_time_is_billed(tmp_path: Path) -> None:
    with heartbeat(tmp_path, is_on=False):
        assert last_heartbeat(tmp_path) is None
    with heartbeat(tmp_path, is_on=True, every_s=0.01):
        pass
    assert last_heartbeat(tmp_path) is not None


def test_the_pace_is_that_of_the_current_attempt() -> None:
    meter = Meter(terms=None)
    meter.saw([attempt(0.0), StepEvent(at=10.0, step=1, total_steps=10, tokens=100)])
    meter.saw([attempt(500.0, 2), StepEvent(at=510.0, step=2, total_steps=10, tokens=200)])
    assert meter.pace(StepEvent(at=514.0, step=4, total_steps=10, tokens=280)) == Pace(20.0, 12.0)
    assert meter.pace(StepEvent(at=514.0, step=4)) == Pace(None, None)


def test_the_first_step_of_an_attempt_has_no_pace_yet() -> None:
    meter = Meter(terms=None)
    meter.saw([attempt(0.0)])
    assert meter.pace(StepEvent(at=5.0, step=7, total_steps=10, tokens=3)) is None


def test_the_log_has_the_pace_of_a_trainer_that_does_not_measure_it(tmp_path: Path) -> None:
    now = 100.0
    log = EventWriter(tmp_path)
    progress = Progress(log, Meter(terms=None), clock=lambda: now)
    progress(StepEvent(step=1, total_steps=5, tokens=50))
    now = 102.0
    progress(StepEvent(step=2, total_steps=5, tokens=150))
    now = 104.0
    progress(StepEvent(step=3, total_steps=5, tokens=250, tokens_per_s=7.0))
    log.close()
    steps = [event for event in events_in(tmp_path) if isinstance(event, StepEvent)]
    assert [(step.tokens_per_s, step.seconds_left) for step in steps] == [(None, None), (50.0, 6.0), (7.0, 4.0)]
