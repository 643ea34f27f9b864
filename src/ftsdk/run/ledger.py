"""The ledger: every run that this user started, written down before the first request to its backend.

One SQLite file in WAL mode, one table, one row per run. A run is first *intended* and then *submitted*. A row that was
never submitted tells a later process to look for the run under the same key before it submits again.

Each record is also in its run's folder (`ftsdk.run.record_copies`), from which a lost or damaged file is rebuilt.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._files import make_folder
from ftsdk._home import home
from ftsdk.errors import FtsdkError, RunNotFoundError, SpecError
from ftsdk.run.record import NewerRecord, Record, UnreadableRecord, record_from_json, record_to_json
from ftsdk.run.record_copies import read_copies, remove_copy, write_copy

__all__ = ["Ledger", "Record", "Sighting", "UnreadableRecord"]

_log = logging.getLogger(__name__)
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
_SIDE_FILES = ("", "-wal", "-shm")
"""What follows the ledger's name in the names of its files."""
_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_NOT_WRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_NO_SPACE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS})

_Row = tuple[str, str, float, float | None, str]
"""The columns of a row."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """The state of a run when last seen at its backend."""

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
                    f"INSERT INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
                    _row_of(written),
                )
                write_copy(self.path.parent, written)
        except sqlite3.IntegrityError as error:
            raise SpecError(f"run {record.ref} is in the ledger already; every run needs a key of its own") from error
        return written

    def submitted(self, ref: str, native: Mapping[str, str]) -> Record:
        """Record that the backend has accepted the run, and what it calls it."""
        return self._change(ref, native=dict(native), submitted_at=self._clock(), state="queued", reason="")

    def note(self, ref: str, reason: str) -> Record:
        """Record why a run wasn't submitted yet."""
        return self._change(ref, reason=reason)

    def never_started(self, ref: str, state: str, reason: str) -> Record:
        """Record that nothing was started under this ref and nothing will be.

        It was refused, or cancelled before that.
        """
        return self._change(ref, state=state, reason=reason)

    def over_budget(self, ref: str, reason: str) -> Record:
        """Record that a run is being cancelled because of its budget: its backend only knows that it must stop."""
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
                    _put(db, replace(self._get(db, seen.ref), price_usd=str(seen.price_usd)))

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

    def remove(self, ref: str) -> None:
        """Forget a run, whether or not its record can be read. Its other files stay."""
        with self._open() as db:
            db.execute("DELETE FROM runs WHERE ref = ?", (ref,))
            remove_copy(self.path.parent, ref)

    def rebuild(self) -> Path | None:
        """Fill the ledger from the runs' folders. A damaged file is kept beside the new one.

        A ledger that is whole only gets the runs that it lacks, and the records that can't be read in it.

        Returns:
            Where the damaged file is now; None if it wasn't damaged.

        Raises:
            FtsdkError: The ledger is in use, was written by a newer ftsdk, or can't be written.
        """
        if not self._is_damaged():
            with self._open() as db:
                self._fill(db)
            return None
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            for suffix in _SIDE_FILES:
                part = self.path.with_name(self.path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            raise FtsdkError(f"the damaged ledger {self.path} can't be renamed ({error}); do it by hand") from error
        _log.warning("the damaged ledger is kept as %s", aside)
        with self._open() as db:
            for row in _readable_rows(aside):
                if isinstance(record := _from_row(row), Record):
                    _put(db, record)
                else:  # a newer ftsdk may be able to read it
                    with suppress(sqlite3.IntegrityError):
                        db.execute(f"INSERT OR IGNORE INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
        return aside

    def restore(self, record: Record) -> None:
        """Write down a run whose record was lost, and that was found again in its folder."""
        with self._open() as db:
            _put(db, record)
            write_copy(self.path.parent, record)

    def _is_damaged(self) -> bool:
        try:
            with self._open(is_read=True) as db:
                return db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except FtsdkError as error:
            if isinstance(error.__cause__, sqlite3.Error) and _is_damage(error.__cause__):
                return True
            raise

    def _fill(self, db: sqlite3.Connection) -> None:
        """Add the runs that have a folder and no readable record."""
        rows: Iterator[_Row] = db.execute(f"SELECT {_COLUMNS} FROM runs")
        known = {row[0] for row in rows if isinstance(_from_row(row), Record)}
        for record in read_copies(self.path.parent):
            if record.ref not in known:
                _put(db, record)

    def _change(self, ref: str, **changes: Any) -> Record:
        with self._open() as db:
            record = replace(self._get(db, ref), **changes)
            _put(db, record)
            write_copy(self.path.parent, record)
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
            elif not self.path.is_file():
                raise FtsdkError(f"{self.path} should be the ledger and isn't a file: rename it, or set FTSDK_HOME")
            db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            self._prepare(db)
            db.execute("BEGIN" if is_read else "BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise FtsdkError(f"the ledger {self.path} {self._advice(error)}") from error
        except OSError as error:
            raise FtsdkError(
                f"ftsdk's home {self.path.parent} can't be used ({error}). Set FTSDK_HOME to a folder that you can "
                "write to"
            ) from error
        finally:
            if db is not None:
                db.close()

    def _advice(self, error: sqlite3.Error) -> str:
        """Return what is wrong with the file, and what to do about it."""
        code = _code(error)
        if code in _IN_USE:
            return (
                f"has been in use by another process for {_BUSY_S:g} s ({error}). Try again later, or stop that process"
            )
        if code in _NOT_WRITABLE:
            return (
                f"can't be opened for writing ({error}). Check the permissions of the file and its folder, or set "
                "FTSDK_HOME to another folder"
            )
        if code in _NO_SPACE:
            return (
                f"can't be read or written ({error}). Check the free space and the health of its disk, or set "
                "FTSDK_HOME to another folder"
            )
        return (
            f"is damaged ({error}). `ftsdk runs --rebuild`, or ftsdk.runs(rebuild=True), keeps the file under another "
            f"name and makes a new one from the runs' folders in {self.path.parent / 'runs'}"
        )

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
            if _version_of(db) < _VERSION:  # otherwise another process was quicker
                db.execute(_SCHEMA)
                # A ledger that was lost comes back with the runs that still have a folder.
                self._fill(db)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")


def _version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 if the error has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) not in _IN_USE | _NOT_WRITABLE | _NO_SPACE


def _readable_rows(path: Path) -> Iterator[_Row]:
    """Yield the rows of a damaged ledger, up to the first that SQLite can't read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            yield from db.execute(f"SELECT {_COLUMNS} FROM runs")
    except sqlite3.Error:
        return


def _put(db: sqlite3.Connection, record: Record) -> None:
    db.execute(f"INSERT OR REPLACE INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", _row_of(record))


def _row_of(record: Record) -> _Row:
    return record.ref, record_to_json(record), record.created_at, record.submitted_at, record.state


def _from_row(row: _Row) -> Record | UnreadableRecord:
    ref, text, created_at, submitted_at, state = row
    try:
        return record_from_json(text, ref=ref, created_at=created_at, submitted_at=submitted_at, state=state)
    except ValueError as error:
        is_newer = isinstance(error, NewerRecord)
        reason = (
            f"written by a newer ftsdk ({error}); upgrade ftsdk"
            if is_newer
            else f"damaged, or written by a newer ftsdk ({error}); see `ftsdk runs --rebuild`"
        )
        return UnreadableRecord(ref=ref, created_at=created_at, state=state, reason=reason, is_damaged=not is_newer)
