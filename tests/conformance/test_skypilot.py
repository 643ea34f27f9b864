"""The SkyPilot backend keeps every promise of the waist, against a stand-in of its API server.

The stand-in's jobs run the real entry and workers, on machines that are processes of this one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance_samples import HostedSamples, costly, headers_of_a_model
from paper_trainer import STEP_S

from ftsdk.backends.skypilot import SkyPilot
from ftsdk.protocol import Backend, RunRef
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

TOKEN, KEY = "sky_plantedPlantedPlantedPlanted", "planted-key-of-a-bucket"


class OnSkyPilot(HostedSamples, BackendConformance):
    poll_s = 0.1
    polls = 6000
    share_finished_run = True
    in_a_store: ClassVar[bool] = False
    server: ClassVar[Any]

    @pytest.fixture(autouse=True)
    def _stand_in(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        skypilot_stand_in: Any,
        paper_trainer: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder, cls.server = tmp_path_factory.mktemp("skypilot-conformance"), skypilot_stand_in
            cls.tiny = headers_of_a_model(cls.folder / "tiny", positions=512)
        monkeypatch.setenv("FTSDK_HOME", str(self.folder / "home"))
        monkeypatch.setenv(STEP_S, "0.05")
        monkeypatch.setenv("SKYPILOT_SERVICE_ACCOUNT_TOKEN", TOKEN)
        monkeypatch.setenv("BUCKET_KEY", KEY)

    def make_backend(self, tmp_path: Path, **options: Any) -> SkyPilot:
        # No price book knows what a machine without a GPU costs, so a budget needs a price.
        options.setdefault("usd_per_hour", 1)
        kept = self.folder / "kept"
        return SkyPilot(
            server=self.server.address,
            storage=kept.as_uri() if self.in_a_store else str(kept),
            gpus=0,
            setup=["true"],
            python=sys.executable,
            secrets=["BUCKET_KEY"],
            look_s=0.2,
            trainer="paper",
            **options,
        )

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        spec = self.make_spec().replace(max_length=8, max_truncated=0.0)
        return backend, backend.submit(backend.plan(spec), key=new_key())

    def billing_backend(self, tmp_path: Path) -> SkyPilot:
        return self.make_backend(tmp_path, usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path, usd_per_hour=90)
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=1.5)
        terms = BillingTerms(kind="per_hour", usd=Decimal(90), fixed_usd=Decimal(0), source="a test")
        return costly(backend, spec, terms, is_watched=True)

    def requests_seen(self, backend: Backend) -> int:
        return len(self.server.requests)

    def runs_started(self, backend: Backend) -> int:
        return len(self.server.jobs)

    def secrets(self) -> Sequence[str]:
        return [TOKEN, KEY]

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        return self.server.losing_answers()


@pytest.mark.slow
class TestSkyPilotWithAFolder(OnSkyPilot):
    pass


class TestSkyPilotWithAStore(OnSkyPilot):
    in_a_store = True
