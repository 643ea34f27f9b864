"""Workers for tests: the real worker, forked from this process, which has loaded torch already.

Loading torch, transformers and TRL takes most of the time of a short run. The tests that need many workers fork them;
`test_local_process.py` and a part of `test_kill.py` start them as users do.
"""

from __future__ import annotations

import os
import resource
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, FineTuneJob
from ftsdk.backends.hosted import lock, worker
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.local import LocalLauncher
from ftsdk.backends.trainers.trl import TRLTrainer

pytestmark = pytest.mark.e2e


class ForkingLauncher(LocalLauncher):
    """Starts the worker by a fork; everything else is the local launcher."""

    def __init__(self, *, file_size_limit: int | None = None) -> None:
        super().__init__(device="cpu")
        self.file_size_limit = file_size_limit
        self.pids: list[int] = []

    @property
    def options(self) -> Mapping[str, Any]:
        return {"device": "cpu"}

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        folder = self.folder(run_id)
        held = lock.acquire(folder)
        if held is None:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads; none of ours holds a lock
            pid = os.fork()
        if pid:
            os.close(held)
            self.pids.append(pid)
            return True
        code = 1
        try:
            os.setsid()
            log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ[lock.INHERITED] = str(held)
            warnings.simplefilter("default")
            if self.file_size_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size_limit, resource.RLIM_INFINITY))
            code = worker.main([str(folder)])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def reap(self) -> None:
        for pid in self.pids:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


@pytest.fixture(scope="session")
def torch_is_loaded() -> None:
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl.trainer.dpo_trainer
        import trl.trainer.sft_trainer  # noqa: F401

        import ftsdk.backends.trainers.trl.train  # noqa: F401


@pytest.fixture
def launcher(torch_is_loaded: None) -> Iterator[ForkingLauncher]:
    made = ForkingLauncher()
    yield made
    for pid in made.pids:
        try:
            os.killpg(pid, 9)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass


@pytest.fixture
def backend(launcher: ForkingLauncher) -> HostedBackend:
    return HostedBackend(name="local", launcher=launcher, trainer=TRLTrainer(), cancel_grace_s=2.0)


def messages(n: int = 64) -> Dataset:
    topics = ("travel", "work", "weather", "kitchen")
    return Dataset.from_rows([{"text": f"message {i} is about {topics[i % 4]} and no more", "label": topics[i % 4]} for i in range(n)]).as_chat(
        prompt="{text}", completion="{label}"
    )


@pytest.fixture
def make_job(tiny_model: Path, backend: HostedBackend) -> Callable[..., FineTuneJob]:
    """A job of twelve steps, unless told otherwise."""

    def make(**changes: Any) -> FineTuneJob:
        fields: dict[str, Any] = {
            "model": str(tiny_model),
            "train": messages(),
            "epochs": 2,
            "max_steps": 12,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "checkpoint_steps": 3,
            "dtype": "float32",
            "backend": backend,
        }
        return FineTuneJob(**{**fields, **changes})

    return make


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def largest_difference(a: Path, b: Path) -> float:
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert one
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


@pytest.fixture
def difference() -> Callable[[Path, Path], float]:
    return largest_difference


@pytest.fixture
def chat_rows() -> Callable[[int], Dataset]:
    return messages
