"""A second managed service, written as an outsider would write it, is held to everything that the first one is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from installed_plugin import install
from serving import serving

from ftsdk import Dataset, Model
from ftsdk.backends.registry import get_backend
from ftsdk.data import Store
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import BackendConformance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ftsdk.protocol import Backend, RunRef

SOURCE = Path(__file__).parent / "ftsdk-heron"
MODULES = ("ftsdk_heron", "heron_service")


class TestHeronConforms(BackendConformance):
    service: Any

    @pytest.fixture(autouse=True)
    def _service(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        install(SOURCE, MODULES, site=tmp_path / "site-packages")
        monkeypatch.syspath_prepend(tmp_path / "site-packages")
        from heron_service import KEY, HeronService  # type: ignore[import-not-found]

        monkeypatch.setenv("HERON_API_KEY", KEY)
        with serving(HeronService()) as self.service:
            yield
        for module in MODULES:
            sys.modules.pop(module, None)

    def make_backend(self, tmp_path: Path) -> Backend:
        return get_backend("heron", {"url": self.service.url, "timeout_s": 1.0, "settle_s": 0.0})

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        if data_format != "chat" or with_validation:
            return super().make_spec(data_format=data_format, with_validation=with_validation)
        train = Dataset.from_rows([{"q": f"question {n}", "a": "yes"} for n in range(16)]).as_chat(
            prompt="{q}", completion="{a}"
        )
        Store().put(train)
        return JobSpec(model=Model(id="example/tiny-instruct"), train=train.ref())

    def requests_seen(self, backend: Backend) -> int:
        return self.service.requests

    def runs_started(self, backend: Backend) -> int:
        return len(self.service.jobs)

    def secrets(self) -> Sequence[str]:
        return ["heron-key-0123456789"]

    def wire_faults(self, backend: Backend) -> Mapping[str, AbstractContextManager[object]]:
        return {fault: self.service.failing(fault) for fault in ("401", "404", "429", "503", "timeout", "garbage")}

    def lost_answer(self, backend: Backend) -> AbstractContextManager[object]:
        return self.service.failing("lost")

    def run_in_unknown_state(self, tmp_path: Path) -> tuple[Backend, RunRef, str]:
        self.service.scenario = "unknown_state"
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        while backend.status(ref).state != "unknown":
            pass
        self.service.moves = False
        return backend, ref, "preening"

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        self.service.scenario = "fails"
        backend = self.make_backend(tmp_path)
        return backend, self._submitted(backend)
