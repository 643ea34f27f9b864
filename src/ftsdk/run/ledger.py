"""The ledger: every run that this user started, written down before the backend is asked.

One SQLite file in WAL mode, one table, one row per run. A run is first *intended* and then *submitted*. A row that was
never submitted tells a later process to look for the run under the same key before it submits again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._files import make_folder
from ftsdk._home import home
from ftsdk.errors import FtsdkError, RunNotFoundError, SpecError

__all__ = ["Ledger", "Record", "Sighting", "UnreadableRecord"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    ref TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    submitted_at REAL,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT
"""
_VERSION = 1
_COLUMNS = "ref, record, created_at, submitted_at, state"
_BUSY_S = 30.0
"""How long to wait for another process that has the file, in seconds: far longer than any write takes."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run in the ledger."""

    ref: str
    """`local:20261123-ab12cd`: the backend's name, and the key that the run was submitted under."""
    name: str | None
    plan: Mapping[str, Any]
    """The plan as JSON, so that exactly the same request can be submitted again."""
    options: Mapping[str, Any]
    """Arguments that rebuild the backend."""
    evals: tuple[Mapping[str, Any], ...] = ()
    native: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the backend calls the run, once it has said so."""
    created_at: float = 0.0
    submitted_at: float | None = None
    state: str = "intended"
    """The state when last seen; the backend knows better."""
    price_usd: str | None = None
    """The final price in US dollars, exact, once the provider has stated it."""
    reason: str = ""
    """Why the run is over, where its backend doesn't know.

    It never started, or it was cancelled because it reached its budget.
    """
    outcome: Mapping[str, Any] | None = None
    """What the run took, once it was seen to end; what was estimated is in `plan`."""


@dataclass(frozen=True, kw_only=True)
class UnreadableRecord:
    """A run in the ledger whose record this version of ftsdk can't read, or whose backend can't be loaded here."""

    ref: str
    created_at: float
    state: str
    """The state when last seen."""
    reason: str

    @property
    def started(self) -> datetime:
        """When the run was submitted, in local time."""
        return datetime.fromtimestamp(self.created_at).astimezone()


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """The state of a run when a backend was last asked."""

    ref: str
    state: str
    price_usd: Decimal | None = None


class Ledger:
    """The runs that this user started, from any process.

    Every method raises `FtsdkError` if the file can't be read or written.

    Args:
        path: The file; None means `ledger.sqlite` in ftsdk's home.
        clock: Seconds since the epoch.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path or home() / "ledger.sqlite"
        self._clock = clock
        self._sleep = sleep

    def intend(self, record: Record) -> Record:
        """Write down a run that is about to be submitted. It is on disk when this returns.

        Raises:
            SpecError: A run with this ref is in the ledger already.
        """
        written = replace(record, created_at=self._clock(), state="intended")
        try:
            with self._open() as db:
                db.execute(
                    "INSERT INTO runs (ref, created_at, submitted_at, state, record) VALUES (?, ?, NULL, ?, ?)",
                    (written.ref, written.created_at, written.state, _to_json(written)),
                )
        except sqlite3.IntegrityError as error:
            raise SpecError(f"run {record.ref} is in the ledger already; every run needs a key of its own") from error
        return written

    def submitted(self, ref: str, native: Mapping[str, str]) -> Record:
        """Record that the backend has accepted the run, and what it calls it."""
        return self._change(ref, native=dict(native), submitted_at=self._clock(), state="queued")

    def never_started(self, ref: str, state: str, reason: str) -> Record:
        """Record that nothing was started under this ref and nothing will be.

        It was refused, or cancelled before that.
        """
        return self._change(ref, state=state, reason=reason)

    def over_budget(self, ref: str, reason: str) -> Record:
        """Record that a run is being cancelled because of its budget: its backend is only told to stop."""
        return self._change(ref, reason=reason)

    def ended(self, ref: str, outcome: Mapping[str, Any]) -> Record:
        """Record what the run took."""
        return self._change(ref, outcome=dict(outcome))

    def saw(self, *sightings: Sighting) -> None:
        """Record states that were just seen, and prices that providers have stated, in one transaction."""
        if not sightings:
            return
        with self._open() as db:
            for seen in sightings:
                db.execute("UPDATE runs SET state = ? WHERE ref = ? AND state <> ?", (seen.state, seen.ref, seen.state))
                if seen.price_usd is not None and self._get(db, seen.ref).price_usd != str(seen.price_usd):
                    _write(db, replace(self._get(db, seen.ref), price_usd=str(seen.price_usd)))

    def get(self, ref: str) -> Record:
        """Return the record of a run.

        Raises:
            RunNotFoundError: It isn't in the ledger.
            FtsdkError: Its record can't be read.
        """
        with self._open(is_read=True) as db:
            return self._get(db, ref)

    def list(self) -> list[Record]:
        """Return all records that can be read, the newest first."""
        return [record for record in self.entries() if isinstance(record, Record)]

    def entries(self) -> list[Record | UnreadableRecord]:
        """Return all runs, the newest first, those whose record can't be read included."""
        with self._open(is_read=True) as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY created_at DESC, ref").fetchall()
        return [_from_row(row) for row in rows]

    def _change(self, ref: str, **changes: Any) -> Record:
        with self._open() as db:
            record = replace(self._get(db, ref), **changes)
            _write(db, record)
        return record

    def _get(self, db: sqlite3.Connection, ref: str) -> Record:
        row = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE ref = ?", (ref,)).fetchone()
        if row is None:
            known = [r[0] for r in db.execute("SELECT ref FROM runs ORDER BY created_at DESC LIMIT 3")]
            newest = f"; the newest are {', '.join(known)}" if known else "; it is empty"
            raise RunNotFoundError(f"no run {ref!r} is in the ledger {self.path}{newest} (see `ftsdk runs`)")
        record = _from_row(row)
        if isinstance(record, UnreadableRecord):
            raise FtsdkError(f"the record of run {ref} in the ledger {self.path} can't be read: {record.reason}")
        return record

    @contextmanager
    def _open(self, *, is_read: bool = False) -> Generator[sqlite3.Connection]:
        # A connection for each call: it can be used from any thread, and nothing stays open.
        db: sqlite3.Connection | None = None
        try:
            make_folder(self.path.parent)
            if not self.path.exists():
                # Plans hold prompts and paths: readable by the owner only. SQLite gives its other files the same mode.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            self._prepare(db)
            db.execute("BEGIN" if is_read else "BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.OperationalError as error:
            raise FtsdkError(
                f"the ledger {self.path} can't be opened or written ({error}). Check the folder's permissions and the "
                "free space of its disk, "
                "or set FTSDK_HOME to another folder"
            ) from error
        except sqlite3.DatabaseError as error:
            raise FtsdkError(
                f"the ledger {self.path} is damaged ({error}). Restore it from a backup, or rename it to start a new "
                "one; "
                f"the files of local runs stay in {self.path.parent / 'runs'}"
            ) from error
        except OSError as error:
            raise FtsdkError(
                f"ftsdk's home {self.path.parent} can't be used ({error}). Set FTSDK_HOME to a folder that you can "
                "write to"
            ) from error
        finally:
            if db is not None:
                db.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Bring a new file to the current schema."""
        # SQLite doesn't wait for other processes when it turns a new file to WAL; whoever comes second must try again.
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                self._sleep(0.01)
            else:
                break
        db.execute("PRAGMA synchronous = FULL")
        version = _version_of(db)
        if version > _VERSION:
            raise FtsdkError(
                f"{self.path} was written by a newer ftsdk (version {version}, this one reads {_VERSION}); upgrade "
                "ftsdk"
            )
        if version < _VERSION:
            db.execute("BEGIN IMMEDIATE")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")


def _version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _write(db: sqlite3.Connection, record: Record) -> None:
    values = (record.submitted_at, record.state, _to_json(record), record.ref)
    db.execute("UPDATE runs SET submitted_at = ?, state = ?, record = ? WHERE ref = ?", values)


def _to_json(record: Record) -> str:
    return json.dumps(
        {
            "ref": record.ref,
            "name": record.name,
            "plan": record.plan,
            "options": dict(record.options),
            "evals": [dict(e) for e in record.evals],
            "native": dict(record.native),
            "price_usd": record.price_usd,
            "outcome": None if record.outcome is None else dict(record.outcome),
            "reason": record.reason,
        },
        ensure_ascii=False,
    )


def _from_row(row: tuple[str, str, float, float | None, str]) -> Record | UnreadableRecord:
    ref, text, created_at, submitted_at, state = row
    try:
        data: dict[str, Any] = json.loads(text)
        data["evals"] = tuple(data["evals"])
        record = Record(**data, created_at=created_at, submitted_at=submitted_at, state=state)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"damaged, or written by a newer ftsdk ({error})"
        return UnreadableRecord(ref=ref, created_at=created_at, state=state, reason=reason)
    return record
