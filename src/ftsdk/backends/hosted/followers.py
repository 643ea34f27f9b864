"""The other hosts of a cluster: each runs its share of the ranks, as the first host decided."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.ranks import ATTEMPT, Cluster, run_agent
from ftsdk.backends.hosted.worker import REQUEST

__all__ = ["FirstHostMissing", "follow"]

_MEETING_S = 600.0
"""How long the other hosts wait for the first, in seconds."""


class FirstHostMissing(RuntimeError):
    """The first host decided nothing in time; a new attempt may cure that."""


def follow(
    folder: Path,
    cluster: Cluster,
    *,
    reload: Callable[[], None],
    run_ranks: Callable[..., int] = run_agent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Run the ranks of a host that isn't the first, once the first host has chosen the checkpoint to resume from.

    Args:
        folder: The run's.
        cluster: The hosts: what the first one decided is recognised by their meeting, which is new for each attempt.
        reload: Shows what other hosts have written.
        run_ranks: Runs the ranks and waits for them.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.

    Raises:
        FirstHostMissing: The first host decided nothing.
    """
    deadline = clock() + _MEETING_S
    while True:
        reload()
        file = folder / ATTEMPT
        if file.exists() and json.loads(file.read_bytes()).get("meeting") == cluster.meeting:
            break
        if clock() >= deadline:
            raise FirstHostMissing(
                f"host {cluster.rank} waited {_MEETING_S:g} s for the first host, which didn't start; try again"
            )
        sleep(2.0)
    request = json.loads((folder / REQUEST).read_bytes())
    return {
        "outcome": "followed",
        "status": run_ranks(folder, processes=request["launch"]["processes"], cluster=cluster),
    }
