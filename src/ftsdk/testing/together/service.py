"""The stand-in for Together, as tests use it."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest
from ftsdk.testing.together.answers import Answer, Clock, Recorded, Refusal, Request
from ftsdk.testing.together.faults import ArmedFault, ArmedFaults
from ftsdk.testing.together.files import FileStore
from ftsdk.testing.together.finetune_routes import FineTuneRoutes
from ftsdk.testing.together.inference import Chat, Inference, chat_answer
from ftsdk.testing.together.jobs import Job, JobStore, Numbers
from ftsdk.testing.together.offers import HARDWARE, MODELS, Hardware, ModelOffer
from ftsdk.testing.together.registry import PROJECT, Registry
from ftsdk.testing.together.request_rules import SECRETS
from ftsdk.testing.together.scenarios import SCENARIOS, Chaos, FaultKind, Scenario, WireFault
from ftsdk.testing.together.server import LoopbackServer
from ftsdk.testing.together.weights import Weights

__all__ = ["TogetherService"]

_Route = Callable[[Request, Mapping[str, str]], Answer]


class TogetherService:
    """A service on loopback that behaves as Together's does towards its own client.

    Files, jobs, weights, deployments, chat.

    Use it as a context manager: inside, it answers at `base_url`; leaving it raises `RuntimeError` if the service
    itself had a bug. Nothing in it waits or sleeps: a job goes on by one stage with each look at it (`GET
    /v1/fine-tunes/{id}`), a file and a deployment with each look at theirs, and the clock by one second with each
    request.

    What it charges: tokens times price, at least the model's minimum (four dollars for most). A job that was cancelled
    or has stopped early pays for the share of the steps that it made, and at least the minimum if it made any; one that
    failed pays nothing. A token is four bytes of the training file.

    Args:
        scenario: What happens to the files and jobs that come in, or the name of one in `SCENARIOS`. Can be changed at
            any time.
        models: What is offered for tuning.
        hardware: What is offered for deployments.
        weights: What finished jobs offer for download; None: small adapters with random weights.
        chat: Answers chats: `(model, messages, max_tokens, temperature) -> text`. None: repeats the last message.
        moves_on_look: False to let jobs go on with `move` alone.

    Raises:
        SpecError: No scenario has this name.
    """

    def __init__(
        self,
        scenario: Scenario | str = "succeeds",
        *,
        models: Iterable[ModelOffer] = MODELS,
        hardware: Sequence[Hardware] = HARDWARE,
        weights: Weights | None = None,
        chat: Chat | None = None,
        moves_on_look: bool = True,
    ) -> None:
        self.key = f"tk-loopback-{secrets.token_hex(12)}"
        """The only key that is accepted."""
        self.project_id = PROJECT["id"]
        """The only project: its key is `key`."""
        self.clock = Clock()
        self.weights = weights or Weights()
        self.chat: Chat = chat or _say_back
        self.moves_on_look = moves_on_look
        self.models = {offer.name: offer for offer in models}
        """The models on offer, by name. May be changed at any time."""
        self.files = FileStore(self.clock)
        self.jobs = JobStore(self.clock)
        self._registry = Registry(self.clock, self.models, hardware, lambda: self.jobs)
        self.inference = Inference(self.clock, self._registry, self.models)
        self._finetunes = FineTuneRoutes(offers=self.models, files=self.files, jobs=self.jobs)
        self._faults = ArmedFaults()
        self._requests: list[Recorded] = []
        self._chats = 0
        self._lock = threading.RLock()
        self._routes = self._build_routes()
        self._server: LoopbackServer | None = None
        self.scenario = scenario

    # For tests

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self, self._faults)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if server.bugs and kind is None:
            raise RuntimeError("the stand-in has a bug:\n" + "\n".join(server.bugs))

    def __repr__(self) -> str:
        where = self._server.url if self._server else "not running"
        return f"TogetherService({where!r}, {len(self.jobs)} jobs, {len(self._requests)} requests)"

    @property
    def base_url(self) -> str:
        """Its address, without `/v1`.

        Raises:
            RuntimeError: It isn't running.
        """
        if self._server is None:
            raise RuntimeError(
                "the stand-in for Together isn't running; use it as `with TogetherService() as service:`"
            )
        return self._server.url

    @property
    def scenario(self) -> Scenario:
        """The scenario of the files, jobs and deployments that are created from now on."""
        return self._scenario

    @scenario.setter
    def scenario(self, scenario: Scenario | str) -> None:
        if isinstance(scenario, str):
            if scenario not in SCENARIOS:
                raise SpecError(f"unknown scenario {scenario!r}{nearest(scenario, set(SCENARIOS))}")
            scenario = SCENARIOS[scenario]
        self._scenario = scenario
        self._faults.arm(scenario.wire)

    @property
    def chaos(self) -> Chaos | None:
        """Random faults, from a seed; None: there are none."""
        return self._faults.chaos

    @chaos.setter
    def chaos(self, chaos: Chaos | None) -> None:
        self._faults.chaos = chaos

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """Every request so far, oldest first."""
        return tuple(self._requests)

    def failing(self, kind: FaultKind, *, on: str = "*", **more: Any) -> AbstractContextManager[ArmedFault]:
        """Make requests fail until the block ends.

        Args:
            kind: How.
            on: Which; as in `WireFault`.
            more: The other fields of `WireFault`.
        """
        return self._faults.with_fault(WireFault(kind=kind, on=on, **more))

    def add_completed_job(self, model: str = "Qwen/Qwen3.5-9B") -> Job:
        """Add a job that has completed, without the requests that lead to one.

        Args:
            model: The name of what it tuned, from `models`.
        """
        with self._lock:
            job = self.jobs.create(
                body={"model": model, "training_file": "file-0", "n_epochs": 1},
                scenario=self.scenario,
                offer=self.models[model],
                numbers=Numbers(tokens=8, price_usd=0, rows=8, file_bytes=32, batch=8),
            )
            while job.ahead:
                self.jobs.move(job)
            return job

    def move(self, job: Job | str, stages: int = 1) -> Job:
        """Advance a job, as so many polls would."""
        with self._lock:
            found = self.jobs[job] if isinstance(job, str) else job
            for _ in range(stages):
                self.jobs.move(found)
            return found

    def pass_time(self, seconds: float) -> None:
        """Advance the clock: deployments are billed, and stop after enough time without requests."""
        with self._lock:
            self.clock.now += seconds
            self.inference.pass_time(seconds)

    @property
    def hosting_usd(self) -> float:
        """What all deployments have cost so far, in US dollars."""
        with self._lock:
            return self.inference.cost_usd

    # For the server

    def answer(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            Refusal: It can't be done.
        """
        is_signed = request.path.startswith("/presigned/")
        if not is_signed and not self._has_key(request):
            raise Refusal(401, "Invalid API key provided")
        self.pass_time(1)
        with self._lock:
            if (request.method, request.path) != ("POST", "/v1/chat/completions"):
                return self._routed(request)
            body = request.json
            self.inference.check_chat(body)
            self._chats += 1
            number = self._chats
        # A real model may answer slowly; other requests don't wait for it.
        text = self.chat(body["model"], body["messages"], body.get("max_tokens"), body.get("temperature"))
        return chat_answer(body, text, number=number, created=self.clock.now)

    def record(self, request: Request, *, fault: str, status: int | None) -> None:
        """Record a request, without keys."""
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        recorded = Recorded(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=headers,
            json=_without_secrets(request.body) if "json" in headers.get("content-type", "") else None,
            has_key=self._has_key(request),
            fault=fault,
            status=status,
        )
        with self._lock:
            self._requests.append(recorded)

    def _has_key(self, request: Request) -> bool:
        return secrets.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {self.key}".encode())

    def _routed(self, request: Request) -> Answer:
        for method, pattern, route in self._routes:
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match:
                if match.groupdict().get("project", self.project_id) not in (self.project_id, "proj_public"):
                    raise Refusal(403, f"no access to project {match['project']!r}")
                return route(request, match.groupdict())
        raise Refusal(404, f"unable to find route {request.method} {request.path}")

    def _look(self, job_id: str) -> Answer:
        job = self.jobs[job_id]
        if self.moves_on_look:
            self.jobs.move(job)
        return _json(job.to_wire())

    def _build_routes(self) -> list[tuple[str, re.Pattern[str], _Route]]:
        files, jobs, finetunes, registry, inference = (
            self.files,
            self.jobs,
            self._finetunes,
            self._registry,
            self.inference,
        )
        table: dict[str, _Route] = {
            "POST /v1/files": lambda request, _: files.announce(request, self.scenario, self.base_url),
            "GET /v1/files": lambda _, __: files.listing(),
            "GET /v1/files/{id}": lambda _, at: files.retrieve(at["id"]),
            "GET /v1/files/{id}/content": lambda _, at: files.content(at["id"]),
            "POST /v1/files/{id}/preprocess": lambda _, at: files.preprocess(at["id"]),
            "DELETE /v1/files/{id}": lambda _, at: files.delete(at["id"]),
            "PUT /presigned/{id}": lambda request, at: files.put(request, at["id"]),
            "GET /v1/fine-tunes/models/limits": lambda request, _: finetunes.limits(request.query),
            "GET /v1/fine-tunes/models/supported": lambda _, __: finetunes.supported(),
            "POST /v1/fine-tunes/estimate-price": lambda request, _: finetunes.estimate(request.json, self.scenario),
            "POST /v1/fine-tunes": lambda request, _: finetunes.create(request.json, self.scenario),
            "GET /v1/fine-tunes": lambda _, __: jobs.listing(),
            "GET /v1/fine-tunes/{id}": lambda _, at: self._look(at["id"]),
            "DELETE /v1/fine-tunes/{id}": lambda _, at: jobs.delete(jobs[at["id"]]),
            "POST /v1/fine-tunes/{id}/cancel": lambda _, at: jobs.cancel(jobs[at["id"]]),
            "GET /v1/fine-tunes/{id}/events": lambda _, at: _json({"data": jobs[at["id"]].listed_events()}),
            "GET /v1/fine-tunes/{id}/metrics": lambda request, at: jobs.metrics(jobs[at["id"]], request.query),
            "GET /v1/fine-tunes/{id}/checkpoints": lambda _, at: jobs.checkpoints(jobs[at["id"]]),
            "GET /v1/finetune/download": lambda request, _: self.weights.download(
                jobs[request.query.get("ft_id", "")], request
            ),
            "GET /v3/whoami": lambda _, __: registry.whoami(),
            "GET /v2/public/inference-instance-types": lambda _, __: registry.list_hardware(),
            "GET /v2/supported-models": lambda request, _: registry.list_supported(request.query),
            "GET /v2/projects/{project}/models": lambda _, __: registry.list_models(),
            "GET /v2/projects/{project}/models/{id}": lambda _, at: _json(registry.find(at["id"]).to_wire()),
            "GET /v2/projects/{project}/configs": lambda request, _: registry.list_configs(request.query),
            "GET /v2/projects/{project}/configs/{id}": lambda _, at: registry.config(at["id"]),
            "POST /v2/projects/{project}/endpoints": lambda request, _: inference.create(request.json),
            "GET /v2/projects/{project}/endpoints": lambda _, __: inference.listing(),
            "GET /v2/projects/{project}/endpoints/{id}": lambda _, at: inference.retrieve(at["id"]),
            "PATCH /v2/projects/{project}/endpoints/{id}": lambda request, at: inference.update(
                at["id"], request.json, request.query
            ),
            "DELETE /v2/projects/{project}/endpoints/{id}": lambda _, at: inference.delete(at["id"]),
            "POST /v2/projects/{project}/endpoints/{id}/deployments": (
                lambda request, at: inference.deploy(at["id"], request.json, request.query, self.scenario)
            ),
            "GET /v2/projects/{project}/endpoints/{id}/deployments": lambda _, at: inference.list_deployments(at["id"]),
            "GET /v2/projects/{project}/endpoints/{id}/deployments/{dep}": lambda _, at: inference.retrieve_deployment(
                at["id"], at["dep"]
            ),
            "PATCH /v2/projects/{project}/endpoints/{id}/deployments/{dep}": (
                lambda request, at: inference.update_deployment(at["id"], at["dep"], request.json)
            ),
            "DELETE /v2/projects/{project}/endpoints/{id}/deployments/{dep}": lambda _, at: inference.delete_deployment(
                at["id"], at["dep"]
            ),
        }
        rows: list[tuple[str, re.Pattern[str], _Route]] = []
        for name, route in table.items():
            method, _, path = name.partition(" ")
            rows.append((method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), route))
        return rows


def _json(value: object) -> Answer:
    return Answer(body=json.dumps(value).encode())


def _say_back(
    model: str,  # noqa: ARG001
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int | None,  # noqa: ARG001
    temperature: float | None,  # noqa: ARG001
) -> str:
    return str(messages[-1].get("content", ""))


def _without_secrets(body: bytes) -> Any:
    try:
        data = json.loads(body)
    except ValueError:
        return None
    if isinstance(data, dict):
        return {name: "***" if name in SECRETS else value for name, value in data.items()}
    return data
