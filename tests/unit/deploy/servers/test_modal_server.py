"""Servers on Modal: priced before they start, deployed by the real client on loopback, and stopped for sure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny_adapters import write_adapter

pytest.importorskip("modal", reason="the extra 'modal' isn't installed")

from ftsdk import BackendError, BudgetExceededError, CredentialsError, Modal, ModalServer, Model, SpecError, serve
from ftsdk.backends.launchers.modal.server_container import ORDER
from ftsdk.backends.launchers.modal.server_container import serve as serve_in_container
from ftsdk.deploy.deployments import deployments
from ftsdk.deploy.servers.modal_engine import ModalEngine
from ftsdk.deploy.servers.served_models import name_models

if TYPE_CHECKING:
    from ftsdk.testing.modal import ModalService

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
KEY = "sk-of-the-server-0123456789"


@dataclass(frozen=True)
class FinishedRun:
    """A run of Modal's, as far as serving is concerned."""

    ref: str
    name: str | None
    adapter: Path
    backend: Modal

    def model(self) -> Model:
        return Model(id=BASE, adapter=str(self.adapter))


@pytest.fixture
def runs(tiny_model: Path, tmp_path: Path) -> list[FinishedRun]:
    backend = Modal()
    return [
        FinishedRun(f"modal:run-{name}", name, write_adapter(tiny_model, tmp_path / name, seed=1, rank=rank), backend)
        for name, rank in (("mails-v3", 4), ("mails-v4", 12))
    ]


@pytest.fixture
def service(modal_service: ModalService, monkeypatch: pytest.MonkeyPatch) -> ModalService:
    """A Modal whose servers answer as vLLM does, once they were asked twice."""
    monkeypatch.setenv("FTSDK_SERVER_KEY", KEY)
    from ftsdk.backends.launchers.modal.volume import Volume

    Volume("ftsdk", environment=None).upload({"runs/run-mails-v3/artifact/x": b"x"})
    asked: list[str] = []
    models = [BASE, "mails-v3", "mails-v4"]

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        if headers.get("Authorization") != f"Bearer {KEY}":
            return 401, b"{}"
        if len(asked) < 3:
            return 503, b"{}"
        if method == "GET":
            return 200, json.dumps({"data": [{"id": model} for model in models]}).encode()
        message = {"role": "assistant", "content": f"I am {json.loads(body)['model']}"}
        return 200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()

    monkeypatch.setattr(modal_service, "answer_web", answer)
    return modal_service


def live(service: ModalService) -> list[str]:
    return [app.name for app in service.apps() if app.state == "deployed"]


def test_the_price_is_known_before_anything_starts(runs: list[FinishedRun], modal_service: ModalService) -> None:
    plan = serve(runs, engine=ModalServer(gpu="L4"), max_hours=1).plan()

    assert plan.price_usd_per_hour is not None
    # Twenty minutes for a start, the hour, and five minutes without a request.
    assert plan.at_most_usd is not None
    assert abs(plan.at_most_usd - plan.price_usd_per_hour * 85 / 60) <= Decimal("0.01")
    assert "--max-lora-rank 16" in str(plan)
    assert '"/ftsdk/runs/run-mails-v4/artifact"' in str(plan)
    assert "never run on a GPU" in str(plan)
    assert modal_service.requests("AppCreate") == []


def test_a_budget_holds_the_start_and_the_idle_time_too(runs: list[FinishedRun]) -> None:
    with pytest.raises(BudgetExceededError, match=r"a start is billed for up to 20 min"):
        serve(runs, engine="modal", budget_usd=0.1).plan()
    plan = serve(runs, engine=ModalServer(gpu="L4"), budget_usd=3).plan()
    assert plan.at_most_usd is not None
    assert plan.at_most_usd <= 3
    with pytest.raises(SpecError, match="needs a limit"):
        serve(runs, engine="modal").plan()
    with pytest.raises(SpecError, match="no budget can be kept"):
        serve(runs, engine=ModalServer(min_containers=1), budget_usd=3).plan()
    with pytest.raises(SpecError, match="isn't a run of Modal's"):
        serve(runs[0].model(), engine="modal", max_hours=1).plan()


def test_two_adapters_are_served_and_nothing_is_left(
    runs: list[FinishedRun], service: ModalService, ftsdk_home: Path
) -> None:
    engine = ModalEngine(ModalServer(gpu="L4"), name_models(runs), max_hours=1, budget_usd=None)
    deployment = engine.deployment(poll_s=0.01)

    with deployment as served:
        assert live(service) == [served.record.name]
        assert [record.name for record in deployments()] == [served.record.name]
        assert served.endpoint.model == "mails-v4"
        assert served.endpoint.replace(model="mails-v3").generate("Who are you?") == "I am mails-v3"
        [request] = service.requests("FunctionCreate")
        data = request.message.function_data
        function = data.ranked_functions[0].function if data.ranked_functions else request.message.function
        assert [(gpu.gpu_type, gpu.count) for gpu in [function.resources.gpu_config]] == [("L4", 1)]
        [record] = (ftsdk_home / "results").rglob("*.json")
        assert KEY not in record.read_text()
    assert live(service) == []
    assert deployments() == []
    assert KEY not in str(service.requests())


def test_a_failed_start_is_stopped(
    runs: list[FinishedRun], service: ModalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "answer_web", lambda *_: (200, b'{"data": []}'))
    deployment = ModalEngine(ModalServer(), name_models(runs), max_hours=1, budget_usd=None).deployment(poll_s=0.01)

    with pytest.raises(BackendError, match=f"it lacks {BASE}, mails-v3, mails-v4"):
        deployment.start()

    assert live(service) == []
    monkeypatch.delenv("FTSDK_SERVER_KEY")
    other = ModalEngine(ModalServer(), name_models(runs), max_hours=1, budget_usd=None).deployment(poll_s=0.01)
    with pytest.raises(CredentialsError, match="FTSDK_SERVER_KEY"):
        other.start()
    assert live(service) == []


def test_a_container_starts_nothing_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"ends_at": 1.0, "command": ["false"], "template": None, "template_file": ""}
    monkeypatch.setenv(ORDER, json.dumps(order))

    with pytest.raises(RuntimeError, match="the time of this server is over"):
        serve_in_container()
