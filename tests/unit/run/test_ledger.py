from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from ftsdk.errors import FtsdkError, RunNotFoundError, SpecError
from ftsdk.run.ledger import Ledger, Record, Sighting


def record(ref: str) -> Record:
    return Record(ref=ref, name="n", plan={"backend": "local"}, options={"processes": 2}, evals=({"kind": "exact_match"},))


def test_a_run_that_was_intended_is_there_in_another_ledger_object() -> None:
    Ledger(clock=lambda: 5.0).intend(record("local:a"))
    found = Ledger().get("local:a")
    assert (found.state, found.created_at, found.submitted_at) == ("intended", 5.0, None)
    assert (found.plan, found.options, found.evals) == ({"backend": "local"}, {"processes": 2}, ({"kind": "exact_match"},))


def test_submitting_notes_what_the_backend_calls_the_run() -> None:
    ledger = Ledger(clock=lambda: 7.0)
    ledger.intend(record("local:a"))
    ledger.submitted("local:a", {"job_id": "ft-1"})
    found = ledger.get("local:a")
    assert (found.native, found.submitted_at, found.state) == ({"job_id": "ft-1"}, 7.0, "queued")


def test_the_same_ref_twice_is_refused() -> None:
    Ledger().intend(record("local:a"))
    with pytest.raises(SpecError, match="in the ledger already"):
        Ledger().intend(record("local:a"))


def test_an_unknown_ref_names_the_newest_runs() -> None:
    Ledger().intend(record("local:a"))
    with pytest.raises(RunNotFoundError, match="the newest are local:a"):
        Ledger().get("local:b")


def test_runs_are_listed_newest_first() -> None:
    for at, ref in enumerate(("local:a", "local:b", "local:c")):
        Ledger(clock=lambda at=at: float(at)).intend(record(ref))
    assert [r.ref for r in Ledger().list()] == ["local:c", "local:b", "local:a"]


def _write(path: Path, worker: int) -> None:
    ledger = Ledger(path)
    for n in range(25):
        ref = f"local:{worker}-{n}"
        ledger.intend(record(ref))
        ledger.submitted(ref, {})
        ledger.saw(Sighting(ref=ref, state="running"))


def test_two_clients_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    context = multiprocessing.get_context("spawn")
    clients = [context.Process(target=_write, args=(path, n)) for n in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        assert client.exitcode == 0
    assert {r.ref for r in Ledger(path).list()} == {f"local:{w}-{n}" for w in range(2) for n in range(25)}
    assert {r.state for r in Ledger(path).list()} == {"running"}


def test_a_ledger_that_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database, and never was one" * 100)
    with pytest.raises(FtsdkError, match=r"damaged .* rename it to start a new one"):
        Ledger(path).list()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).intend(record("local:a"))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FtsdkError, match="newer ftsdk"):
        Ledger(path).list()
