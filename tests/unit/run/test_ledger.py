from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import FtsdkError, RunNotFoundError, SpecError
from ftsdk.run.ledger import Ledger, Record, Sighting, UnreadableRecord


def record(ref: str) -> Record:
    return Record(
        ref=ref, name="n", plan={"backend": "local"}, options={"processes": 2}, evals=({"kind": "exact_match"},)
    )


def test_a_run_that_was_intended_is_there_in_another_ledger_object() -> None:
    Ledger(clock=lambda: 5.0).intend(record("local:a"))
    found = Ledger().get("local:a")
    assert (found.state, found.created_at, found.submitted_at) == ("intended", 5.0, None)
    assert (found.plan, found.options, found.evals) == (
        {"backend": "local"},
        {"processes": 2},
        ({"kind": "exact_match"},),
    )


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
    with pytest.raises(FtsdkError, match=r"damaged .*ftsdk runs --rebuild"):
        Ledger(path).list()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).intend(record("local:a"))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FtsdkError, match="newer ftsdk"):
        Ledger(path).list()


def _first_use(path: Path, barrier: Any, worker: int) -> None:
    barrier.wait(60)
    Ledger(path).intend(record(f"local:{worker}"))


def test_eight_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    clients = [context.Process(target=_first_use, args=(path, barrier, n)) for n in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [client.exitcode for client in clients] == [0] * 8
    assert len(Ledger(path).list()) == 8


def _damage(path: Path) -> None:
    path.write_bytes(b"garbage " * 500)
    for side in path.parent.glob(f"{path.name}-*"):
        side.unlink()


def test_a_damaged_ledger_is_rebuilt_from_the_runs_folders() -> None:
    ledger = Ledger(clock=lambda: 5.0)
    ledger.intend(record("local:a"))
    ledger.submitted("local:a", {"job_id": "ft-1"})
    before = ledger.get("local:a")
    _damage(ledger.path)
    kept = ledger.rebuild()
    assert ledger.get("local:a") == before
    assert kept is not None
    assert kept.read_bytes().startswith(b"garbage")


def test_rows_that_can_be_read_in_a_damaged_ledger_are_kept() -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.saw(Sighting(ref="local:a", state="succeeded"))
    with sqlite3.connect(ledger.path) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ', novel TEXT) STRICT')")
        db.execute("INSERT INTO sqlite_schema VALUES ('index', 'i', 'runs', 9999, 'CREATE INDEX i ON runs (state)')")
    db.close()
    assert ledger.rebuild() is not None
    assert ledger.get("local:a").ref == "local:a"


def test_a_lost_ledger_comes_back_from_the_runs_folders() -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.path.rename(ledger.path.with_name("aside"))
    assert [found.ref for found in ledger.list()] == ["local:a"]


def test_rebuilding_a_whole_ledger_mends_the_records_that_cannot_be_read() -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.intend(record("local:b"))
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE runs SET record = 'x' WHERE ref = 'local:b'")
    db.close()
    assert ledger.rebuild() is None
    assert {found.ref for found in ledger.list()} == {"local:a", "local:b"}


def test_a_removed_run_does_not_come_back() -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.remove("local:a")
    ledger.rebuild()
    assert ledger.entries() == []


def test_a_folder_in_place_of_the_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(FtsdkError, match="isn't a file"):
        Ledger(tmp_path / "ledger.sqlite").list()


@pytest.mark.parametrize("at", ["-1e300", "1e300", "9e999"])
def test_a_run_of_an_impossible_time_hides_no_other(at: str) -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.intend(record("local:b"))
    with sqlite3.connect(ledger.path) as db:
        db.execute(f"UPDATE runs SET created_at = {at} WHERE ref = 'local:b'")
    db.close()
    assert [found.ref for found in ledger.list()] == ["local:a"]
    (bad,) = (entry for entry in ledger.entries() if isinstance(entry, UnreadableRecord))
    assert bad.started.year == 1970


def test_a_new_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite").intend(record("local:a"))
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o077 == 0


def test_a_home_that_is_a_file_is_named_with_the_variable_that_moves_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FtsdkError, match="FTSDK_HOME"):
        Ledger(tmp_path / "file" / "ledger.sqlite").list()


@pytest.mark.parametrize("change", ["json_set(record, '$.novel', 1)", "'x'", "'[]'", "json_remove(record, '$.plan')"])
def test_a_record_that_cannot_be_read_is_listed_with_the_reason(change: str) -> None:
    ledger = Ledger()
    ledger.intend(record("local:a"))
    ledger.intend(record("local:b"))
    with sqlite3.connect(ledger.path) as db:
        db.execute(f"UPDATE runs SET record = {change} WHERE ref = 'local:b'")
    db.close()
    assert [found.ref for found in ledger.list()] == ["local:a"]
    (bad,) = (entry for entry in ledger.entries() if isinstance(entry, UnreadableRecord))
    assert (bad.ref, bad.state) == ("local:b", "intended")
    assert "newer ftsdk" in bad.reason
    with pytest.raises(FtsdkError, match=r"local:b .* can't be read"):
        ledger.get("local:b")
