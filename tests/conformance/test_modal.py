"""The Modal backend, with the real client, container entry points and training workers, passes the conformance suite.

On Modal itself nothing of this was run: see the docstring of `ftsdk.testing.modal` for what differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from conformance_samples import HostedSamples, rows

from ftsdk import FineTuneJob, Modal
from ftsdk.data import Store
from ftsdk.protocol import Backend, RunRef
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key
from ftsdk.testing.modal import ModalService, WireFault

pytestmark = pytest.mark.e2e
_FAULTS = ("401", "404", "429", "503", "timeout", "garbage")


class TestModal(HostedSamples, BackendConformance):
    poll_s = 0.1
    polls = 3000
    share_finished_run = True
    service: ClassVar[ModalService]

    @pytest.fixture(autouse=True)
    def _one_place_for_all(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        tiny_model: Path,
        modal_on_loopback: ModalService,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[None]:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder = tmp_path_factory.mktemp("modal-conformance")
            cls.tiny, cls.service = tiny_model, modal_on_loopback
            modal_on_loopback.reset()
        for name, value in modal_on_loopback.env.items():
            if name != "MODAL_CONFIG_PATH":
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("FTSDK_HOME", str(cls.folder / "home"))
        yield
        assert modal_on_loopback.unimplemented == []

    def make_backend(self, tmp_path: Path) -> Modal:
        return Modal(gpu="cpu")

    def requests_seen(self, backend: Backend) -> int:
        return len(self.service.requests())

    def runs_started(self, backend: Backend) -> int:
        return len(self.service.calls())

    def secrets(self) -> Sequence[str]:
        return self.service.secrets

    def wire_faults(self, backend: Backend) -> Mapping[str, contextlib.AbstractContextManager[object]]:
        return {word: self.service.failing(word) for word in _FAULTS}  # type: ignore[arg-type]

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        return self.service.scripted(WireFault(rpc="FunctionMap", status="UNAVAILABLE", loses_answer=True))

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        return backend, backend.submit(
            backend.plan(self.make_spec().replace(max_length=8, max_truncated=0.0)), key=new_key()
        )

    def billing_backend(self, tmp_path: Path) -> Backend:
        return self.make_backend(tmp_path)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path)
        train = rows("chat", 16, "question")
        Store().put(train)
        job = FineTuneJob(
            model=str(self.tiny),
            train=train,
            batch_size=2,
            max_steps=8000,
            epochs=1000,
            budget_usd=0.2,
            backend=backend,
        )
        # The place's own cap is twenty minutes away; the clock of the watch is quicker.
        return Costly(backend=backend, plan=job.plan(), poll_s=600)
