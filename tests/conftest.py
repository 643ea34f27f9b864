"""What holds for every test: no network but loopback, no real keys, a home of its own, and nothing left behind."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from forked_workers import ForkedLocal
    from loopback_sshd import LoopbackSSH
    from ray_cluster import RayCluster
    from ray_stand_in import RayStandIn
    from skypilot_stand_in import SkyPilotStandIn
    from slurm_cluster import SlurmCluster

    from ftsdk.testing.modal import ModalService

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Several processes share two cores here; threads that wait for each other by spinning would make each step a hundred
# times slower.
os.environ["OMP_NUM_THREADS"] = "1"
# Read when `modal` is imported: a developer's own profile stays out.
os.environ["MODAL_CONFIG_PATH"] = os.devnull + ".no-such-file"
for key in [k for k in os.environ if k.endswith(("_API_KEY", "_TOKEN", "_TOKEN_ID", "_TOKEN_SECRET"))]:
    del os.environ[key]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tests that need a CUDA device")
    parser.addoption("--live", action="store_true", help="run the tests that talk to real providers and may cost money")
    parser.addoption(
        "--slow", action="store_true", help="run the tests that take minutes each: the real model, on many rows"
    )
    parser.addoption("--count", type=int, default=100, help="tests/fuzz: how many malformed inputs each test tries")
    parser.addoption("--seed", type=int, default=0, help="tests/fuzz: which malformed inputs")
    parser.addoption("--first", type=int, default=0, help="tests/fuzz: the first case to try, to repeat a failure")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for word in ("gpu", "live", "slow"):
            if word in item.keywords and not config.getoption(f"--{word}"):
                item.add_marker(pytest.mark.skip(reason=f"opt in with --{word}"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, then leave what was loaded out of all its later passes.

    Collecting makes millions of objects that live to the end. The collector would go through all of them again
    and again, in each forked worker, too, which copies the pages.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def _unused_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths at which there is nothing yet."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / f"ftsdk-home-{n}" for n in itertools.count())


@pytest.fixture(autouse=True)
def ftsdk_home(_unused_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for this test alone, which isn't there yet.

    It isn't in `tmp_path`: most tests need no folder, and making one for each of them takes seconds in all.
    """
    folder = next(_unused_homes)
    monkeypatch.setenv("FTSDK_HOME", str(folder))
    return folder


@pytest.fixture
def model_of_headers(tmp_path: Path) -> Path:
    """A folder that looks like a model to whoever reads headers only, as plans do; needs no torch to make."""
    from conformance_samples import headers_of_a_model

    return headers_of_a_model(tmp_path / "model")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of 30,000 parameters."""
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from ftsdk.testing.tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def torch_is_loaded() -> None:
    """Load torch and TRL into this process, for workers that are forked from it."""
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from forked_workers import load_torch

    load_torch()


@pytest.fixture
def forked_local(torch_is_loaded: None) -> Iterator[ForkedLocal]:
    """The local backend with forked workers; none of them is left behind."""
    from forked_workers import ForkedLocal

    yield ForkedLocal()
    ForkedLocal.launcher.file_size_limit = None
    ForkedLocal.launcher.end()


@pytest.fixture(scope="session")
def modal_on_loopback() -> Iterator[ModalService]:
    """A Modal on this machine, for all tests of the session."""
    pytest.importorskip("modal", reason="the extra 'modal' isn't installed")
    from ftsdk.backends.launchers.modal.client import close_clients
    from ftsdk.testing.modal import ModalService

    with ModalService(grace_s=5.0, commit_every_s=0.5) as service:
        yield service
        close_clients()


@pytest.fixture
def modal_service(modal_on_loopback: ModalService, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModalService]:
    """The Modal on this machine, as new; the client of this process and of its children finds it."""
    modal_on_loopback.reset()
    for name, value in modal_on_loopback.env.items():
        if name != "MODAL_CONFIG_PATH":
            monkeypatch.setenv(name, value)
    yield modal_on_loopback
    modal_on_loopback.reset()


@pytest.fixture(scope="session")
def paper_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a process finds the trainer `paper`."""
    from paper_trainer import install_paper_trainer

    return install_paper_trainer(tmp_path_factory.mktemp("paper") / "site")


@pytest.fixture
def paper_trainer(paper_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trainer `paper`, for this process and for workers; the path is a file with a line for each worker started."""
    for name, value in paper_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(paper_environment["PYTHONPATH"].split(os.pathsep)[0])
    starts = Path(paper_environment["FTSDK_PAPER_STARTS"])
    starts.touch()
    return starts


@pytest.fixture(scope="session")
def slurm_on_loopback() -> Iterator[SlurmCluster]:
    """A Slurm of two nodes on this machine, for all tests of the session."""
    from slurm_cluster import SlurmCluster, missing_programs

    if not Path("/proc").is_dir() or missing_programs():
        pytest.skip(f"no Slurm can be started here; not installed: {', '.join(missing_programs()) or 'Linux'}")
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture
def slurm_cluster(slurm_on_loopback: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The Slurm on this machine, which the backend finds; no job is left behind."""
    for name, value in slurm_on_loopback.env.items():
        monkeypatch.setenv(name, value)
    yield slurm_on_loopback
    slurm_on_loopback.cancel_all()


@pytest.fixture(scope="session")
def _ray_stand_in() -> Iterator[RayStandIn]:
    from ray_cluster import why_no_ray

    if why_no_ray():
        pytest.skip(f"Ray's client can't be used here: {why_no_ray()}")
    from ray_stand_in import RayStandIn

    with RayStandIn() as service:
        yield service


@pytest.fixture
def ray_stand_in(_ray_stand_in: RayStandIn) -> Iterator[RayStandIn]:
    """The Jobs API of a Ray cluster, whose nodes are processes of this machine; no job is left behind."""
    yield _ray_stand_in
    _ray_stand_in.reset()


@pytest.fixture(scope="session")
def ray_on_loopback(paper_environment: dict[str, str]) -> Iterator[RayCluster]:
    """A Ray cluster of a head and two nodes on this machine, for all tests of the session."""
    from paper_trainer import STEP_S
    from ray_cluster import RayCluster, why_no_ray

    if why_no_ray():
        pytest.skip(f"no Ray cluster can be started here: {why_no_ray()}")
    given = {n: os.environ[n] for n in ("HF_HUB_OFFLINE", "OMP_NUM_THREADS") if n in os.environ}
    with RayCluster({**paper_environment, **given, STEP_S: "0.05"}) as cluster:
        yield cluster


@pytest.fixture
def ray_cluster(ray_on_loopback: RayCluster) -> Iterator[RayCluster]:
    """The Ray cluster on this machine; no job is left behind."""
    yield ray_on_loopback
    ray_on_loopback.stop_all()


@pytest.fixture(scope="session")
def _skypilot_stand_in() -> Iterator[SkyPilotStandIn]:
    from skypilot_stand_in import SkyPilotStandIn

    with SkyPilotStandIn() as service:
        yield service


@pytest.fixture
def skypilot_stand_in(_skypilot_stand_in: SkyPilotStandIn) -> Iterator[SkyPilotStandIn]:
    """An API server of SkyPilot, whose machines are processes of this one; no job is left behind."""
    yield _skypilot_stand_in
    _skypilot_stand_in.reset()


@pytest.fixture(scope="session")
def ssh_on_loopback(paper_environment: dict[str, str]) -> Iterator[LoopbackSSH]:
    """This machine as another one, reached through a real sshd, for all tests of the session."""
    from loopback_sshd import LoopbackSSH, why_no_sshd
    from paper_trainer import STEP_S

    from ftsdk.backends.launchers.remote.channel import close_channels

    if why_no_sshd():
        pytest.skip(f"no sshd can be started here: {why_no_sshd()}")
    names = ("HF_HUB_OFFLINE", "OMP_NUM_THREADS", "PATH")
    given = {n: os.environ[n] for n in names if n in os.environ}
    # Long enough that a run isn't over before its test has looked at it, and that its events cost little.
    with LoopbackSSH({**paper_environment, **given, STEP_S: "0.1"}) as box:
        yield box
        close_channels()


hypothesis.settings.register_profile(
    "ftsdk",
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # Not "explain", which traces every line: a signal that arrives at a bad moment then makes Python 3.11 check for
    # signals for ever, and the suite hangs.
    phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
)
hypothesis.settings.load_profile("ftsdk")
