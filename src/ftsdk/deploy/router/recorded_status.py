"""How a route stands, read from its folder: for processes that aren't the router."""

from __future__ import annotations

from typing import Any

from ftsdk.deploy.router.config import RouterConfig
from ftsdk.deploy.router.record_totals import RecordTotals
from ftsdk.deploy.router.trial import Trial

__all__ = ["recorded_status"]


def recorded_status(config: RouterConfig) -> dict[str, Any]:
    """Return the alias and the samples of its rollout, in the form of `RouterService.status`. Writes nothing.

    Raises:
        SpecError: A file can't be read.
    """
    alias = config.alias_file().read() or config.new_alias(at=0.0)
    trial = Trial(alias, config.rule)
    if trial.is_on:
        samples = RecordTotals.read(config.folder, since=alias.at).samples(alias.rollout)
        trial.restore(samples, is_judged=config.judge is not None)
    return {
        "route": config.name,
        "alias": alias.all_fields(),
        "trial": trial.to_dict() if trial.is_on else None,
        "not_watched": list(config.not_watched),
        "targets": {name: {"url": one.url, "model": one.model} for name, one in config.targets.items()},
    }
