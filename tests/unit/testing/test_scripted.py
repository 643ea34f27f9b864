from __future__ import annotations

import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ftsdk.errors import BackendError, Diagnosis, RunNotFoundError, RunNotReadyError, SpecError, UnsupportedSpecError
from ftsdk.protocol import Backend, CanResume, Capabilities, FixedPrice, LogEvent, RunRef, StateEvent, StepEvent
from ftsdk.spec import FullFineTune, LoRA
from ftsdk.testing import SCRIPTS, Fault, ScriptedBackend, a_spec

if TYPE_CHECKING:
    from pathlib import Path


def started(backend: ScriptedBackend, *, key: str = "k") -> RunRef:
    return backend.submit(backend.plan(a_spec()), key=key)


def states(backend: ScriptedBackend, ref: RunRef, looks: int = 20) -> list[str]:
    """The states seen in so many looks, repetitions left out."""
    seen: list[str] = []
    for _ in range(looks):
        state = backend.status(ref).state
        if not seen or seen[-1] != state:
            seen.append(state)
    return seen


def test_it_is_a_backend_that_can_resume(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path)
    assert isinstance(backend, Backend)
    assert isinstance(backend, CanResume)


def test_making_and_planning_write_nothing_and_send_nothing(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place")
    backend.plan(a_spec())
    assert backend.requests == ()
    assert backend.runs == ()
    assert not (tmp_path / "place").exists()


def test_a_refused_spec_sends_nothing(tmp_path: Path) -> None:
    none = frozenset[str]()
    little = Capabilities(
        methods=frozenset({"sft"}),
        tunings=frozenset({"lora"}),
        formats=frozenset({"chat"}),
        model_sources=frozenset({"hub"}),
        fields=none,
    )
    backend = ScriptedBackend(root=tmp_path, capabilities=little)
    with pytest.raises(UnsupportedSpecError, match="seed = 7"):
        backend.plan(a_spec(seed=7))
    assert backend.requests == ()


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("succeeds", ["queued", "running", "finalizing", "succeeded"]),
        ("fails", ["queued", "running", "failed"]),
        ("waits", ["queued", "running", "finalizing", "succeeded"]),
        ("unknown_state", ["queued", "running", "unknown", "finalizing", "succeeded"]),
        ("stalls", ["queued", "running", "queued"]),
        ("never_ends", ["queued", "running"]),
    ],
)
def test_a_run_plays_its_script(script: str, seen: list[str], tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script=script)
    assert states(backend, started(backend)) == seen


def test_every_script_is_tried_above() -> None:
    assert set(SCRIPTS) == {"succeeds", "fails", "waits", "unknown_state", "stalls", "never_ends"}


def test_a_script_of_your_own_is_played(tmp_path: Path) -> None:
    script = [
        {"kind": "state", "native": "running"},
        {"kind": "step", "step": 1, "loss": 0.5},
        {"kind": "state", "native": "done"},
    ]
    backend = ScriptedBackend(root=tmp_path, script=script)
    ref = started(backend)
    states(backend, ref)
    assert [event.kind for event in backend.events(ref)] == ["state", "step", "state"]


def test_a_misspelt_script_gets_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown script 'suceeds'; did you mean 'succeeds'\?"):
        ScriptedBackend(root=tmp_path, script="suceeds")


def test_time_passes_only_when_somebody_looks(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path)
    ref = started(backend)
    assert [event.seq for event in backend.events(ref)] == [0]
    with pytest.raises(RunNotReadyError):
        backend.collect(ref, tmp_path / "early")
    assert [event.seq for event in backend.events(ref)] == [0, 1]
    backend.status(ref)
    assert [event.seq for event in backend.events(ref, after=1)] == [2, 3]


def test_a_failure_has_a_diagnosis(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="fails")
    ref = started(backend)
    states(backend, ref)
    status = backend.status(ref)
    assert status.diagnosis == Diagnosis("diverged", "the loss became NaN", 2, ("lower learning_rate",))
    assert status.log_tail


def test_a_native_event_nobody_knows_becomes_a_log_line(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="unknown_state")
    ref = started(backend)
    states(backend, ref)
    lines = [event for event in backend.events(ref) if isinstance(event, LogEvent)]
    assert [json.loads(line.message)["percent"] for line in lines] == [50]


def test_a_run_that_stalls_continues_when_resumed(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="stalls")
    ref = started(backend)
    assert backend.resume(ref) is False, "it hasn't stopped yet"
    states(backend, ref)
    assert backend.status(ref).native == "interrupted"
    assert backend.resume(ref) is True
    assert states(backend, ref) == ["running", "finalizing", "succeeded"]
    assert backend.resume(ref) is False
    steps = [event.step for event in backend.events(ref) if isinstance(event, StepEvent)]
    assert steps == [1, 2, 3]


def test_a_cancelled_run_stops(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="never_ends")
    ref = started(backend)
    states(backend, ref)
    backend.cancel(ref)
    assert states(backend, ref) == ["cancelling", "cancelled"]


def test_a_run_can_be_cancelled_while_it_stalls(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="stalls")
    ref = started(backend)
    states(backend, ref)
    backend.cancel(ref)
    assert states(backend, ref)[-1] == "cancelled"


# Faults


def test_a_call_fails_when_it_is_its_turn(tmp_path: Path) -> None:
    fault = Fault(call="status", first=2, times=2, message="busy", retry_after_s=7.0, status_code=429)
    backend = ScriptedBackend(root=tmp_path, faults=[fault])
    ref = started(backend)
    backend.status(ref)
    for _ in range(2):
        with pytest.raises(BackendError, match="busy") as caught:
            backend.status(ref)
        assert (caught.value.retryable, caught.value.retry_after_s, caught.value.status_code) == (True, 7.0, 429)
    backend.status(ref)


def test_turns_are_counted_over_all_instances(tmp_path: Path) -> None:
    faults = [Fault(call="status", first=2)]
    ref = started(ScriptedBackend(root=tmp_path, faults=faults))
    ScriptedBackend(root=tmp_path, faults=faults).status(ref)
    with pytest.raises(BackendError):
        ScriptedBackend(root=tmp_path, faults=faults).status(ref)


def test_a_request_that_never_arrives_starts_nothing(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, faults=[Fault(call="submit")])
    with pytest.raises(BackendError):
        started(backend)
    assert backend.runs == ()
    started(backend)
    assert len(backend.runs) == 1


def test_a_lost_answer_leaves_a_run_that_the_same_key_finds(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, faults=[Fault(call="submit", loses_answer=True)])
    with pytest.raises(BackendError) as caught:
        started(backend)
    assert caught.value.retryable
    assert len(backend.runs) == 1
    assert started(backend).id == backend.runs[0]
    assert len(backend.runs) == 1


def test_a_lost_answer_to_cancel_still_cancels(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path, script="never_ends", faults=[Fault(call="cancel", loses_answer=True)])
    ref = started(backend)
    with pytest.raises(BackendError):
        backend.cancel(ref)
    assert states(backend, ref)[-1] == "cancelled"


def test_every_request_is_noted(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path)
    ref = started(backend, key="mine")
    backend.status(ref)
    list(backend.events(ref))
    backend.cancel(ref)
    assert [request["call"] for request in backend.requests] == ["submit", "status", "events", "cancel"]
    assert backend.requests[0]["key"] == "mine"


# Its shelf


def test_options_rebuild_it_whole(tmp_path: Path) -> None:
    backend = ScriptedBackend(
        root=tmp_path,
        script=[{"kind": "state", "native": "done"}],
        name="theatre",
        capabilities=ScriptedBackend(root=tmp_path).capabilities.replace(tunings=frozenset({"lora"})),
        faults=[Fault(call="submit", first=9)],
        cost_usd=(1, 2, 3),
    )
    again = ScriptedBackend(**json.loads(json.dumps(backend.options)))
    assert again.options == backend.options
    assert (again.name, again.capabilities) == ("theatre", backend.capabilities)
    assert again.plan(a_spec()) == backend.plan(a_spec())
    assert repr(again) == repr(backend)


def test_another_process_finds_the_run(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path)
    ref = started(backend)
    code = (
        "import json, sys; from ftsdk.protocol import RunRef; from ftsdk.testing import ScriptedBackend\n"
        "options, name = json.loads(sys.argv[1]); print(ScriptedBackend(**options).status(RunRef.parse(name)).native)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps([backend.options, str(ref)])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "pending"
    assert backend.status(ref).native == "running", "the other process moved it on"


@pytest.mark.parametrize("identifier", ["", "nothing", "../place", "a/b"])
def test_an_id_cannot_lead_out_of_the_folder(identifier: str, tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunNotFoundError):
        backend.status(RunRef(backend="scripted", id=identifier))


@pytest.mark.parametrize("key", ["", "../place", "a/b", ".."])
def test_a_key_cannot_lead_out_of_the_folder(key: str, tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place")
    with pytest.raises(SpecError, match="can't name a folder"):
        started(backend, key=key)
    assert backend.requests == ()


# Money and weights


def test_a_run_may_cost_something(tmp_path: Path) -> None:
    billing = ScriptedBackend(root=tmp_path, cost_usd=(1, 2.5, 4)).plan(a_spec()).billing
    assert isinstance(billing, FixedPrice)
    assert (billing.cost.low, billing.cost.high) == (1, 4)
    free = ScriptedBackend(root=tmp_path).plan(a_spec())
    assert free.cost is None
    assert free.cost_note


@pytest.mark.parametrize(
    ("tuning", "kind", "weights"), [(LoRA(rank=4), "adapter", "adapter_model"), (FullFineTune(), "model", "model")]
)
def test_the_weights_are_real_safetensors(tuning, kind: str, weights: str, tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place")
    ref = backend.submit(backend.plan(a_spec(tuning=tuning)), key="k")
    states(backend, ref)
    artifact = backend.collect(ref, tmp_path / "weights")
    assert artifact.kind == kind
    assert artifact.base == "example/tiny-instruct"
    content = (artifact.path / f"{weights}.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    (tensor,) = json.loads(content[8 : 8 + length]).values()
    start, end = tensor["data_offsets"]
    assert 8 + length + end == len(content)
    assert end - start == 4 * tensor["shape"][0] * tensor["shape"][1]
    assert tensor["dtype"] == "F32"


def test_the_last_event_tells_the_end(tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path)
    ref = started(backend)
    states(backend, ref)
    last = list(backend.events(ref))[-1]
    assert isinstance(last, StateEvent)
    assert (last.state, last.native) == ("succeeded", "done")
