"""The suite bites where workers run, too: launchers with one bug each, on a real Slurm and over a real ssh."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance_samples import HostedSamples
from loopback_sshd import LoopbackSSH
from paper_trainer import STEP_S, PaperTrainer
from slurm_cluster import SlurmCluster

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.owned_machine import OwnedMachine
from ftsdk.backends.launchers.remote.channel import close_channels
from ftsdk.backends.launchers.remote.launcher import RemoteLauncher
from ftsdk.backends.launchers.slurm.launcher import SlurmLauncher
from ftsdk.backends.launchers.slurm.options import Options
from ftsdk.errors import BackendError
from ftsdk.testing import BackendConformance

pytestmark = pytest.mark.e2e


class NeverLooks(SlurmLauncher):
    """Doesn't ask the scheduler before it submits, nor hold the run's folder against a second client."""

    def _look(self, run_id, *, is_fresh=False):
        return None


class ForgetsItsCores(SlurmLauncher):
    @property
    def options(self):
        return {name: value for name, value in super().options.items() if name != "cpus"}


class GivesUpOnALostAnswer(RemoteLauncher):
    """Says that it is of no use to try again, although the worker may be running."""

    def start(self, run_id, request):
        try:
            return super().start(run_id, request)
        except BackendError as error:
            raise BackendError(str(error)) from error


class OnSlurm(HostedBackend):
    launcher: type[SlurmLauncher] = SlurmLauncher

    def __init__(self, **options: Any) -> None:
        for name in ("setup", "sbatch"):
            options[name] = tuple(options.get(name, ()))
        options.pop("trainer", None)
        super().__init__(name="slurm", launcher=self.launcher(Options(**options)), trainer=PaperTrainer())


class OverSSH(HostedBackend):
    launcher: type[RemoteLauncher] = RemoteLauncher

    def __init__(self, *, host: str, ssh: Any, **options: Any) -> None:
        options.pop("trainer", None)
        machine = OwnedMachine(**options)
        launcher = self.launcher(machine, host=host, ssh=tuple(ssh), kind="local", agent_options={})
        super().__init__(name="ssh", launcher=launcher, trainer=PaperTrainer())


def suite_on(make: Callable[[], HostedBackend], started: Callable[[], int], place: Path, model: Path) -> Any:
    class Suite(HostedSamples, BackendConformance):
        poll_s = 0.2
        tiny, folder = model, place

        def make_backend(self, tmp_path):
            return make()

        def runs_started(self, backend):
            return started()

    return Suite()


@pytest.fixture
def on_slurm(
    slurm_cluster: SlurmCluster,
    paper_trainer: Path,
    model_of_headers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[type[SlurmLauncher]], Any]:
    del paper_trainer
    monkeypatch.setenv(STEP_S, "0.3")

    def make(kind: type[SlurmLauncher]) -> Any:
        backend = type(kind.__name__, (OnSlurm,), {"launcher": kind})
        return suite_on(lambda: backend(gpus=0, cpus=1), lambda: len(slurm_cluster.jobs()), tmp_path, model_of_headers)

    return make


@pytest.fixture
def over_ssh(
    ssh_on_loopback: LoopbackSSH, paper_trainer: Path, model_of_headers: Path, tmp_path: Path
) -> Iterator[Callable[[type[RemoteLauncher]], Any]]:
    def make(kind: type[RemoteLauncher]) -> Any:
        backend = type(kind.__name__, (OverSSH,), {"launcher": kind})
        suite = suite_on(
            lambda: backend(host="box", ssh=ssh_on_loopback.ssh, gpus=0, python=sys.executable),
            lambda: len(paper_trainer.read_text().splitlines()),
            tmp_path,
            model_of_headers,
        )

        def lost_answer(backend: object) -> object:
            close_channels()
            return ssh_on_loopback.failing("cut-start")

        suite.lost_answer = lost_answer
        return suite

    yield make
    close_channels()


SLURM_BUGS = [
    (NeverLooks, "test_the_same_key_is_the_same_run"),
    (ForgetsItsCores, "test_the_same_spec_gives_the_same_plan"),
]
SSH_BUGS = [
    (GivesUpOnALostAnswer, "test_a_lost_answer_does_not_start_a_second_run"),
]


@pytest.mark.parametrize(("kind", "test"), SLURM_BUGS)
def test_a_bug_on_slurm_is_found(
    on_slurm: Callable[[type[SlurmLauncher]], Any], kind: type[SlurmLauncher], test: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, BackendError)):
        getattr(on_slurm(kind), test)(tmp_path)


@pytest.mark.parametrize(("kind", "test"), SSH_BUGS)
def test_a_bug_over_ssh_is_found(
    over_ssh: Callable[[type[RemoteLauncher]], Any], kind: type[RemoteLauncher], test: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, BackendError)):
        getattr(over_ssh(kind), test)(tmp_path)


@pytest.mark.parametrize("test", [test for _, test in SLURM_BUGS])
def test_what_finds_a_bug_on_slurm_passes_where_there_is_none(
    on_slurm: Callable[[type[SlurmLauncher]], Any], test: str, tmp_path: Path
) -> None:
    getattr(on_slurm(SlurmLauncher), test)(tmp_path)


@pytest.mark.parametrize("test", [test for _, test in SSH_BUGS])
def test_what_finds_a_bug_over_ssh_passes_where_there_is_none(
    over_ssh: Callable[[type[RemoteLauncher]], Any], test: str, tmp_path: Path
) -> None:
    getattr(over_ssh(RemoteLauncher), test)(tmp_path)
