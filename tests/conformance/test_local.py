"""The local backend, with real workers that really train, keeps every promise of the waist."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from conformance_samples import HostedSamples, costly
from forked_workers import ForkedLocal

from ftsdk.protocol.estimates import BillingTerms
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly

pytestmark = pytest.mark.e2e


class TestLocal(HostedSamples, BackendConformance):
    poll_s = 0.05
    polls = 6000
    share_finished_run = True

    @pytest.fixture(autouse=True)
    def _one_home_for_all(
        self, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, forked_local: ForkedLocal, monkeypatch
    ) -> None:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder = tmp_path_factory.mktemp("local-conformance")
            cls.tiny = tiny_model
        monkeypatch.setenv("FTSDK_HOME", str(cls.folder / "home"))

    def make_backend(self, tmp_path: Path) -> ForkedLocal:
        return ForkedLocal()

    def billing_backend(self, tmp_path: Path) -> ForkedLocal:
        return ForkedLocal(usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = ForkedLocal(usd_per_hour=3600)
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=2)
        # Nobody watches: the worker has to stop by itself.
        return costly(
            backend,
            spec,
            BillingTerms(kind="per_hour", usd=Decimal(3600), fixed_usd=Decimal(0), source="a test"),
            is_watched=False,
        )
