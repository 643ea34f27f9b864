"""Steps that change texts: broken encoding, credentials, personal data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import Field

from ftsdk.data.cleaning.cleaner import Changed, Removed, Verdicts, cleaner
from ftsdk.data.cleaning.row_texts import CleanRows, TextBatch, with_texts
from ftsdk.data.privacy import CREDENTIALS, PII, Kind, find, named_entities, scrub
from ftsdk.data.quality import check_texts, repair
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["credentials", "encoding", "pii"]

Names = Annotated[tuple[str, ...], Field(strict=False)]


@cleaner(version=1)
def encoding(rows: CleanRows) -> Verdicts:
    """Repair text that was decoded with the wrong table: 'cafÃ©' becomes 'café'."""
    for batch in rows.text_batches():
        broken = check_texts(batch.texts, ["broken_encoding"])["broken_encoding"]
        if not broken:
            continue
        texts = list(batch.texts)
        for position in broken:
            texts[position] = repair(texts[position])
        yield from _changed(rows, batch, texts, lambda _: "broken encoding")


@cleaner(version=1)
def credentials(rows: CleanRows, *, kinds: Names | None = None) -> Verdicts:
    """Replace keys and tokens of known services by placeholders such as [AWS_ACCESS_KEY_1]."""
    return _scrubbed(rows, _chosen(kinds, CREDENTIALS), None)


@cleaner(version=1)
def pii(
    rows: CleanRows, *, kinds: Names | None = None, names_by: str | None = None, names_language: str = "en"
) -> Verdicts:
    """Replace personal data by placeholders such as [EMAIL_1]; names of people only with a model, `names_by`."""
    model = None if names_by is None else (names_by, names_language)
    return _scrubbed(rows, _chosen(kinds, PII), model)


def _chosen(names: Sequence[str] | None, known: Sequence[Kind]) -> tuple[Kind, ...]:
    if names is None:
        return tuple(known)
    by_name = {kind.name: kind for kind in known}
    for name in names:
        if name not in by_name:
            raise DatasetError(f"kinds= names {name!r}, which isn't known{nearest(name, list(by_name))}")
    return tuple(by_name[name] for name in names)


def _scrubbed(rows: CleanRows, kinds: Sequence[Kind], model: tuple[str, str] | None) -> Verdicts:
    for batch in rows.text_batches():
        found = find(batch.texts, kinds)
        if model is not None:
            found = _joined(found, named_entities(batch.texts, model=model[0], language=model[1]))
        if not found:
            continue
        done = scrub(batch.texts, kinds, rows=batch.row_of, found=found)
        what: dict[int, dict[str, None]] = {}
        for position, findings in found.items():
            what.setdefault(batch.row_of[position], {}).update((finding.kind, None) for finding in findings)
        yield from _changed(rows, batch, done.texts, lambda row, what=what: ", ".join(what[row]), done.keys)


def _joined(found: dict[int, Any], others: dict[int, Any]) -> dict[int, Any]:
    """Return the findings of both; where two overlap, that of `found` counts."""
    joined = dict(found)
    for position, findings in others.items():
        known = joined.get(position, ())
        new = [one for one in findings if all(one.end <= two.start or one.start >= two.end for two in known)]
        if new:
            joined[position] = tuple(sorted([*known, *new]))
    return joined


def _changed(
    rows: CleanRows,
    batch: TextBatch,
    texts: Sequence[str],
    reason: Callable[[int], str],
    keys: dict[int, dict[str, str]] | None = None,
) -> Verdicts:
    """Yield the rows of a batch whose texts were changed."""
    start = 0
    while start < len(texts):
        row, end = batch.row_of[start], start
        while end < len(texts) and batch.row_of[end] == row:
            end += 1
        if any(batch.texts[position] is not texts[position] for position in range(start, end)):
            changed = with_texts(batch.rows[row], rows.format, texts[start:end])
            if rows.format == "preference" and changed["chosen"] == changed["rejected"]:
                yield Removed(batch.first + row, f"{reason(row)}: without it, chosen and rejected are the same")
            elif changed != batch.rows[row]:
                yield Changed(batch.first + row, reason(row), changed, (keys or {}).get(row, {}))
        start = end
