"""The service's words become ours: states and events; nothing is lost or doubled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.managed.event_mirror import Entry
from ftsdk.backends.together.mapping import diagnosis_of, entries_of, seconds, state_of
from ftsdk.protocol import TERMINAL, EvalEvent, LogEvent, StepEvent


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", "queued"),
        ("queued", "queued"),
        ("model_downloading", "running"),
        ("running", "running"),
        ("compressing", "finalizing"),
        ("uploading", "finalizing"),
        ("cancel_requested", "cancelling"),
        ("cancelled", "cancelled"),
        ("error", "failed"),
        ("user_error", "failed"),
        ("completed", "succeeded"),
        ("COMPLETED", "succeeded"),
        ("failed", "unknown"),
        ("defragmenting", "unknown"),
    ],
)
def test_each_of_the_services_states_is_one_of_ours(word: str, state: str) -> None:
    assert state_of(word) == state


def test_the_ends_are_those_of_the_client() -> None:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    from together.lib.types.fine_tuning import COMPLETED_STATUSES, FinetuneJobStatus

    assert {word.value for word in FinetuneJobStatus if state_of(word.value) in TERMINAL} == {
        word.value for word in COMPLETED_STATUSES
    }
    assert not [word for word in FinetuneJobStatus if state_of(word.value) == "unknown"]


def event(
    kind: str = "job_start", at: str = "2026-11-23T10:00:00Z", message: str = "Job started", **more: Any
) -> dict[str, Any]:
    return {"object": "fine-tune-event", "type": kind, "created_at": at, "message": message, **more}


def text_of(entry: Entry) -> str:
    assert isinstance(entry.event, LogEvent)
    return entry.event.message


def test_doubled_and_shuffled_events_are_told_once_and_in_order() -> None:
    first, second = event(), event("training_start", "2026-11-23T10:00:05Z", "Training started")
    told = entries_of("ft-1", [second, first, second, first], [])
    assert [text_of(entry) for entry in told] == ["job_start: Job started", "training_start: Training started"]


def test_events_that_differ_in_one_thing_only_are_different_events() -> None:
    base = event(step=1)
    others = [
        event(step=2),
        event(step=1, message="x"),
        event("warning", step=1),
        event(step=1, at="2026-11-23T10:00:01Z"),
    ]
    assert len(entries_of("ft-1", [base, *others], [])) == 5
    # The same steps are made again under another id.
    assert entries_of("ft-1", [base], [])[0].key != entries_of("ft-2", [base], [])[0].key


def test_an_unknown_event_becomes_a_line_that_keeps_its_word() -> None:
    (told,) = entries_of("ft-1", [event("defragmentation", message="50%")], [])
    assert text_of(told) == "defragmentation: 50%"


@pytest.mark.parametrize(
    ("kind", "level", "ours"),
    [("job_start", "info", "info"), ("job_start", None, "info"), ("job_start", "legacy_iwarning", "warning"), ("x",
     "Error", "error"),
     ("JOB_USER_ERROR", "", "error"), ("refund", "info", "warning"), ("billing_limit", "info", "warning")],
)  # fmt: skip
def test_levels_are_ours(kind: str, level: str | None, ours: str) -> None:
    (told,) = entries_of("ft-1", [event(kind, level=level)], [])
    assert isinstance(told.event, LogEvent)
    assert told.event.level == ours


def test_a_checkpoint_without_a_step_is_a_line() -> None:
    told = entries_of(
        "ft-1",
        [event("CHECKPOINT_SAVE", step=5, checkpoint_path="s3://x"), event("checkpoint_save", message="saved")],
        [],
    )
    assert {entry.event.kind: getattr(entry.event, "step", None) for entry in told} == {"checkpoint": 5, "log": None}


def test_metrics_become_steps_and_evals_as_on_any_backend() -> None:
    row = {
        "train/global_step": 3.0,
        "train/loss": 1.5,
        "train/learning_rate": 1e-4,
        "train/grad_norm": 0.5,
        "train/epoch": 1.5,
        "timestamp": 1795.0,
    }
    told = entries_of(
        "ft-1", [], [row, {"train/global_step": 3.0, "eval/loss": 1.7, "timestamp": 1796.0}, row], total_steps=10
    )
    assert [entry.event for entry in told] == [
        StepEvent(at=1795.0, step=3, total_steps=10, loss=1.5, learning_rate=1e-4, grad_norm=0.5, epoch=1.5),
        EvalEvent(at=1796.0, step=3, metrics={"loss": 1.7}),
    ]


def test_a_loss_that_is_no_number_is_a_warning_and_no_crash() -> None:
    told = entries_of("ft-1", [], [{"train/global_step": 3, "train/loss": float("nan"), "train/grad_norm": 1.0}])
    assert [entry.event.kind for entry in told] == ["log", "step"]
    assert text_of(told[0]) == "train/loss at step 3 is nan"


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
names = st.sampled_from(
    [
        "type",
        "created_at",
        "message",
        "level",
        "step",
        "train/global_step",
        "train/loss",
        "eval/loss",
        "timestamp",
        "checkpoint_path",
        "x",
    ]
)


@given(
    events=st.lists(st.dictionaries(names, junk), max_size=4),
    metrics=st.lists(st.dictionaries(names, junk), max_size=4),
)
def test_no_answer_of_the_service_breaks_the_history(
    events: list[dict[str, Any]], metrics: list[dict[str, Any]]
) -> None:
    told = entries_of("ft-1", events, metrics)
    assert len({entry.key for entry in told}) == len(told)
    assert {entry.key for entry in entries_of("ft-1", [*events, *events], [*metrics, *metrics])} == {
        entry.key for entry in told
    }


@pytest.mark.parametrize(
    ("stamp", "read"),
    [("2026-11-23T00:00:00Z", 1795392000.0), ("2026-11-23T00:00:00", 1795392000.0), (1795392000, 1795392000.0),
     (1795392000000, 1795392000.0),
     ("yesterday", 0.0), (None, 0.0), (float("nan"), 0.0)],
)  # fmt: skip
def test_times_are_read_in_every_form(stamp: object, read: float) -> None:
    assert seconds(stamp) == read


@pytest.mark.parametrize(
    ("word", "kind", "says"),
    [("user_error", "refused", "refused the data"), ("error", "provider", "the service failed")],
)
def test_a_failure_says_who_failed_and_what_the_service_said(word: str, kind: str, says: str) -> None:
    found = diagnosis_of(word, ["first", "JOB_ERROR: the loss became NaN"], step=3)
    assert (found.kind, found.step) == (kind, 3)
    assert says in found.message
    assert "the loss became NaN" in found.message
    assert found.suggestions
