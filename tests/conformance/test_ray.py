"""The Ray backend keeps every promise of the waist: with its client against a stand-in, and on a cluster (--slow).

The stand-in's jobs run the real driver and workers, on nodes that are processes of this machine. The cluster is a real
one of a head and two nodes.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance_samples import HostedSamples, costly, headers_of_a_model
from paper_trainer import STEP_S

from ftsdk.backends.ray import Ray
from ftsdk.protocol import Backend, RunRef
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


class OnRay(HostedSamples, BackendConformance):
    poll_s = 0.1
    polls = 6000
    share_finished_run = True
    trainer: ClassVar[dict[str, str]] = {"trainer": "paper"}
    in_a_store: ClassVar[bool] = False
    cluster: ClassVar[Any]

    @classmethod
    def settle(cls, request: pytest.FixtureRequest, factory: pytest.TempPathFactory, cluster: Any) -> None:
        """Once for all tests of the class."""
        if "folder" not in cls.__dict__:
            cls.folder, cls.cluster = factory.mktemp("ray-conformance"), cluster
            # On paper, headers do for a model, and nothing loads torch.
            cls.tiny = (
                headers_of_a_model(cls.folder / "tiny", positions=512)
                if cls.trainer
                else request.getfixturevalue("tiny_model")
            )

    @pytest.fixture(autouse=True)
    def _home(self, paper_trainer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STEP_S, "0.05")

    def make_backend(self, tmp_path: Path, **options: Any) -> Ray:
        kept = self.folder / "kept"
        storage = kept.as_uri() if self.in_a_store else str(kept)
        return Ray(address=self.cluster.address, storage=storage, gpus=0, **self.trainer, **options)

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        spec = self.make_spec().replace(max_length=8, max_truncated=0.0)
        return backend, backend.submit(backend.plan(spec), key=new_key())

    def billing_backend(self, tmp_path: Path) -> Ray:
        return self.make_backend(tmp_path, usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path, usd_per_hour=90)
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=1.5)
        terms = BillingTerms(kind="per_hour", usd=Decimal(90), fixed_usd=Decimal(0), source="a test")
        return costly(backend, spec, terms, is_watched=True)


class OnStandIn(OnRay):
    @pytest.fixture(autouse=True)
    def _stand_in(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        request: pytest.FixtureRequest,
        ray_stand_in: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.settle(request, tmp_path_factory, ray_stand_in)
        monkeypatch.setenv("FTSDK_HOME", str(self.folder / "home"))

    def requests_seen(self, backend: Backend) -> int:
        return len(self.cluster.requests)

    def runs_started(self, backend: Backend) -> int:
        return len(self.cluster.submitted)

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        return self.cluster.losing_answers()


@pytest.mark.slow
class TestRayInAFolder(OnStandIn):
    pass


class TestRayInAStore(OnStandIn):
    in_a_store = True


class OnCluster(OnRay):
    @pytest.fixture(autouse=True)
    def _cluster(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        request: pytest.FixtureRequest,
        ray_cluster: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.settle(request, tmp_path_factory, ray_cluster)
        monkeypatch.setenv("FTSDK_HOME", str(self.folder / "home"))

    def runs_started(self, backend: Backend) -> int:
        return len(self.cluster.jobs())


@pytest.mark.slow
class TestRayClusterOnPaper(OnCluster):
    pass


@pytest.mark.slow
class TestRayCluster(OnCluster):
    trainer: ClassVar[dict[str, str]] = {}
    in_a_store = True
