"""Changing who answers, from any process: each change is one write, with a line in the records."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ftsdk.deploy.router.alias import Alias
from ftsdk.deploy.router.config import RouterConfig
from ftsdk.deploy.router.records import RecordLog
from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = ["promote", "roll_back", "switch"]


def switch(
    config: RouterConfig, champion: str | None = None, *, canary: str | None = None, share: float = 0.0, reason: str
) -> Alias:
    """Name a champion, and a canary with its share; see `Router.switch`.

    Raises:
        SpecError: No such target, a share without a canary, or neither is named.
    """
    check_amount("share", share, at_least=0, at_most=1)
    if champion is None and canary is None:
        raise SpecError("name a champion, a canary, or both")
    if (canary is None) != (share == 0):
        raise SpecError("a canary and its share go together, such as --canary v4 --share 0.05")
    for name in (champion, canary):
        if name is not None:
            config.check_target(name)
    return _change(
        config,
        "switch",
        lambda before: before.next(
            champion=champion or before.champion, canary=canary, share=float(share), reason=reason, at=time.time()
        ),
    )


def promote(config: RouterConfig, *, reason: str) -> Alias:
    """Make the canary the champion.

    Raises:
        SpecError: There is none.
    """
    return _change(config, "promote", lambda before: before.promoted(reason=reason, at=time.time()))


def roll_back(config: RouterConfig, *, reason: str) -> Alias:
    """Turn back the canary.

    Raises:
        SpecError: There is none.
    """
    return _change(config, "rollback", lambda before: before.rolled_back(reason=reason, at=time.time()))


def _change(config: RouterConfig, why: str, make: Callable[[Alias], Alias]) -> Alias:
    first = config.initial_alias()
    before, after = config.alias_file().change(lambda before: make(before or first))
    log = RecordLog(Path(config.folder))
    log.append(
        {
            "kind": "switch",
            "at": after.at,
            "route": config.name,
            "from": before.canary if before is not None and why == "rollback" else (before or first).champion,
            "to": after.champion,
            "canary": after.canary,
            "share": after.share,
            "why": why,
            "reason": after.reason,
            "rollout": after.rollout,
            "before": (before or first).rollout,
            "evidence": None,
        }
    )
    log.close()
    return after
