"""What a job says of itself while it waits for nodes."""

from __future__ import annotations

import json
from typing import Any

from ftsdk.backends.hosted.launcher import QueuedJob

__all__ = ["waiting_from"]


def waiting_from(content: bytes | None, job_id: str) -> QueuedJob | None:
    """Return why a job waits, from the file that it keeps while it does; None if there is none."""
    try:
        said: Any = json.loads(content or b"")
        reason, is_blocked = str(said["reason"]), said["is_blocked"] is True
    except (ValueError, KeyError, TypeError):
        return None
    return QueuedJob(native="PENDING", reason=f"Ray job {job_id}: {reason}", is_blocked=is_blocked)
