"""What a ledger is rebuilt from when the records are lost too, and what can't be put back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import ftsdk
from ftsdk import Dataset, FineTuneJob, Local, Run, Together
from ftsdk.run.ledger import Ledger
from ftsdk.testing.together import TogetherService

KEY = "20261123-ab12cd"


def a_job(backend: object = None) -> FineTuneJob:
    rows = Dataset.from_rows([{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(8)])
    return FineTuneJob(
        model="Qwen/Qwen3-8B",
        train=rows,
        name="mails",
        budget_usd=Decimal("12.3456789012345678901"),
        backend=backend or Local(usd_per_hour=Decimal("0.1234567890123456789"), device="cpu"),  # type: ignore[arg-type]
    )


def a_local_folder(home: Path) -> Path:
    """Make the folder that a worker started from, without starting one."""
    job = a_job()
    plan = job.resolved_backend.plan(job.spec())
    folder = home / "runs" / KEY
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(
        json.dumps({**plan.request, "spec": plan.spec.to_dict()}, indent=1, sort_keys=True)
    )
    return folder


def lost() -> dict[str, str]:
    return {one.ref: one.reason for one in ftsdk.runs(rebuild=True).unreadable}


def test_a_folder_without_a_record_is_listed_with_the_reason(ftsdk_home: Path) -> None:
    (ftsdk_home / "runs" / KEY).mkdir(parents=True)
    damaged = ftsdk_home / "runs" / "20261123-ef34ab"
    damaged.mkdir()
    (damaged / "record.local.json").write_text("{")
    assert ftsdk.runs().unreadable == ()
    assert "it has no record.*.json, so it can't be put back into the ledger (no file in it says" in lost()[KEY]
    assert "its record.local.json can't be read" in lost()["20261123-ef34ab"]
    assert "local keeps no request in it" in lost()["20261123-ef34ab"]
    assert str(damaged) in lost()["20261123-ef34ab"]
    assert KEY in str(ftsdk.runs(rebuild=True))


@pytest.mark.parametrize("record", [None, "{", "[]"])
def test_a_local_run_without_a_record_is_made_again(ftsdk_home: Path, record: str | None) -> None:
    folder = a_local_folder(ftsdk_home)
    if record is not None:
        (folder / "record.local.json").write_text(record)
    found = ftsdk.runs(rebuild=True)
    assert [(run.ref, run.name) for run in found] == [(f"local:{KEY}", "mails")]
    assert found.unreadable == ()
    run = Run.open(f"local:{KEY}")
    assert Ledger().get(run.ref).options == {"usd_per_hour": "0.1234567890123456789"}
    assert run.plan.spec.budget_usd == Decimal("12.3456789012345678901")
    assert run.plan.billing is not None
    assert run.status().native == "interrupted"
    assert (folder / "record.local.json").is_file()


def test_a_run_made_again_is_the_same_to_its_backend(ftsdk_home: Path) -> None:
    folder = a_local_folder(ftsdk_home)
    before = (folder / "run.json").read_bytes()
    ftsdk.runs(rebuild=True)
    plan = Run.open(f"local:{KEY}").plan
    again = json.dumps({**plan.request, "spec": plan.spec.to_dict()}, indent=1, sort_keys=True).encode()
    assert again == before


@pytest.mark.parametrize(
    "request_text", ["{", "[]", '{"launch": {"launcher": "local"}}', '{"launch": 3, "spec": 4}', "9" * 5000]
)
def test_a_damaged_request_is_listed_and_hides_no_other(ftsdk_home: Path, request_text: str) -> None:
    folder = a_local_folder(ftsdk_home)
    (folder.with_name("20261123-ffffff")).mkdir()
    (folder.with_name("20261123-ffffff") / "run.json").write_text(request_text)
    found = ftsdk.runs(rebuild=True)
    assert [run.ref for run in found] == [f"local:{KEY}"]
    assert [one.ref for one in found.unreadable] == ["20261123-ffffff"]


def test_a_damaged_row_without_a_copy_is_replaced_from_the_folder(ftsdk_home: Path) -> None:
    folder = a_local_folder(ftsdk_home)
    ftsdk.runs(rebuild=True)
    (folder / "record.local.json").unlink()
    damage(f"local:{KEY}", "x")
    assert [run.ref for run in ftsdk.runs(rebuild=True)] == [f"local:{KEY}"]


def test_the_record_of_a_newer_version_is_not_replaced(ftsdk_home: Path) -> None:
    folder = a_local_folder(ftsdk_home)
    ftsdk.runs(rebuild=True)
    copy = folder / "record.local.json"
    newer = json.dumps({**json.loads(copy.read_text()), "invented_later": 1})
    copy.write_text(newer)
    damage(f"local:{KEY}", newer)
    assert "written by a newer ftsdk" in lost()[f"local:{KEY}"]
    for file in ftsdk_home.glob("ledger.sqlite*"):
        file.unlink()
    assert "it was written by a newer ftsdk; upgrade ftsdk" in lost()[KEY]
    assert copy.read_text() == newer


def test_a_run_at_a_service_without_a_record_is_made_again(ftsdk_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TogetherService() as service:
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        backend = Together(base_url=service.base_url, max_retries=0, poll_s=0, settle_s=0, sleep=lambda seconds: None)
        run = a_job(backend).replace(model="Qwen/Qwen3.5-9B", budget_usd=20).submit()
        native = Ledger().get(run.ref).native
        (ftsdk_home / "runs" / run.ref.partition(":")[2] / "record.together.json").unlink()
        for file in ftsdk_home.glob("ledger.sqlite*"):
            file.unlink()
        (again,) = ftsdk.runs(rebuild=True, refresh=False)
        assert again.ref == run.ref
        assert Ledger().get(run.ref).native == native
        assert Ledger().get(run.ref).plan["request"] == run.plan.request


def damage(ref: str, record: str) -> None:
    with closing(sqlite3.connect(Ledger().path)) as db, db:
        db.execute("UPDATE runs SET record = ? WHERE ref = ?", (record, ref))
