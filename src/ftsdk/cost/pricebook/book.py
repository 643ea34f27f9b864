"""The price book: dated prices in layers, of which exactly one answers a question, or an error that names the nearest.

Layers, later wins: packaged, the user's file, the project's file, the call. Within a layer the newest price that is in
force wins.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from ftsdk._rich_text import rich_text
from ftsdk._yaml import parse_yaml
from ftsdk.cost.pricebook.price import Day, Layer, Price, Unit, unknown_unit
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["BillingRule", "Conflict", "PriceBook", "parse_rows", "project_file", "user_file"]

_LAYERS: tuple[Layer, ...] = get_args(Layer)


class Conflict(Value):
    """Sources that disagree about a price, in words."""

    provider: str
    sku: str
    """The sku, or its beginning followed by `*`."""
    says: str

    def concerns(self, provider: str, sku: str) -> bool:
        """Return whether this is about that price."""
        return self.provider == provider and (
            sku.startswith(self.sku[:-1]) if self.sku.endswith("*") else sku == self.sku
        )


class BillingRule(Value):
    """How a provider turns use into a bill, beside the rates."""

    provider: str
    service: str
    """finetune, gpu or endpoint."""
    source: str
    as_of: Day
    step_s: int | None = None
    """Time is billed in steps of so many seconds, rounded up; None: not known, taken as exact."""
    is_idle_billed: bool | None = None
    is_cold_start_billed: bool | None = None
    scales_to_zero: bool | None = None
    """These prices are for GPUs that stop, and aren't billed, when idle; None: no source says so."""
    are_unpacked_rows_padded: bool | None = None
    """Without packing, every row is billed as `max_length` tokens."""
    are_evaluations_billed: bool | None = None
    minimum_sku: str | None = None
    """The price of the least that a job costs."""
    note: str | None = None


class _Packaged(NamedTuple):
    prices: tuple[Price, ...]
    conflicts: tuple[Conflict, ...]


class PriceBook:
    """Prices by provider and sku. Make one with `PriceBook.load()`; it never changes.

    Args:
        prices: Of any layers; of two with the same key, provider, sku and day in one layer the later counts.
        today: The day that questions without a day are about, and ages are counted to.
        conflicts: What sources disagree about.
        rules: How providers bill.
    """

    def __init__(
        self,
        prices: Iterable[Price],
        *,
        today: date | None = None,
        conflicts: Iterable[Conflict] = (),
        rules: Iterable[BillingRule] = (),
    ) -> None:
        self._rows: dict[str, dict[str, list[Price]]] = {}
        for price in prices:
            self._rows.setdefault(price.provider, {}).setdefault(price.sku, []).append(price)
        self._conflicts = tuple(conflicts)
        self._rules = {(rule.provider, rule.service): rule for rule in rules}
        self.today = today or date.today()  # noqa: DTZ011  (the reader's calendar)

    @classmethod
    def load(
        cls,
        *,
        user: Path | str | None = None,
        project: Path | str | None = None,
        overrides: Sequence[Price] = (),
        today: date | None = None,
    ) -> PriceBook:
        """Read all layers.

        Args:
            user: The user's file; None: `$FTSDK_PRICES`, else `prices.yaml` in the user's configuration folder, which
                needn't exist.
            project: The project's file; None: `ftsdk-prices.yaml` here, which needn't exist.
            overrides: Prices that count in this call only.
            today: The day to answer for; None: the machine's.

        Raises:
            SpecError: A file that was named doesn't exist, or a row of it is wrong.
        """
        packaged = _packaged()
        rows = [*packaged.prices]
        rows += _file_rows(
            user_file() if user is None else Path(user),
            "user",
            must_exist=user is not None or "FTSDK_PRICES" in os.environ,
        )
        rows += _file_rows(
            project_file() if project is None else Path(project), "project", must_exist=project is not None
        )
        rows += [price.replace(layer="call") for price in overrides]
        if today is None:
            # A clock that shows a day before the packaged prices were read is wrong; by it, nothing would have a price
            # yet.
            today = max(date.today(), max(row.as_of for row in packaged.prices))  # noqa: DTZ011  (the reader's calendar)
        return cls(rows, today=today, conflicts=packaged.conflicts, rules=_packaged_rules())

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that have any price, sorted."""
        return tuple(sorted(self._rows))

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """What sources disagree about."""
        return self._conflicts

    def price(self, provider: str, sku: str, *, on: date | None = None) -> Price:
        """Return the one price that is in force.

        Args:
            provider: Exactly as in the book, such as `together`.
            sku: Exactly as in the book; nothing is matched loosely.
            on: The day; None is today.

        Raises:
            SpecError: There is no such provider or sku, or no price of it is in force that day.
        """
        found = self.find(provider, sku, on=on)
        if found is not None:
            return found
        if provider not in self._rows:
            raise SpecError(
                f"no price of the provider {provider!r} is known{nearest(provider, set(self._rows))} {_HOW_TO_ADD}"
            )
        rows = self._rows[provider].get(sku)
        if rows is None:
            near = difflib.get_close_matches(sku, self._rows[provider], n=3, cutoff=0.3)
            meant = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
            raise SpecError(f"{provider} has no price {sku!r}{meant} {_HOW_TO_ADD}")
        last = max(rows, key=lambda row: row.in_force_from)
        raise SpecError(
            f"no price of {provider} {sku} is in force on {on or self.today}; the last that is known: {last} "
            f"{_HOW_TO_ADD}"
        )

    def find(self, provider: str, sku: str, *, on: date | None = None) -> Price | None:
        """Return the one price that is in force, or None, for callers that have another source."""
        day = on or self.today
        rows = self._rows.get(provider, {}).get(sku, [])
        for layer in reversed(_LAYERS):
            found = _in_force([row for row in rows if row.layer == layer], day)
            if found is not None:
                return found
        return None

    def prices(
        self, provider: str | None = None, unit: str | None = None, *, on: date | None = None
    ) -> tuple[Price, ...]:
        """List the prices that are in force, by provider and sku.

        Raises:
            SpecError: No price has this unit, or the provider isn't known.
        """
        if unit is not None and unit not in get_args(Unit):
            raise unknown_unit(unit)
        if provider is not None and provider not in self._rows:
            raise SpecError(f"no price of the provider {provider!r} is known{nearest(provider, set(self._rows))}")
        keys = [
            (name, sku)
            for name in (self.providers if provider is None else (provider,))
            for sku in sorted(self._rows[name])
        ]
        found = [self.find(name, sku, on=on) for name, sku in keys]
        return tuple(price for price in found if price is not None and unit in (None, price.unit))

    def history(self, provider: str | None = None, sku: str | None = None) -> tuple[Price, ...]:
        """List every price that was ever noted, also those no longer in force, the oldest of each sku first."""
        return tuple(
            row
            for name, skus in sorted(self._rows.items())
            if provider in (None, name)
            for key, rows in sorted(skus.items())
            if sku in (None, key)
            for row in sorted(rows, key=lambda row: (_LAYERS.index(row.layer), row.in_force_from))
        )

    def conflicts_about(self, provider: str, sku: str) -> tuple[str, ...]:
        """Return what sources disagree about for this price."""
        return tuple(conflict.says for conflict in self._conflicts if conflict.concerns(provider, sku))

    def rule(self, provider: str, service: str) -> BillingRule | None:
        """Return how the provider bills a service (`finetune`, `gpu`, `endpoint`), or None if no source says."""
        return self._rules.get((provider, service))

    def __len__(self) -> int:
        return sum(len(rows) for skus in self._rows.values() for rows in skus.values())

    def __str__(self) -> str:
        lines = [f"{price}  [{price.staleness(self.today)}]" for price in self.prices()]
        return "\n".join(lines)

    __rich__ = rich_text

    def to_dict(self) -> dict[str, Any]:
        """Return the prices in force as plain data."""
        return {"today": str(self.today), "prices": [price.to_dict() for price in self.prices()]}

    def to_html(self) -> str:
        """Return the prices in force as an HTML table."""
        from ftsdk.cost.pricebook.price_tables import book_html

        return book_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


_HOW_TO_ADD = "(to add one with its source: ftsdk prices add)"


def user_file() -> Path:
    """Return the path of the user's own prices.

    `$FTSDK_PRICES`, `$FTSDK_HOME/prices.yaml`, or a file in the platform's configuration folder.
    """
    for variable, tail in (("FTSDK_PRICES", ""), ("FTSDK_HOME", "prices.yaml")):
        asked = os.environ.get(variable)
        if asked:
            return Path(asked).expanduser() / tail
    from platformdirs import user_config_path

    return user_config_path("ftsdk", appauthor=False) / "prices.yaml"


def project_file() -> Path:
    """Return the path of the project's own prices: `ftsdk-prices.yaml` in the current folder."""
    return Path("ftsdk-prices.yaml")


def parse_rows(text: str, *, layer: Layer, where: str) -> tuple[Price, ...]:
    """Read the rows of a price file.

    Args:
        text: YAML: `prices:` with a list of rows; a `provider:` above it holds for rows without one.
        layer: Which book it is.
        where: Name of the file, for messages.

    Raises:
        SpecError: It isn't such a file, or a row is wrong: says which.
    """
    return _parse(text, layer=layer, where=where).prices


def _parse(text: str, *, layer: Layer, where: str) -> _Packaged:
    data = parse_yaml(text, where)
    if data is None:
        return _Packaged((), ())
    if not isinstance(data, dict) or not isinstance(data.get("prices", 0) or [], list):
        raise SpecError(
            f"{where} isn't a price file: it needs 'prices:' with a list of rows under it; see `ftsdk prices add`"
        )
    content = cast("dict[str, Any]", data)
    for word in content:
        if word not in ("provider", "prices", "conflicts"):
            raise SpecError(f"{where}: unknown key {word!r}{nearest(str(word), {'provider', 'prices', 'conflicts'})}")
    common = {"provider": content["provider"]} if "provider" in content else {}
    prices: list[Price] = []
    for number, row in enumerate(cast("list[Any]", content.get("prices") or []), start=1):
        if not isinstance(row, dict):
            raise SpecError(f"{where}, row {number}: isn't a price, but {row!r}")
        if "layer" in row:
            raise SpecError(
                f"{where}, row {number}: 'layer' says from which book a price comes, so it can't be in one; remove it"
            )
        try:
            prices.append(Price.from_dict({**common, **cast("dict[str, Any]", row), "layer": layer}))
        except SpecError as error:
            raise SpecError(
                f"{where}, row {number} ({row.get('sku', 'no sku')}): {error}", problems=error.problems
            ) from error
        except (TypeError, ValueError, RecursionError) as error:  # a key that isn't text, a surrogate, a deep value
            raise SpecError(f"{where}, row {number}: isn't a price: {error}") from error
    try:
        conflicts = tuple(
            Conflict.from_dict({**common, **row})
            for row in cast("list[dict[str, Any]]", content.get("conflicts") or [])
        )
    except (TypeError, ValueError) as error:
        raise SpecError(f"{where}: 'conflicts' isn't a list of rows with provider, sku and says: {error}") from error
    return _Packaged(tuple(prices), conflicts)


def _in_force(rows: Sequence[Price], day: date) -> Price | None:
    """Of one layer, the newest that holds that day.

    One that was superseded on a day nobody noted holds until the next one.
    """
    started = [row for row in rows if row.in_force_from <= day]
    # Of two of the same day, the later in the file.
    for _, newest in sorted(
        enumerate(started), key=lambda numbered: (numbered[1].in_force_from, numbered[0]), reverse=True
    ):
        if newest.valid_until is not None and newest.valid_until < day:
            continue
        if (
            newest.status in ("superseded", "expired")
            and newest.valid_until is None
            and not any(r.in_force_from > day for r in rows)
        ):
            continue
        return newest
    return None


def _file_rows(path: Path, layer: Layer, *, must_exist: bool) -> tuple[Price, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if not must_exist:
            return ()
        raise SpecError(
            f"the {layer}'s price file {path} doesn't exist; start one with `ftsdk prices add`, or don't name it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the {layer}'s price file {path} can't be read: {error}") from error
    return parse_rows(text, layer=layer, where=str(path))


@functools.cache
def _packaged() -> _Packaged:
    prices: list[Price] = []
    conflicts: list[Conflict] = []
    folder = resources.files("ftsdk.cost") / "prices"
    for file in sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name):
        rows = _parse(file.read_text(encoding="utf-8"), layer="packaged", where=file.name)
        prices += rows.prices
        conflicts += rows.conflicts
    return _Packaged(tuple(prices), tuple(conflicts))


@functools.cache
def _packaged_rules() -> tuple[BillingRule, ...]:
    text = (resources.files("ftsdk.cost.pricebook") / "billing.yaml").read_text(encoding="utf-8")
    data = cast("Mapping[str, Any]", parse_yaml(text, "billing.yaml"))
    return tuple(BillingRule.from_dict(row) for row in data["rules"])
