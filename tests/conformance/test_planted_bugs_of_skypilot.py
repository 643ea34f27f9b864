"""The suite bites where runs are managed jobs of SkyPilot, too: launchers with one bug each, against a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conformance_samples import HostedSamples
from paper_trainer import STEP_S, PaperTrainer
from skypilot_stand_in import SkyPilotStandIn

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.skypilot.jobs import ManagedJobs
from ftsdk.backends.launchers.skypilot.launcher import SkyPilotLauncher
from ftsdk.backends.launchers.skypilot.options import Options
from ftsdk.errors import BackendError
from ftsdk.testing import BackendConformance

pytestmark = pytest.mark.e2e


class NeverFinds(ManagedJobs):
    def find(self, run_id, *, refresh=False):
        return []


class NeverLooks(SkyPilotLauncher):
    """Submits as SkyPilot's own client does: without a look at the queue, nor at who works on the run."""

    @property
    def _jobs(self):
        return NeverFinds(super()._jobs._api)

    def files(self, run_id):
        files = super().files(run_id)
        files.has_worker = lambda: False  # type: ignore[method-assign]
        return files


class GivesUpOnALostAnswer(SkyPilotLauncher):
    """Says that it is of no use to try again, although the job may be there."""

    def start(self, run_id, request):
        try:
            return super().start(run_id, request)
        except BackendError as error:
            raise BackendError(str(error)) from error


class ForgetsItsCores(SkyPilotLauncher):
    @property
    def options(self):
        return {name: value for name, value in super().options.items() if name != "cpus"}


class OnSkyPilot(HostedBackend):
    launcher: type[SkyPilotLauncher] = SkyPilotLauncher

    def __init__(self, **options: Any) -> None:
        options.pop("trainer", None)
        for name in ("setup", "secrets"):
            options[name] = tuple(options.get(name, ()))
        super().__init__(name="skypilot", launcher=self.launcher(Options(**options)), trainer=PaperTrainer())


BUGS = [
    (ForgetsItsCores, "test_the_same_spec_gives_the_same_plan"),
    (NeverLooks, "test_the_same_key_is_the_same_run"),
    (NeverLooks, "test_a_lost_answer_does_not_start_a_second_run"),
    (GivesUpOnALostAnswer, "test_a_lost_answer_does_not_start_a_second_run"),
]


@pytest.fixture
def on_skypilot(
    skypilot_stand_in: SkyPilotStandIn,
    paper_trainer: Path,
    model_of_headers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[type[SkyPilotLauncher]], Any]:
    del paper_trainer
    monkeypatch.setenv(STEP_S, "0.1")

    def make(kind: type[SkyPilotLauncher]) -> Any:
        backend = type(kind.__name__, (OnSkyPilot,), {"launcher": kind})

        class Suite(HostedSamples, BackendConformance):
            poll_s = 0.1
            tiny, folder = model_of_headers, tmp_path

            def make_backend(self, tmp_path):
                return backend(
                    server=skypilot_stand_in.address,
                    storage=str(self.folder / "kept"),
                    gpus=0,
                    cpus=2,
                    setup=["true"],
                    python=sys.executable,
                    look_s=0.0,
                )

            def runs_started(self, backend):
                return len(skypilot_stand_in.jobs)

            def lost_answer(self, backend):
                return skypilot_stand_in.losing_answers()

        return Suite()

    return make


@pytest.mark.parametrize(
    ("kind", "test"),
    [pytest.param(*bug, marks=[] if at < 2 else pytest.mark.slow) for at, bug in enumerate(BUGS)],
)
def test_a_bug_on_skypilot_is_found(
    on_skypilot: Callable[[type[SkyPilotLauncher]], Any], kind: type[SkyPilotLauncher], test: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, BackendError)):
        getattr(on_skypilot(kind), test)(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("test", sorted({test for _, test in BUGS}))
def test_what_finds_a_bug_on_skypilot_passes_where_there_is_none(
    on_skypilot: Callable[[type[SkyPilotLauncher]], Any], test: str, tmp_path: Path
) -> None:
    getattr(on_skypilot(SkyPilotLauncher), test)(tmp_path)
