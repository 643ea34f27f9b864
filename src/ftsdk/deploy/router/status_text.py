"""The status of a router as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk._rich_text import rich_text
from ftsdk.deploy.router.alias import Alias

__all__ = ["RouterStatus"]


class RouterStatus:
    """The status of a router. Print it."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Keep what the router, or its address `/status`, has said."""
        self._fields = dict(fields)

    @property
    def alias(self) -> Alias:
        """Who answers."""
        return Alias.from_dict(self._fields["alias"])

    @property
    def dropped(self) -> int:
        """Calls of observers that were left out, because they were too slow."""
        return int(self._fields.get("dropped", 0))

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain data."""
        return dict(self._fields)

    def __str__(self) -> str:
        fields = self._fields
        lines = [f"{fields['route']}: {self.alias}"]
        lines += [f"  {name}: {_target(target)}" for name, target in (fields.get("targets") or {}).items()]
        if trial := fields.get("trial"):
            lines += [f"  {line}" for line in _trial(trial, self.alias)]
        if fields.get("not_watched"):
            lines.append(f"  conditions of the gate that live traffic can't check: {', '.join(fields['not_watched'])}")
        return "\n".join(lines)

    __rich__ = rich_text


def _target(target: Mapping[str, Any]) -> str:
    text = f"{target['model']} at {target['url']}"
    if "breaker" not in target:  # as told by another process than the router
        return text
    times = target["opened"]
    opened = f" (opened {times} time{'' if times == 1 else 's'})" if times else ""
    return f"{text}, breaker {target['breaker']}{opened}"


def _trial(trial: Mapping[str, Any], alias: Alias) -> list[str]:
    pairs, limit = trial["pairs"], trial["limit"]
    many = sum(pairs.values())
    lines = ["trial: no pairs of answers yet; `shadow` makes them"]
    if many:
        lines = [
            f"trial: {many} pair{'' if many == 1 else 's'} of answers; only {alias.champion}'s was accepted in "
            f"{pairs['champion_only']}, only {alias.canary}'s in {pairs['canary_only']}",
            f"evidence that {alias.canary} is worse: {trial['evidence_worse']:.3g}, better: "
            f"{trial['evidence_better']:.3g}; {trial['evidence_needed']:.3g} decides",
        ]
    judged = limit["accepted"] + limit["rejected"]
    if limit["at_least"] is not None:
        lines.append(
            f"gate: {limit['accepted']} of {judged} answers of {alias.canary} were accepted; at least "
            f"{limit['at_least']:.0%} are required"
        )
    if trial["could_be_promoted"]:
        lines.append("it could be promoted: ftsdk route promote FILE")
    return lines
