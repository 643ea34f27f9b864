"""Queries of a run on the loopback Modal: they send no request that changes anything there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk import FineTuneJob, Modal, Run
from ftsdk.backends.launchers.modal.apps import Apps
from ftsdk.backends.launchers.modal.volume import Volume
from ftsdk.protocol import StateEvent
from ftsdk.testing.modal import ModalService

pytestmark = [pytest.mark.e2e]
_READS = {"FunctionGetOutputs", "VolumeListFiles2", "VolumeGetFile2", "AuthTokenGet", "ClientHello"}
_LOOKUP = "VolumeGetOrCreate"
"""A lookup unless a creation type is set."""


def state_of(service: ModalService) -> tuple[object, ...]:
    files = {path: path.read_bytes() for path in service.volume("ftsdk").folder.rglob("*") if path.is_file()}
    return files, service.apps(), service.calls(), service.containers_started


def query(run: Run, home: Path) -> None:
    """Ask everything there is to ask, as a process that has never seen the run."""
    before = {path: path.read_bytes() for path in (home / "modal").rglob("*") if path.is_file()}
    backend = Modal(gpu="cpu")
    again = Run.open(run.ref, backend=backend)
    again.status()
    again.events()
    assert backend.find(run.plan, key=run.ref.partition(":")[2]) is not None
    assert {path: path.read_bytes() for path in (home / "modal").rglob("*") if path.is_file()} == before


def test_queries_leave_modal_byte_for_byte_unchanged(
    make_job: Callable[..., FineTuneJob], modal_service: ModalService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path))
    run = make_job(backend=Modal(gpu="cpu"), max_steps=5000, epochs=999).submit()
    Apps(environment=None).stop(modal_service.apps()[0].id)
    deadline = time.monotonic() + 300
    while modal_service.containers_running and time.monotonic() < deadline:
        time.sleep(0.05)
    stalled = state_of(modal_service)
    query(run, tmp_path)
    assert run.status().native == "interrupted"
    assert state_of(modal_service) == stalled

    # As if the client had died between its two writes of a cancellation.
    Volume("ftsdk", environment=None).upload({f"runs/{run.ref.partition(':')[2]}/cancel": b"7.5"})
    asked = state_of(modal_service)
    seen = len(modal_service.requests())
    query(run, tmp_path)
    assert run.status().state == "cancelled"
    history = run.events()
    assert state_of(modal_service) == asked
    sent = modal_service.requests()[seen:]
    assert {request.rpc for request in sent} <= {*_READS, _LOOKUP}
    assert not any(request.message.object_creation_type for request in sent if request.rpc == _LOOKUP)

    assert run.cancel().state == "cancelled"
    assert state_of(modal_service) != asked
    assert run.events() == history
    assert [event.state for event in history if isinstance(event, StateEvent)][-1] == "cancelled"


def test_a_debug_log_holds_no_secret(modal_service: ModalService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    Apps(environment=None).live()
    assert not [secret for secret in modal_service.secrets if secret in caplog.text]
