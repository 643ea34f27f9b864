"""The alias of a router: which version answers, which is on trial, and why. One file, replaced whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Generator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ftsdk._files import make_folder, read_regular_file, replace_file
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.spec import Value

__all__ = ["Alias", "AliasFile", "StaleRollout", "is_in_canary", "locked"]

_MOST_BYTES = 1 << 20
_LOOK_EVERY_S = 0.05


class StaleRollout(SpecError):
    """The alias has changed since: what was decided by its samples counts no more."""


class Alias(Value):
    """Who answers. A new value, with a rollout of its own, for every change."""

    rollout: str
    """The id of this state; samples of another one never count for it."""
    champion: str
    """The target that is asked first."""
    canary: str | None = None
    """The target on trial; None: there is none."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of conversations that the canary answers."""
    reason: str = "configured"
    at: float = 0.0
    """When it was written, in seconds since the epoch."""
    evidence: dict[str, Any] | None = None
    """What a rollback or a promotion was decided by."""
    made_for: str = ""
    """A fingerprint of the configuration that it was made for: another one starts anew."""

    @model_validator(mode="after")
    def _check_canary(self) -> Self:
        if self.canary == self.champion:
            raise ValueError("names the same target as champion and canary")
        if self.share and self.canary is None:
            raise ValueError("has a share and no canary")
        return self

    def __str__(self) -> str:
        trial = "" if self.canary is None else f", canary {self.canary} ({100 * self.share:.3g}% of conversations)"
        return f"champion {self.champion}{trial}; {self.reason} (rollout {self.rollout})"

    __rich__ = rich_text

    def is_among(self, targets: Collection[str]) -> bool:
        """Return whether all that it names are targets."""
        return self.champion in targets and (self.canary is None or self.canary in targets)

    def all_fields(self) -> dict[str, Any]:
        """Return every field, also those with their default: for what other programs read."""
        return self.model_dump(mode="json", exclude={"made_for"})

    def next(
        self,
        *,
        champion: str,
        canary: str | None = None,
        share: float = 0.0,
        reason: str,
        at: float,
        evidence: Mapping[str, Any] | None = None,
    ) -> Alias:
        """Return the state that follows this one."""
        return Alias(
            rollout=new_rollout(),
            champion=champion,
            canary=canary,
            share=share,
            reason=reason,
            at=at,
            evidence=None if evidence is None else dict(evidence),
            made_for=self.made_for,
        )

    def promoted(self, *, reason: str, at: float, evidence: Mapping[str, Any] | None = None) -> Alias:
        """Return the state in which the canary is the champion.

        Raises:
            SpecError: There is no canary.
        """
        if self.canary is None:
            raise SpecError(
                "there is no canary to promote; start one: ftsdk route switch FILE --canary NAME --share 0.05"
            )
        return self.next(champion=self.canary, reason=reason, at=at, evidence=evidence)

    def rolled_back(self, *, reason: str, at: float, evidence: Mapping[str, Any] | None = None) -> Alias:
        """Return the state without the canary.

        Raises:
            SpecError: There is no canary.
        """
        if self.canary is None:
            raise SpecError(
                "there is no canary to roll back; to make another target the champion: ftsdk route switch FILE NAME"
            )
        return self.next(champion=self.champion, reason=reason, at=at, evidence=evidence)


def new_rollout() -> str:
    """Return an id that no other rollout has."""
    return f"r-{uuid.uuid4().hex[:12]}"


def is_in_canary(alias: Alias, conversation: str) -> bool:
    """Return whether the canary answers a conversation: the same one always, and still if the share grows."""
    if alias.canary is None or not alias.share:
        return False
    digest = hashlib.blake2b(f"{alias.canary}\0{conversation}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) < alias.share * 2**64


class AliasFile:
    """The file `state.json` in a router's folder. Any number of processes may read and change it."""

    def __init__(
        self, folder: Path, *, targets: Collection[str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the folder; nothing is read yet.

        Args:
            folder: The router's.
            targets: Those that requests can be sent to; None: not looked at.
            clock: Seconds since the epoch.
        """
        self.path = folder / "state.json"
        self._targets = targets
        self._clock = clock
        self._known: tuple[tuple[int, int], Alias] | None = None
        self._looked = 0.0

    def read(self) -> Alias | None:
        """Return the state; None: there is none yet.

        Raises:
            SpecError: The file can't be read, or isn't such a state.
        """
        try:
            content = read_regular_file(self.path, most_bytes=_MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SpecError(f"{self.path} can't be read: {error.strerror or error}") from error
        try:
            fields: Any = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{self.path} isn't JSON: {error}; remove it to start from the configuration") from error
        if not isinstance(fields, dict):
            raise SpecError(f"{self.path} isn't the state of a router; remove it to start from the configuration")
        return Alias.from_dict(fields)

    def current(self, now: float) -> Alias:
        """Return the state for a request: of the last look, if that was a moment ago.

        Args:
            now: Seconds of a clock that only goes forward.

        Raises:
            SpecError: There is none, or it couldn't ever be read. A file that is damaged later, or names a target of
                another configuration, changes nothing.
        """
        if self._known is not None and now - self._looked < _LOOK_EVERY_S:
            return self._known[1]
        self._looked = now
        try:
            found = self.path.stat()
            mark = (found.st_mtime_ns, found.st_ino)
            if self._known is None or self._known[0] != mark:
                alias = self.read()
                if alias is not None and (self._targets is None or alias.is_among(self._targets)):
                    self._known = (mark, alias)
        except (OSError, SpecError):
            if self._known is None:
                raise
        if self._known is None:
            raise SpecError(f"{self.path} doesn't exist; start the router once")
        return self._known[1]

    def change(
        self, make: Callable[[Alias | None], Alias], *, only_if: str | None = None
    ) -> tuple[Alias | None, Alias]:
        """Replace the state by what `make` returns for it, in one write, and return both.

        Args:
            make: Gets the state as it is now, while no other process can change it.
            only_if: Raise if the rollout in force isn't this one.

        Raises:
            StaleRollout: It isn't.
            SpecError: The file can't be written.
        """
        with locked(self.path.with_name("state.lock")):
            before = self.read()
            if only_if is not None and (before is None or before.rollout != only_if):
                raise StaleRollout(f"the alias in {self.path} was changed meanwhile; nothing was done")
            after = make(before)
            if after != before:
                try:
                    replace_file(self.path, json.dumps(after.to_dict(), indent=2).encode())
                except OSError as error:
                    raise SpecError(f"{self.path} can't be written: {error.strerror or error}") from error
        self._looked = 0.0
        return before, after


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Generator[None]:
    """Hold a lock between processes while the block runs; it ends with the process, however that ends.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is False.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
