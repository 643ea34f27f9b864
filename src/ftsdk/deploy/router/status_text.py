"""The status of a router, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk._rich_text import rich_text
from ftsdk.deploy.router.alias import Alias

__all__ = ["RouterStatus"]


class RouterStatus:
    """How a router stands. Print it."""

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
        for name, target in (fields.get("targets") or {}).items():
            lines.append(f"  {name}: {target['model']} at {target['url']}, breaker {_breaker(target)}")
        trial = fields.get("trial")
        if trial:
            pairs = trial["pairs"]
            lines.append(
                f"  trial: {sum(pairs.values())} pairs; only the champion's answer was accepted in "
                f"{pairs['champion_only']}, only the canary's in {pairs['canary_only']}; evidence that the canary is "
                f"worse {trial['evidence_worse']:.3g}, better {trial['evidence_better']:.3g}; "
                f"{trial['evidence_needed']:.3g} decides"
            )
            if trial["could_be_promoted"]:
                lines.append("  it could be promoted: ftsdk route promote FILE")
        if fields.get("not_watched"):
            lines.append(f"  conditions of the gate that live traffic can't check: {', '.join(fields['not_watched'])}")
        return "\n".join(lines)

    __rich__ = rich_text


def _breaker(target: Mapping[str, Any]) -> str:
    times = target["opened"]
    return target["breaker"] if not times else f"{target['breaker']} (opened {times} time{'' if times == 1 else 's'})"
