"""The configuration of a router: checked, and without anything that runs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ftsdk._files import RUN_ID_RULE, is_run_id
from ftsdk._home import home
from ftsdk.deploy.router.alias import Alias, AliasFile, new_rollout
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.contract import Contract, Validator
from ftsdk.deploy.router.dispatch import Measure
from ftsdk.deploy.router.rollout_watch import Judge
from ftsdk.deploy.router.trial import TrialRule, rule_of
from ftsdk.errors import SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.gate import Gate
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import nearest

__all__ = ["RouterConfig", "router_config"]


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """Everything that a router is told."""

    name: str
    folder: Path
    targets: Mapping[str, Endpoint]
    """All targets by name, fallbacks too."""
    champion: str
    canary: str | None
    share: float
    fallbacks: tuple[str, ...]
    contract: Contract
    judge: Judge | None
    shadow: float
    rule: TrialRule
    not_watched: tuple[str, ...]
    """Conditions of the gate that live answers don't show."""
    timeout_s: float
    usd_per_day: Decimal | None
    fallback_usd_per_hour: Decimal | None
    breaker: BreakerRule
    observers: tuple[object, ...] = ()
    measure: Measure | None = None
    lock_wait_s: float = 0.0

    def alias_file(self) -> AliasFile:
        """Return the file with the alias."""
        return AliasFile(self.folder, targets=self.targets)

    def initial_alias(self) -> Alias:
        """Return the alias in force: the one on file if it was made for this configuration, else a new one.

        Raises:
            SpecError: The file can't be read or written.
        """
        mark = self._mark()

        def start(before: Alias | None) -> Alias:
            is_same = before is not None and before.made_for == mark and before.is_among(self.targets)
            return before if is_same and before is not None else self.new_alias(at=time.time())

        return self.alias_file().change(start)[1]

    def new_alias(self, *, at: float) -> Alias:
        """Return the alias that the configuration asks for."""
        return Alias(
            rollout=new_rollout(),
            champion=self.champion,
            canary=self.canary,
            share=self.share,
            reason="configured",
            at=at,
            made_for=self._mark(),
        )

    def check_target(self, name: str) -> None:
        """Raise unless a target has this name.

        Raises:
            SpecError: It names the nearest.
        """
        if name not in self.targets:
            raise SpecError(f"no target is called {name!r}{nearest(name, list(self.targets))}")

    def _mark(self) -> str:
        """Return a fingerprint of what the alias is made from: the versions and the share."""
        made_of = [sorted(self.targets), self.champion, self.canary, self.share]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def router_config(
    target: Endpoint | Mapping[str, Endpoint],
    *,
    fallback: Endpoint | Mapping[str, Endpoint] | None,
    canary: float,
    gate: Gate | None,
    name: str,
    folder: str | Path | None,
    schema: Mapping[str, object] | None,
    validator: Validator | None,
    judge: Judge | None,
    shadow: float,
    timeout_s: float,
    usd_per_day: Decimal | float | None,
    fallback_usd_per_hour: Decimal | float | None,
    accepts_cut: bool,
    uses_feedback: bool,
    promotes: bool,
    breaker: BreakerRule | None,
    observers: Sequence[object],
    measure: Measure | None,
    lock_wait_s: float,
) -> RouterConfig:
    """Return a checked configuration; see `Router`.

    Raises:
        SpecError: Something in it can't be, and what.
        MissingExtraError: A schema needs the extra `evals`.
    """
    check_amount("canary", canary, at_least=0, at_most=1)
    check_amount("shadow", shadow, at_least=0, at_most=1)
    check_amount("timeout_s", timeout_s, above=0, at_most=86_400)
    for label, usd in (("usd_per_day", usd_per_day), ("fallback_usd_per_hour", fallback_usd_per_hour)):
        if usd is not None:
            check_amount(label, usd, above=0)
    if folder is not None and "\0" in str(folder):
        raise SpecError(f"folder={str(folder)!r} can't name a folder")
    if not is_run_id(name):
        raise SpecError(f"name={name!r} can't name a folder: {RUN_ID_RULE}")
    versions = _named(target, "tuned")
    fallbacks = {} if fallback is None else _named(fallback, "fallback")
    if both := set(versions) & set(fallbacks):
        raise SpecError(f"{', '.join(sorted(both))} names a version and a fallback; name them differently")
    champion, on_trial = _roles(list(versions), list(fallbacks), canary)
    targets = {**versions, **fallbacks}
    _check_prices(targets, list(fallbacks), usd_per_day, fallback_usd_per_hour, has_copies=bool(canary and shadow))
    contract = Contract(schema=schema, validator=validator, accepts_cut=accepts_cut)
    contract.check()
    rule, not_watched = rule_of(gate, uses_feedback=uses_feedback, promotes=promotes)
    return RouterConfig(
        name=name,
        folder=home() / "routes" / name if folder is None else Path(folder).expanduser().resolve(),
        targets=targets,
        champion=champion,
        canary=on_trial,
        share=float(canary) if on_trial is not None else 0.0,
        fallbacks=tuple(fallbacks),
        contract=contract,
        judge=judge,
        shadow=float(shadow),
        rule=rule,
        not_watched=tuple(not_watched),
        timeout_s=float(timeout_s),
        usd_per_day=None if usd_per_day is None else Decimal(str(usd_per_day)),
        fallback_usd_per_hour=None if fallback_usd_per_hour is None else Decimal(str(fallback_usd_per_hour)),
        breaker=breaker or BreakerRule(),
        observers=tuple(observers),
        measure=measure,
        lock_wait_s=lock_wait_s,
    )


def _named(given: Endpoint | Mapping[str, Endpoint], name: str) -> dict[str, Endpoint]:
    found = {name: given} if isinstance(given, Endpoint) else dict(given)
    if not found:
        raise SpecError(f"{name} has no endpoint")
    for key, endpoint in found.items():
        if not is_run_id(key):
            raise SpecError(f"{key!r} can't name a target: {RUN_ID_RULE}")
        if not isinstance(endpoint, Endpoint):  # pyright: ignore[reportUnnecessaryIsInstance] - not everybody checks types
            raise SpecError(f"the target {key!r} must be an Endpoint; got {type(endpoint).__name__}")
    return found


def _roles(versions: list[str], fallbacks: list[str], canary: float) -> tuple[str, str | None]:
    """Return champion and canary: of two versions the second, and a single one beside the fallback."""
    if len(versions) > 2:
        raise SpecError(f"a router has a champion and at most one canary; got {', '.join(versions)}")
    if len(versions) == 2:
        return versions[0], versions[1] if canary else None
    if not canary:
        return versions[0], None
    if not fallbacks:
        raise SpecError(
            f"canary={canary:g} needs something to compare with: a second version, such as "
            "Router({'v3': ..., 'v4': ...}), or a fallback"
        )
    return fallbacks[0], versions[0]


def _check_prices(
    targets: Mapping[str, Endpoint],
    fallbacks: list[str],
    usd_per_day: Decimal | float | None,
    fallback_usd_per_hour: Decimal | float | None,
    *,
    has_copies: bool,
) -> None:
    bound: dict[str, str] = {}
    if usd_per_day is not None:
        bound = dict.fromkeys(targets, "usd_per_day")
    elif fallback_usd_per_hour is not None:
        bound = dict.fromkeys(targets if has_copies else fallbacks, "fallback_usd_per_hour")
    unpriced = [name for name in bound if targets[name].price is None]
    if unpriced:
        raise SpecError(
            f"{bound[unpriced[0]]} can't be enforced, because the price of {' and '.join(unpriced)} isn't known. For a "
            "server of your own: Endpoint(price=TokenPrice(input_usd_per_mtok=0, output_usd_per_mtok=0))"
            ", or in a file price: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}. For an API: "
            "price=api_price(...).token_price(), or in a file price_of: PROVIDER/MODEL"
        )
