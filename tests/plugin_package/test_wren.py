"""A launcher from one package with a trainer from another passes the whole conformance suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conformance_samples import rows
from installed_plugin import install

from ftsdk import Model
from ftsdk.backends.registry import get_backend
from ftsdk.data import Store
from ftsdk.protocol import Backend
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import BackendConformance

HERE = Path(__file__).parent

pytestmark = pytest.mark.e2e


class TestWrenConforms(BackendConformance):
    poll_s = 0.05
    polls = 6000

    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_of_headers: Path):
        site = tmp_path / "site"
        install(HERE / "ftsdk-wren", ["ftsdk_wren"], site=site)
        install(HERE / "ftsdk-osprey", ["ftsdk_osprey"], site=site)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
        self.model = model_of_headers
        yield
        for module in ("ftsdk_wren", "ftsdk_osprey"):
            sys.modules.pop(module, None)

    def make_backend(self, tmp_path: Path) -> Backend:
        return get_backend("wren", {"root": str(tmp_path / "runs"), "trainer": "osprey"})

    def make_model(self, source: str) -> Model | None:
        return {"hub": Model(id="example/tiny-instruct"), "folder": Model(id=str(self.model))}.get(source)

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        if data_format != "chat" or with_validation:
            return super().make_spec(data_format=data_format, with_validation=with_validation)
        train = rows("chat", 16, "question")
        Store().put(train)
        return JobSpec(model=Model(id=str(self.model)), train=train.ref())
