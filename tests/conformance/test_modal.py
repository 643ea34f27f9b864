"""The Modal backend, with the real client, real containers' entry points and workers that really train, keeps every promise of the waist.

On Modal itself nothing of this was run: see the docstring of `ftsdk.testing.modal` for what differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from conformance_samples import an_adapter, rows

from ftsdk import DPO, FineTuneJob, Modal, Model
from ftsdk.backends.base import Backend, RunRef
from ftsdk.data import Store
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import BackendConformance, Sample, field_samples
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key
from ftsdk.testing.modal import ModalService, WireFault

pytestmark = pytest.mark.e2e
_FAULTS = ("401", "404", "429", "503", "timeout", "garbage")


class TestModal(BackendConformance):
    poll_s = 0.1
    polls = 3000
    share_finished_run = True
    folder: ClassVar[Path]
    tiny: ClassVar[Path]
    service: ClassVar[ModalService]

    @pytest.fixture(autouse=True)
    def _one_place_for_all(
        self, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, modal_on_loopback: ModalService, monkeypatch: pytest.MonkeyPatch
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

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        train, validation = rows(data_format, 16, "question"), rows(data_format, 8, "another")
        store = Store()
        store.put(train)
        store.put(validation)
        method = {"method": DPO()} if data_format == "preference" else {}
        held_out = {"validation": validation.ref()} if with_validation else {}
        return JobSpec(model=Model(id=str(self.tiny)), train=train.ref(), batch_size=8, max_steps=2, **method, **held_out)

    def make_model(self, source: str) -> Model | None:
        if source == "hub":
            return Model(id="example/tiny-instruct")
        if source == "folder":
            return Model(id=str(self.tiny))
        return None  # a GGUF file is read in tests/unit/models

    def make_samples(self) -> Sequence[Sample]:
        adapters = [str(an_adapter(self.folder / f"adapter-{rank}", rank)) for rank in (4, 8)]
        return [replace(s, values=(adapters[0], adapters[1])) if s.path == "model.adapter" else s for s in field_samples()]

    def requests_seen(self, backend: Backend) -> int:
        return len(self.service.requests())

    def runs_started(self, backend: Backend) -> int:
        return len(self.service.calls())

    def secrets(self) -> Sequence[str]:
        return self.service.secrets

    def wire_faults(self, backend: Backend) -> Mapping[str, contextlib.AbstractContextManager[object]]:
        return {word: self.service.weather(word) for word in _FAULTS}  # type: ignore[arg-type]

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        return self.service.telling(WireFault(rpc="FunctionMap", status="UNAVAILABLE", loses_answer=True))

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        return backend, backend.submit(backend.plan(self.make_spec().replace(max_length=8, max_truncated=0.0)), key=new_key())

    def billing_backend(self, tmp_path: Path) -> Backend:
        return self.make_backend(tmp_path)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path)
        train = rows("chat", 16, "question")
        Store().put(train)
        job = FineTuneJob(model=str(self.tiny), train=train, batch_size=2, max_steps=8000, epochs=1000, budget_usd=0.2, backend=backend)
        # The place's own cap is twenty minutes away; the clock of the watch is quicker.
        return Costly(backend=backend, plan=job.plan(), poll_s=600)
