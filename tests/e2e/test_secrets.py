"""Keys in no output, log, file, error, pickle or process list, whatever happens to a run or an evaluation."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote, quote_plus

import pytest
from serving import serving

from ftsdk import Dataset, Endpoint, Eval, FineTuneJob, Local, Modal, Run, Together
from ftsdk.evals import evaluate
from ftsdk.runfolder import lock

if TYPE_CHECKING:
    from ftsdk.testing.modal import ModalService

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]
ENVIRONMENT = {
    "MARKED_KEY": 'Zq-endpoint-7Hk2/mPx"W9sLtVb',
    "OPENAI_API_KEY": "Zq-openai-Qb4cRk8nYw",
    "AWS_SECRET_ACCESS_KEY": "Zq-aws-Jd6fTg0vXz",
    "WANDB_API_KEY": "Zq-wandb-Lm3hSu5pCe",
    "HF_TOKEN": "hf_ZqAbCdEfGhIjKlMnOpQrStUv",
}


class Watch:
    """Collects what anybody could see, and searches it for keys in any written form."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.log = io.StringIO()
        self.texts: list[str] = []
        self.folders: list[Path] = []

    def attempt(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns, or its error; either is seen."""
        try:
            found = call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
            self.texts += ["".join(traceback.format_exception(error)), repr(vars(error))]
            self.texts.append(pickle.dumps(error).decode("latin-1"))
            return error
        self.texts += [repr(found), str(found)]
        return found

    def follow(self, job: FineTuneJob, into: Path, *, looks: int = 12) -> None:
        """Go through the life of a run, and let it fail wherever it does."""
        self.attempt(lambda: str(job.plan()) + job.plan().to_json())
        run = self.attempt(job.submit)
        if isinstance(run, Run):
            for _ in range(looks):
                self.attempt(run.status)
            self.attempt(lambda: [event.to_json() for event in run.events()])
            self.attempt(lambda: run.collect(into))
            self.attempt(run.cancel)
        self.attempt(lambda: repr(job.backend) + str(getattr(job.backend, "options", "")))

    def leaks(self) -> list[str]:
        files = [path for folder in self.folders for path in folder.rglob("*") if path.is_file()]
        seen = [*self.texts, self.log.getvalue(), *(path.read_bytes().decode("latin-1") for path in files)]
        return [
            text[max(0, text.find(form) - 200) : text.find(form) + 60]
            for text in seen
            for key in self.keys
            for form in forms(key)
            if form in text
        ]


def forms(key: str) -> set[str]:
    encoded = base64.b64encode(key.encode()).decode().rstrip("=")[:-1]
    return {key, quote(key), quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], repr(key)[1:-1], encoded}


@pytest.fixture
def watch(
    monkeypatch: pytest.MonkeyPatch, ftsdk_home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Watch]:
    """Everything is logged at DEBUG; at the end, nothing that was seen may hold a key."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    watch = Watch(list(ENVIRONMENT.values()))
    watch.folders += [ftsdk_home, tmp_path / "seen"]
    handler, root = logging.StreamHandler(watch.log), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    watch.texts += capfd.readouterr()
    assert watch.leaks() == []


class Echo(BaseHTTPRequestHandler):
    """Repeats the request's key in every part of the answer."""

    status = 400

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        said = f"{'x' * 480} {key} {base64.b64encode(key.encode()).decode()}"
        body = json.dumps(
            {
                "error": {"message": said},
                "choices": [{"message": {"content": said}}],
                "data": [{"id": "ft-1", "status": said, "message": said, "type": said, "created_at": said}],
            }
        )
        self.send_response(self.status, f"no {key}")
        self.send_header("X-Echo", f"Bearer {key}")
        self.send_header("Retry-After", key)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT = do_POST  # noqa: N815 - the names are the standard library's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


@pytest.fixture(params=[200, 302, 400, 401, 429, 500])
def echo(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Echo, "status", request.param)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as server:
        server.daemon_threads = True
        yield f"http://127.0.0.1:{server.server_port}/v1"


def rows() -> Dataset:
    return Dataset.from_rows([{"q": f"question {i}", "a": "yes"} for i in range(16)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def test_an_endpoint_that_repeats_the_key_leaks_nothing(watch: Watch, echo: str, tmp_path: Path) -> None:
    endpoint = Endpoint(url=echo, model="m", api_key_env="MARKED_KEY", attempts=1)
    watch.attempt(lambda: evaluate([Eval.exact_match(rows())], [endpoint.target()], into=tmp_path / "seen"))
    watch.attempt(lambda: endpoint)
    assert "x-echo" in watch.log.getvalue().lower()


@pytest.mark.parametrize("key", ["Zq-line\nbreak-0123", "Zq-lettér-0123456", "Zq-b lank-0123456"])
def test_a_key_that_cannot_be_sent_is_not_shown(watch: Watch, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.keys.append(key)
    for name in ("MARKED_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(name, key)
    with (
        pytest.raises(Exception, match="MARKED_KEY"),
        Endpoint(url="http://127.0.0.1:9/v1", model="m", api_key_env="MARKED_KEY").open(),
    ):
        pass
    for call in (
        lambda: Endpoint(url="https://host/v1", model="m", api_key_env=key),
        lambda: Endpoint(url="https://host/v1", model="m", api_key=key),  # pyright: ignore[reportCallIssue]
        lambda: Endpoint(url=f"https://me:{key}@host/v1", model="m"),
        lambda: Endpoint(url=f"https://host:{key}/v1", model="m"),
        lambda: Endpoint(url=f"https://host/v1?key={key}", model="m"),
        lambda: Together(base_url=f"https://host:{key}/v1"),
        lambda: Local(env=[key]),
        lambda: FineTuneJob.from_dict({"model": {"api_key": key}, "train": {"file": "x"}, "token": key}),
        lambda: FineTuneJob(model="a/b", train=rows(), backend=Together(base_url="http://127.0.0.1:9")).submit(),
    ):
        watch.attempt(call)


def test_a_together_that_repeats_the_key_leaks_nothing(
    watch: Watch, echo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    monkeypatch.setenv("TOGETHER_API_KEY", ENVIRONMENT["MARKED_KEY"])
    backend = Together(base_url=echo, max_retries=0, poll_s=0, settle_s=0, sleep=lambda _: None)
    watch.follow(FineTuneJob(model="Qwen/Qwen3.5-9B", train=rows(), backend=backend), tmp_path / "seen")


def together_scenarios() -> list[Any]:
    try:
        from ftsdk.testing.together import SCENARIOS, FaultKind, Scenario, WireFault
    except ImportError:
        return []
    quick = {"succeeds", "fails", "drops_the_upload", "sends_unsafe_archives", "fails_after_creating"}
    faults = {kind: Scenario(wire=(WireFault(kind=kind, delay_s=3, skip=6),)) for kind in get_args(FaultKind)}
    return [
        pytest.param(scenario, id=name, marks=[] if name in quick else [pytest.mark.slow])
        for name, scenario in {**SCENARIOS, **faults}.items()
    ]


@pytest.mark.parametrize("scenario", together_scenarios())
def test_no_scenario_of_together_leaks_the_key(
    watch: Watch, scenario: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.testing.together import TogetherService

    with TogetherService(scenario) as service:
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        watch.keys.append(service.key)
        backend = Together(
            base_url=service.base_url, max_retries=0, poll_s=0, settle_s=0, timeout_s=2, sleep=lambda _: None
        )
        watch.follow(FineTuneJob(model="Qwen/Qwen3.5-9B", train=rows(), backend=backend), tmp_path / "seen")


@pytest.mark.parametrize("rpc", ["AppCreate", "VolumeGetOrCreate", "ClientHello", "FunctionCreate"])
def test_a_modal_that_repeats_the_token_leaks_nothing(
    watch: Watch, modal_service: ModalService, model_of_headers: Path, tmp_path: Path, rpc: str
) -> None:
    from ftsdk.backends.launchers.modal.client import close_clients
    from ftsdk.testing.modal import WireFault

    watch.keys += modal_service.secrets
    close_clients()  # or the client's greeting was said before
    said = " and ".join(modal_service.secrets)
    modal_service.script(WireFault(rpc=rpc, status="PERMISSION_DENIED", message=f"bad token {said}"))
    job = FineTuneJob(model=str(model_of_headers), train=rows(), backend=Modal(gpu="cpu"))
    watch.follow(job, tmp_path / "seen", looks=1)
    modal_service.reset()
    close_clients()


@pytest.mark.slow
def test_a_run_on_modal_leaks_nothing(watch: Watch, modal_service: ModalService, make_job: MakeJob) -> None:
    watch.keys += modal_service.secrets
    run = make_job(backend=Modal(gpu="cpu"), max_steps=2).submit()
    watch.attempt(lambda: run.wait(progress=False, poll_s=0.2))
    watch.attempt(lambda: [event.to_json() for event in run.events()])
    watch.attempt(run.collect)


def test_a_worker_has_no_keys_but_those_it_needs(watch: Watch, model_of_headers: Path, ftsdk_home: Path) -> None:
    job = FineTuneJob(model=str(model_of_headers), train=rows(), backend=Local(device="cpu", env=["MARKED_KEY"]))
    run = watch.attempt(job.submit)
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    deadline = time.monotonic() + 60
    while (holder := lock.holder_of(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holder is not None
    environment = Path(f"/proc/{holder[0]}/environ").read_text()
    watch.texts += [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    present = {name for name, value in ENVIRONMENT.items() if value in environment}
    assert present == {"HF_TOKEN", "MARKED_KEY"}
    # The model is no model, so the run fails in words, unless it is cancelled before.
    watch.attempt(lambda: run.wait(progress=False, poll_s=0.1, timeout_s=60))
    watch.attempt(lambda: [event.to_json() for event in run.events()])
    watch.attempt(run.cancel)
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*") if path.is_file()} == {0}


def test_a_run_here_leaks_nothing(watch: Watch, make_job: MakeJob) -> None:
    run = make_job(max_steps=2).submit()
    watch.attempt(lambda: run.wait(progress=False, poll_s=0.05))
    watch.attempt(lambda: [event.to_json() for event in run.events()])
    watch.attempt(run.collect)
