"""Queries of a run on the loopback Modal: they send no request that changes anything there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk import FineTuneJob, Modal, Run
from ftsdk.backends.launchers.modal.service import Service
from ftsdk.protocol import StateEvent
from ftsdk.testing.modal import ModalService

pytestmark = [pytest.mark.e2e]
_READS = ("List", "Get", "Info", "Lookup", "ClientHello", "Stats", "AuthToken", "Layout")


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
    service = Service(environment=None, volume="ftsdk")
    service.stop_app(modal_service.apps()[0].id)
    deadline = time.monotonic() + 300
    while modal_service.containers_running and time.monotonic() < deadline:
        time.sleep(0.05)
    stalled = state_of(modal_service)
    query(run, tmp_path)
    assert run.status().native == "interrupted"
    assert state_of(modal_service) == stalled

    # As if the client had died between its two writes of a cancellation.
    service.upload({f"runs/{run.ref.partition(':')[2]}/cancel": b"7.5"})
    asked = state_of(modal_service)
    seen = len(modal_service.requests())
    query(run, tmp_path)
    assert run.status().state == "cancelled"
    history = run.events()
    assert state_of(modal_service) == asked
    changes = [request.rpc for request in modal_service.requests()[seen:] if not any(word in request.rpc for word in _READS)]
    assert changes == []

    assert run.cancel().state == "cancelled"
    assert state_of(modal_service) != asked
    assert run.events() == history
    assert [event.state for event in history if isinstance(event, StateEvent)][-1] == "cancelled"
