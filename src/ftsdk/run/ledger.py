"""The ledger: what was asked of whom, written down before it is asked.

One SQLite file in WAL mode, one table, one row a run. A run is first *intended* and then *submitted*; a row that was
never submitted tells a later process to look for the run under the same key before it asks again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._home import home
from ftsdk.errors import FtsdkError, RunNotFoundError, SpecError

__all__ = ["Ledger", "Record"]

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


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run in the ledger."""

    ref: str
    """`local:20261123-ab12cd`: the backend's name, and the key that the run was submitted under."""
    name: str | None
    plan: Mapping[str, Any]
    """The plan as JSON: what was asked for can be asked for again, to the letter."""
    options: Mapping[str, Any]
    """Arguments that rebuild the backend."""
    evals: tuple[Mapping[str, Any], ...] = ()
    native: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the backend calls the run, once it has said so."""
    created_at: float = 0.0
    submitted_at: float | None = None
    state: str = "intended"
    """The state when somebody last looked; the backend knows better."""
    price_usd: str | None = None
    """What the run has cost in US dollars, exact, once the place has said so."""
    reason: str = ""
    """Why a run is over, where its backend can't say it: it never started, or it was cancelled because it had cost as much as it may."""
    outcome: Mapping[str, Any] | None = None
    """What the run has taken, once it was seen to end; what was estimated is in `plan`."""


class Ledger:
    """The runs that this user started, from any process.

    Args:
        path: The file; None means `ledger.sqlite` in ftsdk's home.
        clock: Seconds since the epoch.
    """

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path or home() / "ledger.sqlite"
        self._clock = clock

    def intend(self, record: Record) -> Record:
        """Write down a run that is about to be submitted. It is on disk when this returns.

        Raises:
            SpecError: A run with this ref is in the ledger already.
        """
        written = _replace(record, created_at=self._clock(), state="intended")
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
        """Note that the backend has taken the run, and what it calls it."""
        with self._open() as db:
            record = _replace(self._get(db, ref), native=dict(native), submitted_at=self._clock(), state="queued")
            db.execute(
                "UPDATE runs SET submitted_at = ?, state = ?, record = ? WHERE ref = ?", (record.submitted_at, record.state, _to_json(record), ref)
            )
        return record

    def never_started(self, ref: str, state: str, reason: str) -> Record:
        """Note that nothing was started under this ref and nothing will be: it was refused, or cancelled before that."""
        with self._open() as db:
            record = _replace(self._get(db, ref), state=state, reason=reason)
            db.execute("UPDATE runs SET state = ?, record = ? WHERE ref = ?", (state, _to_json(record), ref))
        return record

    def over_budget(self, ref: str, reason: str) -> Record:
        """Note that a run is being cancelled because of its budget: its backend hears only that it is to stop."""
        with self._open() as db:
            record = _replace(self._get(db, ref), reason=reason)
            db.execute("UPDATE runs SET record = ? WHERE ref = ?", (_to_json(record), ref))
        return record

    def saw(self, ref: str, state: str, *, price_usd: Decimal | None = None) -> None:
        """Note the state that was last seen, and what the run has cost if the place has said so."""
        with self._open() as db:
            db.execute("UPDATE runs SET state = ? WHERE ref = ? AND state <> ?", (state, ref, state))
            if price_usd is not None:
                record = self._get(db, ref)
                if record.price_usd != str(price_usd):
                    db.execute("UPDATE runs SET record = ? WHERE ref = ?", (_to_json(_replace(record, price_usd=str(price_usd))), ref))

    def ended(self, ref: str, outcome: Mapping[str, Any]) -> Record:
        """Note what the run has taken."""
        with self._open() as db:
            record = _replace(self._get(db, ref), outcome=dict(outcome))
            db.execute("UPDATE runs SET record = ? WHERE ref = ?", (_to_json(record), ref))
        return record

    def get(self, ref: str) -> Record:
        """Find a run.

        Raises:
            RunNotFoundError: It isn't in the ledger.
        """
        with self._open() as db:
            return self._get(db, ref)

    def list(self) -> list[Record]:
        """List all runs, the newest first."""
        with self._open() as db:
            rows = db.execute("SELECT record, created_at, submitted_at, state FROM runs ORDER BY created_at DESC, ref").fetchall()
        return [_from_row(row) for row in rows]

    @staticmethod
    def _get(db: sqlite3.Connection, ref: str) -> Record:
        row = db.execute("SELECT record, created_at, submitted_at, state FROM runs WHERE ref = ?", (ref,)).fetchone()
        if row is None:
            known = [r[0] for r in db.execute("SELECT ref FROM runs ORDER BY created_at DESC LIMIT 3")]
            newest = f"; the newest are {', '.join(known)}" if known else "; it is empty"
            raise RunNotFoundError(f"no run {ref!r} is in the ledger{newest} (see `ftsdk runs`)")
        return _from_row(row)

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A connection for each call: it can be used from any thread, and nothing stays open. 30 s is far longer than any
        # write here takes, so two clients wait for each other and neither fails.
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise FtsdkError(f"{self.path} was written by a newer ftsdk (version {version}, this one reads {_VERSION}); upgrade ftsdk")
            db.execute("BEGIN IMMEDIATE")
            if version < _VERSION:
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            yield db
            db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.OperationalError):
                raise
            raise FtsdkError(f"the ledger {self.path} can't be read ({error}); move it aside: runs can still be opened by their ref") from error
        finally:
            db.close()


def _replace(record: Record, **changes: Any) -> Record:
    from dataclasses import replace

    return replace(record, **changes)


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


def _from_row(row: tuple[str, float, float | None, str]) -> Record:
    text, created_at, submitted_at, state = row
    data: dict[str, Any] = json.loads(text)
    data["evals"] = tuple(data["evals"])
    return Record(**data, created_at=created_at, submitted_at=submitted_at, state=state)
