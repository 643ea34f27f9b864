"""A job is watched to its end: its states, its restarts, its price, and a history that is told once."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from ftsdk import DPO, EarlyStopping, FineTuneJob, Run, RunRef, Together
from ftsdk.errors import BackendError, RunFailedError, RunNotFoundError
from ftsdk.protocol import CheckpointEvent, EvalEvent, LogEvent, StateEvent, StepEvent
from ftsdk.run.ledger import Ledger
from ftsdk.testing.together import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftsdk import Dataset
    from ftsdk.protocol import RunStatus
    from ftsdk.spec import JobSpec
    from ftsdk.testing.together import TogetherService


def submit(backend: Together, spec: JobSpec, key: str = "k") -> RunRef:
    return backend.submit(backend.plan(spec), key=key)


def follow(backend: Together, ref: RunRef) -> tuple[RunStatus, list[Any]]:
    for _ in range(60):
        status = backend.status(ref)
        events = list(backend.events(ref))
        if status.is_terminal:
            return status, events
    raise AssertionError(f"the run didn't come to an end: {status}")


def lines(events: list[Any]) -> list[str]:
    return [event.message for event in events if isinstance(event, LogEvent)]


def test_losses_arrive_as_on_any_backend(backend: Together, make_spec: Callable[..., JobSpec]) -> None:
    status, events = follow(backend, submit(backend, make_spec(validation=True)))
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert [step.step for step in steps] == [1, 2, 3]
    assert all(
        step.loss is not None and step.learning_rate is not None and step.grad_norm is not None for step in steps
    )
    assert {step.total_steps for step in steps} == {3}
    assert [event.step for event in events if isinstance(event, EvalEvent)] == [1, 2, 3]
    assert [(event.step, event.path.rpartition("/")[2]) for event in events if isinstance(event, CheckpointEvent)] == [
        (3, "adapter")
    ]
    assert status.state == "succeeded"


def test_the_states_are_told_in_order_and_in_the_services_words(
    backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    _, events = follow(backend, submit(backend, make_spec()))
    states = [(event.state, event.native) for event in events if isinstance(event, StateEvent)]
    assert states[-1] == ("succeeded", "completed")
    assert len(states) == len(set(states))
    order = ["queued", "running", "finalizing", "succeeded"]
    assert [order.index(state) for state, _ in states] == sorted(order.index(state) for state, _ in states)


def test_times_are_those_of_the_service(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    _, events = follow(backend, submit(backend, make_spec()))
    (job,) = service.jobs
    stamps = {row["timestamp"] for row in job.metrics}
    assert {event.at for event in events if isinstance(event, StepEvent)} <= stamps
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_failure_says_the_services_words_and_at_which_step(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "fails"
    status, events = follow(backend, submit(backend, make_spec()))
    assert status.state == "failed"
    assert status.diagnosis is not None
    assert (status.diagnosis.kind, status.diagnosis.step) == ("provider", 1)
    assert "the loss became NaN" in status.diagnosis.message
    assert "the loss became NaN" in status.log_tail
    assert events[-1].diagnosis["kind"] == "provider"


def test_a_users_error_is_told_as_one(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "user_error"
    status, _ = follow(backend, submit(backend, make_spec()))
    assert (status.state, status.native) == ("failed", "user_error")
    assert status.diagnosis is not None
    assert status.diagnosis.kind == "refused"
    assert "no sample that fits max_seq_length" in status.diagnosis.message


@pytest.mark.parametrize("old_status", ["error", "cancelled", "running"])
def test_a_job_that_is_restarted_under_another_id_is_followed(
    old_status: str, service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = Scenario(restarts=True, old_status=old_status)
    ref = submit(backend, make_spec())
    status, events = follow(backend, ref)
    first, second = service.jobs
    assert (status.state, status.attempts) == ("succeeded", 2)
    assert f"the service restarted the job as {second.id} (attempt 2)" in lines(events)
    assert any("job_restarted" in line for line in lines(events))
    # Both jobs made the first step.
    assert [event.step for event in events if isinstance(event, StepEvent)].count(1) == 2
    assert first.id != second.id


def test_a_restart_that_is_announced_but_not_listed_yet_is_no_failure(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = Scenario(restarts=True, hidden_lists=6)
    ref = submit(backend, make_spec())
    seen: list[str] = []
    for _ in range(60):
        status = backend.status(ref)
        seen.append(status.native)
        if status.is_terminal:
            break
    assert "job_restarted" in seen
    assert status.state == "succeeded"


def test_a_run_that_is_being_restarted_says_that_it_was_not_cancelled(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = Scenario(restarts=True, hidden_lists=6)
    ref = submit(backend, make_spec())
    while backend.status(ref).native != "job_restarted":
        pass
    with pytest.raises(BackendError, match="in a moment") as caught:
        backend.cancel(ref)
    assert caught.value.retryable


def test_an_unknown_status_is_kept_and_is_not_the_end(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "unknown_state"
    ref = submit(backend, make_spec())
    seen = [backend.status(ref) for _ in range(20)]
    assert "unknown" in {status.state for status in seen}
    assert {status.native for status in seen if status.state == "unknown"} == {"defragmenting"}
    assert seen[-1].state == "succeeded"
    assert any(line.startswith("defragmentation: ") for line in lines(list(backend.events(ref))))


def test_an_early_stop_says_which_weights_are_kept(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "stops_early"
    spec = make_spec(validation=True, early_stopping=EarlyStopping(patience=1), epochs=4)
    status, _ = follow(backend, submit(backend, spec))
    assert status.reason.startswith("stopped early; the weights are those of step ")


def test_the_end_is_told_only_when_the_last_event_is_there(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    """The state may be ahead of the list of events; a last event that never comes is waited for, but not for ever."""
    ref = submit(backend, make_spec())
    (job,) = service.jobs
    while job.ahead:
        service.move(job)
    last = job.events.pop()
    assert last["type"] == "job_complete"
    assert backend.status(ref).state == "finalizing"
    assert not [event for event in backend.events(ref) if isinstance(event, StateEvent) and event.state == "succeeded"]
    job.events.append(last)
    assert backend.status(ref).state == "succeeded"
    assert lines(list(backend.events(ref)))[-1] == "job_complete: Job completed"


def test_a_last_event_that_never_comes_is_not_waited_for_for_ever(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    ref = submit(backend, make_spec())
    (job,) = service.jobs
    while job.ahead:
        service.move(job)
    job.events.pop()
    assert backend.status(ref).state == "finalizing"
    clock.now += 61
    assert backend.status(ref).state == "succeeded"


def test_once_it_is_over_nothing_is_asked_any_more(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    ref = submit(backend, make_spec())
    status, events = follow(backend, ref)
    before = len(service.requests)
    assert backend.status(ref) == status
    assert list(backend.events(ref)) == events
    backend.cancel(ref)
    assert len(service.requests) == before


def test_events_are_not_asked_for_more_often_than_is_polite(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec], clock: Any
) -> None:
    backend = make_backend(poll_s=5)
    ref = submit(backend, make_spec())
    list(backend.events(ref))
    before = len(service.requests)
    list(backend.events(ref))
    assert len(service.requests) == before
    clock.now += 5
    list(backend.events(ref))
    assert len(service.requests) > before


def test_two_readers_tell_the_same_history(
    service: TogetherService, make_backend: Callable[..., Together], make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "doubles_events"
    readers = [make_backend(), make_backend()]
    ref = submit(readers[0], make_spec())
    seen: list[list[Any]] = [[], []]
    for turn in range(40):
        number = turn % 2
        seen[number] += readers[number].events(ref, after=seen[number][-1].seq if seen[number] else -1)
    assert seen[0] == seen[1]
    assert seen[0][-1].state == "succeeded"
    assert [event.seq for event in seen[0]] == list(range(len(seen[0])))


def test_a_job_is_asked_to_stop_once(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    ref = submit(backend, make_spec())
    service.moves_on_look = False
    backend.cancel(ref)
    backend.cancel(ref)
    assert backend.status(ref).state == "cancelling"
    assert sum(request.route.endswith("/cancel") for request in service.requests) == 1
    service.moves_on_look = True
    status, _ = follow(backend, ref)
    assert status.state == "cancelled"
    assert "billed" in status.reason


def test_a_cancel_that_comes_too_late_is_no_error(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    service.scenario = "cancel_comes_too_late"
    ref = submit(backend, make_spec())
    backend.cancel(ref)
    assert follow(backend, ref)[0].state == "succeeded"


def test_a_run_that_may_not_exist_is_neither_running_nor_cancelled(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    plan = backend.plan(make_spec())
    with service.failing("closed", on="POST /v1/fine-tunes"), pytest.raises(BackendError):
        backend.submit(plan, key="k")
    ref = RunRef(backend="together", id="k")
    assert (backend.status(ref).state, backend.status(ref).native) == ("queued", "intended")
    assert list(backend.events(ref)) == []
    with pytest.raises(BackendError, match="submit it again first"):
        backend.cancel(ref)


def test_a_deleted_job_is_not_found(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    ref = submit(backend, make_spec())
    (job,) = service.jobs
    while job.ahead:
        service.move(job)
    service.jobs.delete(job)
    with pytest.raises(RunNotFoundError):
        backend.status(ref)


# The public face.


def test_a_job_goes_all_the_way_and_its_price_is_in_the_ledger(
    service: TogetherService, backend: Together, make_chats: Callable[[], Dataset]
) -> None:
    job = FineTuneJob(model="Qwen/Qwen3.5-9B", train=make_chats(), backend=backend, budget_usd=20)
    run = job.submit().wait(progress=False, poll_s=0)
    assert run.status().price_usd == Decimal(4)
    assert Ledger().get(run.ref).price_usd == "4"
    assert run.collect().kind == "adapter"
    assert Run.open(run.ref, backend=backend).status().state == "succeeded"


def test_a_run_whose_create_was_lost_is_taken_up_by_waiting(
    service: TogetherService, backend: Together, make_chats: Callable[[], Dataset], clock: Any
) -> None:
    job = FineTuneJob(model="Qwen/Qwen3.5-9B", train=make_chats(), backend=backend)
    with service.failing("closed", on="POST /v1/fine-tunes"), pytest.raises(BackendError):
        job.submit()
    (record,) = Ledger().list()
    clock.now += 301
    Run.open(record.ref, backend=backend).wait(progress=False, poll_s=0)
    assert len(service.jobs) == 1


def test_a_failed_run_raises_with_the_diagnosis(
    service: TogetherService, backend: Together, make_chats: Callable[[], Dataset]
) -> None:
    service.scenario = "fails"
    run = FineTuneJob(model="Qwen/Qwen3.5-9B", train=make_chats(), backend=backend).submit()
    with pytest.raises(RunFailedError, match="the loss became NaN"):
        run.wait(progress=False, poll_s=0)


def test_preferences_are_tuned_on_too(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]
) -> None:
    status, _ = follow(backend, submit(backend, make_spec(method=DPO(beta=0.3))))
    (job,) = service.jobs
    assert status.state == "succeeded"
    assert job.body["training_method"]["dpo_beta"] == 0.3
