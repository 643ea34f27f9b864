"""Which rows of a dataset a model made, and of what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ftsdk.data.growing.augment import row_digest
from ftsdk.data.record_steps import AugmentStep

if TYPE_CHECKING:
    from ftsdk.data.rows import Rows

__all__ = ["Provenance", "augment_steps", "provenance_of"]


class Provenance(NamedTuple):
    """Where a row comes from that a model made."""

    model: str
    endpoint: str | None
    """Its address, without secrets; None: it isn't an endpoint."""
    template: str
    """What it was asked."""
    seeds: tuple[int, ...]
    """Positions of the rows that it was made of, in the dataset that was augmented."""
    on: str
    """The day on which the answer came, in UTC."""


def provenance_of(dataset: Rows, places: Iterable[tuple[str | None, int]]) -> dict[int, Provenance]:
    """Return the provenance of each row that a model made, by its position now.

    A row is found by the source and line that it kept since, or by its content where these are lost, as in rows from
    the store.

    Args:
        dataset: The rows.
        places: The source and the line of each.
    """
    by_place: dict[tuple[str | None, int], Provenance] = {}
    by_content: dict[str, Provenance] = {}
    steps = list(augment_steps(dataset.lineage))
    for step in steps:
        for line, made in enumerate(step.made, start=1):
            record = Provenance(step.model, step.endpoint, step.template, made.seeds, made.on)
            by_place[step.source, line] = record
            by_content[made.row] = record
    if not by_place:
        return {}
    found: dict[int, Provenance] = {}
    sources: set[str | None] = set()
    for position, place in enumerate(places):
        if place in by_place:
            found[position] = by_place[place]
            sources.add(place[0])
    if dataset.format == "chat" and any(step.source not in sources for step in steps):
        for position, row in enumerate(dataset):
            record = by_content.get(row_digest(row))
            if record is not None:
                found.setdefault(position, record)
    return found


def augment_steps(lineage: Iterable[Mapping[str, Any]]) -> Iterator[AugmentStep]:
    """Yield the records of `augment` in a lineage, those of its parts included."""
    for entry in lineage:
        for part in cast("list[list[Mapping[str, Any]]]", entry.get("concat", [])):
            yield from augment_steps(part)
        if "augment" in entry:
            yield AugmentStep.from_dict(entry["augment"])
