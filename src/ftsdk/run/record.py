"""One run as the ledger keeps it, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, cast

from ftsdk.errors import SpecError
from ftsdk.spec import Model

__all__ = ["NewerRecord", "Record", "UnreadableRecord", "base_model_of", "record_from_json", "record_to_json"]

_LAST_TIME = 253_402_214_400.0
"""The latest time that `datetime` can show in every time zone, in seconds since the epoch: the end of the year 9999."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run in the ledger."""

    ref: str
    """`local:20261123-ab12cd`: the backend's name, and the key that the run was submitted under."""
    name: str | None
    plan: Mapping[str, Any]
    """The plan as JSON, so that exactly the same request can be submitted again."""
    options: Mapping[str, Any]
    """Arguments that rebuild the backend."""
    evals: tuple[Mapping[str, Any], ...] = ()
    gate: Mapping[str, Any] | None = None
    """What the evals must show before the model is shipped."""
    native: Mapping[str, str] = field(default_factory=dict[str, str])
    """The backend's own ids of the run, once it was submitted."""
    created_at: float = 0.0
    submitted_at: float | None = None
    state: str = "intended"
    """The state when last seen; the backend knows better."""
    price_usd: str | None = None
    """The final price in US dollars, exact, once the provider has stated it."""
    reason: str = ""
    """Why the run is over, where its backend doesn't know.

    It never started, or it was cancelled because it reached its budget.
    """
    outcome: Mapping[str, Any] | None = None
    """What the run took, once it was seen to end; what was estimated is in `plan`."""
    sweep: Mapping[str, Any] | None = None
    """The sweep that the run belongs to: its `id`, the `trial`, and what it differs in from the job (`changes`)."""


class NewerRecord(ValueError):
    """A record that a newer ftsdk wrote: whole, and not to be replaced."""


@dataclass(frozen=True, kw_only=True)
class UnreadableRecord:
    """A run in the ledger whose record this version of ftsdk can't read, or whose backend can't be loaded here."""

    ref: str
    created_at: float
    state: str
    """The state when last seen."""
    reason: str
    is_damaged: bool = False
    """Whether the record itself is lost, so that one from the run's folder may take its place."""

    @property
    def started(self) -> datetime:
        """When the run was submitted, in local time."""
        return datetime.fromtimestamp(self.created_at if _is_time(self.created_at) else 0.0).astimezone()


def base_model_of(record: Record) -> Model:
    """Return the model that a run tunes.

    Raises:
        SpecError: The record doesn't name one.
    """
    try:
        return Model.from_dict(record.plan["spec"]["model"])
    except (KeyError, TypeError) as error:
        raise SpecError(
            f"the record of run {record.ref} has no model in its plan; it is damaged, or of a newer ftsdk. Update "
            "ftsdk, or restore the ledger with ftsdk runs --rebuild"
        ) from error


def record_to_json(record: Record) -> str:
    """Return a record as JSON text, with every field that has a value."""
    content = {f.name: getattr(record, f.name) for f in fields(Record)}
    return json.dumps({name: _plain(value) for name, value in content.items() if value is not None}, ensure_ascii=False)


def record_from_json(text: str, **columns: Any) -> Record:
    """Read a record from JSON text.

    Args:
        text: From `record_to_json`.
        columns: Fields that are known better than from the text.

    Raises:
        NewerRecord: The text has fields that only a newer ftsdk knows.
        ValueError: The text is damaged.
    """
    try:
        content: object = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} in place of an object")
    values = {**cast("dict[str, Any]", content), **columns}
    if unknown := sorted(values.keys() - _TYPES.keys()):
        raise NewerRecord(f"unknown field {unknown[0]!r}")
    for name, kinds in _TYPES.items():
        if name in values and (not isinstance(values[name], kinds) or isinstance(values[name], bool)):
            raise ValueError(f"{name} is a {type(values[name]).__name__}")
    if missing := [name for name in ("ref", "plan", "options") if name not in values]:
        raise ValueError(f"{missing[0]} is missing")
    values["evals"] = tuple(values.get("evals", ()))
    if not all(isinstance(entry, dict) for entry in values["evals"]):
        raise ValueError("evals has an entry that isn't an object")
    if not all(isinstance(word, str) for word in values.get("native", {}).values()):
        raise ValueError("native has a value that isn't text")
    for name in ("created_at", "submitted_at"):
        if (at := values.get(name)) is not None and not _is_time(at):
            raise ValueError(f"{name} is not a time: {at!r}")
    read: dict[str, Any] = {"name": None, **values}
    return Record(**read)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    return [_plain(entry) for entry in cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and 0 <= seconds < _LAST_TIME


_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((f.name for f in fields(Record)), (str, type(None))),
    "ref": (str,),
    "state": (str,),
    "reason": (str,),
    "plan": (dict,),
    "options": (dict,),
    "native": (dict,),
    "evals": (list,),
    "gate": (dict, type(None)),
    "outcome": (dict, type(None)),
    "sweep": (dict, type(None)),
    "created_at": (float, int),
    "submitted_at": (float, int, type(None)),
}
"""The type of each field in JSON."""
