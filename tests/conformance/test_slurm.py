"""The Slurm backend, against a real two-node Slurm on this machine, keeps every promise of the waist.

The quick form trains on paper; with --slow the workers really train.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance_samples import HostedSamples, costly, headers_of_a_model
from paper_trainer import STEP_S
from slurm_cluster import SlurmCluster

from ftsdk import Slurm
from ftsdk.protocol import Backend, RunRef
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key

pytestmark = pytest.mark.e2e
_LOST = """\
#!/bin/sh
{sbatch} "$@" >/dev/null
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""


@contextlib.contextmanager
def losing_answers(folder: Path, sbatch: str) -> Iterator[None]:
    """Put an sbatch on the path that submits, and whose answer never comes."""
    folder.mkdir(exist_ok=True)
    program = folder / "sbatch"
    program.write_text(_LOST.format(sbatch=sbatch))
    program.chmod(0o700)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


class OnSlurm(HostedSamples, BackendConformance):
    poll_s = 0.2
    polls = 3000
    share_finished_run = True
    trainer: ClassVar[dict[str, str]] = {}
    cluster: ClassVar[SlurmCluster]

    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> Path:
        """On paper, headers do for a model, and nothing loads torch."""
        if not cls.trainer:
            return request.getfixturevalue("tiny_model")
        return headers_of_a_model(cls.folder / "tiny", positions=512)

    @pytest.fixture(autouse=True)
    def _one_cluster_for_all(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        request: pytest.FixtureRequest,
        slurm_cluster: SlurmCluster,
        paper_trainer: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder = tmp_path_factory.mktemp("slurm-conformance")
            cls.tiny, cls.cluster = cls.model(request), slurm_cluster
        monkeypatch.setenv("FTSDK_HOME", str(cls.folder / "home"))
        monkeypatch.setenv(STEP_S, "0.05")

    def make_backend(self, tmp_path: Path, **options: Any) -> Slurm:
        return Slurm(gpus=0, **self.trainer, **options)

    def runs_started(self, backend: Backend) -> int:
        return len(self.cluster.jobs())

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        import shutil

        return losing_answers(self.folder / "lost", shutil.which("sbatch") or "sbatch")

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        spec = self.make_spec().replace(max_length=8, max_truncated=0.0)
        return backend, backend.submit(backend.plan(spec), key=new_key())

    def billing_backend(self, tmp_path: Path) -> Slurm:
        return self.make_backend(tmp_path, usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path, usd_per_hour=90)
        # Slurm grants a minute at least, which this budget pays for; the worker and the waiter stop the run before.
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=1.5)
        terms = BillingTerms(kind="per_hour", usd=Decimal(90), fixed_usd=Decimal(0), source="a test")
        return costly(backend, spec, terms, is_watched=True)


class TestSlurmOnPaper(OnSlurm):
    trainer: ClassVar[dict[str, str]] = {"trainer": "paper"}


@pytest.mark.slow
class TestSlurm(OnSlurm):
    polls = 6000
