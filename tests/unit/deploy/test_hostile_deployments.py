"""Records that something else has written, two starts at once, a clock that is set back, and servers that are dead."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk import Model, SpecError
from ftsdk._home import home
from ftsdk.cli.app import app
from ftsdk.deploy.deployments import Deployment, deploy_plan, deployments, deployments_in
from ftsdk.deploy.servers import serve, servers, stop_server
from ftsdk.deploy.servers.record import ServerRecord, forget_old, servers_folder
from ftsdk.errors import FtsdkError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol import RunRef
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus
from ftsdk.runfolder.lock import hold

REF = RunRef.parse("scripted:20261128-aaaaaa")
PLAN = ServingPlan(
    offer=ServingOffer(
        hardware="H100",
        gpu_type="H100",
        gpu_count=1,
        price_usd_per_hour=Decimal(4),
        start_s=60,
        source="https://example.com",
        as_of="2026-11-28",
        idle_stop_s_min=60,
        idle_stop_s_max=3600,
    ),
    idle_stop_s=300,
    max_s=3600,
    at_most_usd=Decimal(5),
)


class Paid:
    """A service that bills whatever it was asked to start."""

    def __init__(self) -> None:
        self.running: list[str] = []

    def start_serving(self, ref: Any, plan: Any, *, name: str, note: Any) -> None:
        self.running.append(name)

    def poll_serving(self, name: str, native: Any) -> ServingStatus:
        return ServingStatus(state="ready", endpoint=Endpoint(url="http://127.0.0.1:9/v1", model="m"))

    def stop_serving(self, name: str, native: Any) -> ServingStatus:
        self.running = [other for other in self.running if other != name]
        return ServingStatus(state="gone")

    def serving_offers(self, ref: Any) -> list[ServingOffer]:
        return [PLAN.offer]


def planned(service: Any, folder: Path, **options: Any) -> Deployment:
    return deploy_plan(service, REF, PLAN, folder=folder, poll_s=0.01, **options)


def test_of_deployments_that_start_at_once_one_bills(tmp_path: Path) -> None:
    service = Paid()
    waiting = [planned(service, tmp_path) for _ in range(8)]
    refused: list[str] = []

    def start(one: Deployment) -> None:
        try:
            one.start()
        except SpecError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start, args=(one,)) for one in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.running) == 1
    assert len(refused) == 7
    assert all("isn't stopped" in text for text in refused)
    (found,) = deployments_in(tmp_path, service)
    found.stop()
    assert service.running == []
    planned(service, tmp_path).start().stop()


def test_a_clock_that_is_set_back_buys_no_time(tmp_path: Path) -> None:
    service, clock, steady = Paid(), [1_800_000_000.0], [0.0]
    served = planned(service, tmp_path)
    served = Deployment(
        served.record,
        service,
        folder=tmp_path / "serving",
        poll_s=0.01,
        clock=lambda: clock[0],
        monotonic=lambda: steady[0],
    )
    served.start()
    clock[0] -= 86_400
    steady[0] += 3601
    for _ in range(1000):
        if not service.running:
            break
        threading.Event().wait(0.02)
    assert service.running == []
    served.stop()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"name": "../../x"}', '{"state": "stopped"}', "[" * 99_999, "\ud800"],
)
def test_a_record_that_cannot_be_read_is_told_and_hides_no_other(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Paid()
    results = home() / "results"
    good, bad = results / str(REF).replace(":", "-"), results / "other-run"
    served = planned(service, good).start()
    (bad / "serving").mkdir(parents=True)
    (bad / "serving" / "x.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with caplog.at_level(logging.WARNING):
        assert [record.name for record in deployments()] == [served.record.name]
    assert "may still bill" in caplog.text
    with pytest.raises(SpecError, match="may still bill"):
        planned(service, bad)
    served.stop()


def test_a_record_under_another_name_writes_nowhere_else(tmp_path: Path) -> None:
    service = Paid()
    served = planned(service, tmp_path).start()
    record = json.loads((tmp_path / "serving" / f"{served.record.name}.json").read_text())
    (tmp_path / "serving" / "a.json").write_text(json.dumps({**record, "name": "../../escaped"}))
    with pytest.raises(SpecError, match="another deployment"):
        deployments_in(tmp_path, service)
    (tmp_path / "serving" / "a.json").unlink()
    served.stop()
    assert not (tmp_path.parent / "escaped.json").exists()


def server_record(name: str, pid: int) -> ServerRecord:
    return ServerRecord(name=name, engine="llama.cpp", models=("m",), owner_pid=pid, started_at=0.0)


def test_records_of_servers_that_are_damaged_hide_no_other_and_stop_no_start() -> None:
    folder = server_record("llama-good", 1).write()
    for name, content in {"llama-a": "{", "llama-b": '{"name": "llama-good"}', "llama-c": ""}.items():
        (servers_folder() / name).mkdir()
        (servers_folder() / name / "record.json").write_text(content)
    with hold(folder):
        assert [record.name for record in servers()] == ["llama-good"]
        forget_old()
        assert folder.is_dir()
    forget_old()
    assert not folder.exists()


def test_stopping_a_dead_server_hits_no_process_that_has_its_number_now() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        folder = server_record("llama-dead", other.pid).write()
        (folder / "worker.lock").write_text(json.dumps({"pid": other.pid, "group": os.getpgid(other.pid)}))
        stop_server("llama-dead")
        found = CliRunner().invoke(app, ["stop", "llama-dead"])
        assert "had ended already" in found.output
        assert other.poll() is None
    finally:
        other.communicate()
    assert CliRunner().invoke(app, ["stop", "llama-none"]).exit_code != 0


@pytest.mark.parametrize("mark", ["EXPORT-FAILED.txt", "EXPORT-UNFINISHED.txt"])
@pytest.mark.parametrize("part", ["id", "adapter"])
def test_a_failed_export_is_not_served_as_a_model_either(mark: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / mark).touch()
    model = Model(id=str(tmp_path / "out")) if part == "id" else Model(id="acme/base", adapter=str(tmp_path / "out"))
    with pytest.raises(FtsdkError, match=r"broken off|isn't an export"):
        serve(model)
