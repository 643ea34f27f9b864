"""The local backend, with real workers that really train, keeps every promise of the waist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from conformance_samples import an_adapter, costly, rows
from forked_workers import ForkedLocal

from ftsdk import DPO, Model
from ftsdk.backends.estimates import Accrual
from ftsdk.data import Store
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import BackendConformance, Sample, field_samples
from ftsdk.testing.conformance import Costly

pytestmark = pytest.mark.e2e


class TestLocal(BackendConformance):
    poll_s = 0.05
    polls = 6000
    share_finished_run = True
    folder: ClassVar[Path]
    tiny: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def _one_home_for_all(self, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, forked_local: ForkedLocal, monkeypatch) -> None:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder = tmp_path_factory.mktemp("local-conformance")
            cls.tiny = tiny_model
        monkeypatch.setenv("FTSDK_HOME", str(cls.folder / "home"))

    def make_backend(self, tmp_path: Path) -> ForkedLocal:
        return ForkedLocal()

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

    def billing_backend(self, tmp_path: Path) -> ForkedLocal:
        return ForkedLocal(usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = ForkedLocal(usd_per_hour=3600)
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=2)
        # Nobody watches: the worker has to stop by itself.
        return costly(backend, spec, Accrual(kind="per_hour", usd=Decimal(3600), fixed_usd=Decimal(0), source="a test"), is_watched=False)
