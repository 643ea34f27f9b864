"""Trackers of a run at a managed service follow its local history, whichever process keeps that up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")
from keeping_tracker import registered

from ftsdk.protocol import LogEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftsdk import Together
    from ftsdk.spec import JobSpec


@pytest.fixture
def keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with registered(tmp_path, monkeypatch) as kind:
        yield kind


def follow(backend: Together, ref: Any, *, looks: int = 60) -> list[Any]:
    for _ in range(looks):
        is_over = backend.status(ref).is_terminal
        events = list(backend.events(ref))
        if is_over:
            return events
    return list(backend.events(ref))


def test_a_tracker_gets_each_event_once_from_one_process_after_the_other(
    keeps: Any, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    backend = make_backend(trackers=["keeps"])
    ref = backend.submit(backend.plan(make_spec(validation=True)), key="k")
    first = follow(backend, ref, looks=2)
    assert keeps.kept == first
    assert first
    again = make_backend(trackers=["keeps"])
    events = follow(again, ref)
    assert len(events) > len(first)
    assert keeps.kept == events
    assert list(again.events(ref)) == events
    assert keeps.kept == events


def test_a_tracker_that_fails_is_a_warning_in_the_history_and_no_more(
    keeps: Any, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    keeps.fails_at = "log"
    backend = make_backend(trackers=["keeps"])
    ref = backend.submit(backend.plan(make_spec()), key="k")
    events = follow(backend, ref)
    assert backend.status(ref).state == "succeeded"
    warnings = [event.message for event in events if isinstance(event, LogEvent) and "tracker" in event.message]
    assert len(warnings) == 1
    assert "tracker 'keeps' could not take the event 0 (ConnectionError) and is left out" in warnings[0]
