"""The ssh backend, over real ssh to a real sshd on loopback, keeps every promise of the waist.

The quick form trains on paper; with --slow the workers really train.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance_samples import HostedSamples, costly, headers_of_a_model
from loopback_sshd import LoopbackSSH

from ftsdk import SSH
from ftsdk.backends.launchers.remote.channel import close_channels
from ftsdk.protocol import Backend, RunRef
from ftsdk.protocol.estimates import BillingTerms
from ftsdk.testing import BackendConformance
from ftsdk.testing.conformance import Costly
from ftsdk.testing.conformance.hooks import new_key

pytestmark = pytest.mark.e2e


class OverSSH(HostedSamples, BackendConformance):
    poll_s = 0.1
    polls = 6000
    share_finished_run = True
    trainer: ClassVar[dict[str, str]] = {}
    box: ClassVar[LoopbackSSH]
    starts: ClassVar[Path]

    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> Path:
        """On paper, headers do for a model, and nothing loads torch."""
        if not cls.trainer:
            return request.getfixturevalue("tiny_model")
        return headers_of_a_model(cls.folder / "tiny", positions=512)

    @pytest.fixture(autouse=True)
    def _one_box_for_all(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        request: pytest.FixtureRequest,
        ssh_on_loopback: LoopbackSSH,
        paper_trainer: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cls = type(self)
        if "folder" not in cls.__dict__:
            cls.folder = tmp_path_factory.mktemp("ssh-conformance")
            cls.tiny, cls.box, cls.starts = cls.model(request), ssh_on_loopback, paper_trainer
        # The home of the client has none of the runs' files.
        monkeypatch.setenv("FTSDK_HOME", str(cls.folder / "home"))

    def make_backend(self, tmp_path: Path, **options: Any) -> SSH:
        return SSH(host="box", gpus=0, python=sys.executable, ssh=self.box.ssh, **self.trainer, **options)

    def runs_started(self, backend: Backend) -> int:
        # A worker counts itself once it has started, which takes its time on a busy machine.
        counted, count = -1, len(self.starts.read_text())
        while counted != count:
            time.sleep(0.5)
            counted, count = count, len(self.starts.read_text())
        return len(self.starts.read_text().splitlines())

    @contextlib.contextmanager
    def _cut(self) -> Iterator[None]:
        close_channels()
        with self.box.failing("cut-start"):
            yield
        close_channels()

    def lost_answer(self, backend: Backend) -> contextlib.AbstractContextManager[object]:
        return self._cut()

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef]:
        backend = self.make_backend(tmp_path)
        # No row fits into eight tokens, and none may be cut.
        spec = self.make_spec().replace(max_length=8, max_truncated=0.0)
        return backend, backend.submit(backend.plan(spec), key=new_key())

    def billing_backend(self, tmp_path: Path) -> SSH:
        return self.make_backend(tmp_path, usd_per_hour=1000)

    def costly_run(self, tmp_path: Path) -> Costly:
        backend = self.make_backend(tmp_path, usd_per_hour=3600)
        spec = self.make_spec().replace(batch_size=2, max_steps=8000, epochs=1000, budget_usd=2)
        terms = BillingTerms(kind="per_hour", usd=Decimal(3600), fixed_usd=Decimal(0), source="a test")
        # Nobody watches: the worker has to stop by itself.
        return costly(backend, spec, terms, is_watched=False)


class TestSSHOnPaper(OverSSH):
    trainer: ClassVar[dict[str, str]] = {"trainer": "paper"}


@pytest.mark.slow
class TestSSH(OverSSH):
    pass
