"""The record of a launch on the run's Volume.

Written before the app is created, once it exists, and once the call is spawned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LAUNCH", "LaunchRecord", "app_name", "is_app_of_ours"]

LAUNCH = "launch.json"
_PREFIX = "ftsdk-"


@dataclass(frozen=True, kw_only=True)
class LaunchRecord:
    """The newest launch of a run. `app_id` and `call_id` are empty until they are known."""

    app: str
    """The app's name, which follows from the run's key."""
    token: str
    """Of this launch: a container that was started by another one does nothing."""
    client: str
    """The random id of the ftsdk home that launched it."""
    at: float
    """Seconds since the epoch, when it was written."""
    app_id: str = ""
    call_id: str = ""

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes | None) -> LaunchRecord | None:
        """Read a record; None if it is missing or damaged."""
        try:
            data: Mapping[str, Any] = json.loads(content or b"")
            texts = {name: str(data[name]) for name in cls.__dataclass_fields__ if name != "at"}
            return cls(**texts, at=float(data["at"]))
        except (ValueError, KeyError, TypeError):
            return None


def app_name(run_id: str) -> str:
    """Return the name of a run's app. Modal allows 64 characters; a longer key is cut and gets a digest."""
    if len(run_id) <= 56:
        return _PREFIX + run_id
    return f"{_PREFIX}{run_id[:42]}-{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"


def is_app_of_ours(name: str) -> bool:
    """Return whether an app has a name of the kind that ftsdk gives."""
    return name.startswith(_PREFIX)
