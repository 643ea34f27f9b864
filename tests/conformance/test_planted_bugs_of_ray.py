"""The suite bites where runs are jobs of Ray, too: launchers with one bug each, against a stand-in of the Jobs API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conformance_samples import HostedSamples
from paper_trainer import STEP_S, PaperTrainer
from ray_stand_in import RayStandIn

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.ray.launcher import RayLauncher
from ftsdk.backends.launchers.ray.options import Options
from ftsdk.errors import BackendError
from ftsdk.testing import BackendConformance

pytestmark = pytest.mark.e2e


class NewIdEachTime(RayLauncher):
    """Lets the id be anything, as Ray's client does by default, and asks for none before it submits."""

    def _newest(self, run_id, noted):
        return None

    def _submit(self, body):
        return super()._submit({**body, "submission_id": f"raysubmit_{uuid.uuid4().hex}"})


class ForgetsItsCores(RayLauncher):
    @property
    def options(self):
        return {name: value for name, value in super().options.items() if name != "cpus"}


class GivesUpOnALostAnswer(RayLauncher):
    """Says that it is of no use to try again, although the job may be there."""

    def start(self, run_id, request):
        try:
            return super().start(run_id, request)
        except BackendError as error:
            raise BackendError(str(error)) from error


class TakesForgottenForGone(RayLauncher):
    """Doesn't see a job that nobody noted."""

    def _newest(self, run_id, noted):
        return None if noted is None else super()._newest(run_id, noted)

    def _submit(self, body):
        self._jobs.submit(body)
        return True


class OnRay(HostedBackend):
    launcher: type[RayLauncher] = RayLauncher

    def __init__(self, **options: Any) -> None:
        options.pop("trainer", None)
        super().__init__(name="ray", launcher=self.launcher(Options(**options)), trainer=PaperTrainer())


BUGS = [
    (NewIdEachTime, "test_the_same_key_is_the_same_run"),
    (ForgetsItsCores, "test_the_same_spec_gives_the_same_plan"),
    (GivesUpOnALostAnswer, "test_a_lost_answer_does_not_start_a_second_run"),
    (TakesForgottenForGone, "test_a_lost_answer_does_not_start_a_second_run"),
]


@pytest.fixture
def on_ray(
    ray_stand_in: RayStandIn,
    paper_trainer: Path,
    model_of_headers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[type[RayLauncher]], Any]:
    del paper_trainer
    monkeypatch.setenv(STEP_S, "0.1")

    def make(kind: type[RayLauncher]) -> Any:
        backend = type(kind.__name__, (OnRay,), {"launcher": kind})

        class Suite(HostedSamples, BackendConformance):
            poll_s = 0.1
            tiny, folder = model_of_headers, tmp_path

            def make_backend(self, tmp_path):
                return backend(address=ray_stand_in.address, storage=str(self.folder / "kept"), gpus=0, cpus=2)

            def runs_started(self, backend):
                return len(ray_stand_in.submitted)

            def lost_answer(self, backend):
                return ray_stand_in.losing_answers()

        return Suite()

    return make


@pytest.mark.parametrize(("kind", "test"), BUGS, ids=lambda value: getattr(value, "__name__", None))
def test_a_bug_on_ray_is_found(
    on_ray: Callable[[type[RayLauncher]], Any], kind: type[RayLauncher], test: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, BackendError)):
        getattr(on_ray(kind), test)(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("test", sorted({test for _, test in BUGS}))
def test_what_finds_a_bug_on_ray_passes_where_there_is_none(
    on_ray: Callable[[type[RayLauncher]], Any], test: str, tmp_path: Path
) -> None:
    getattr(on_ray(RayLauncher), test)(tmp_path)
