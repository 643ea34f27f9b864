"""What a plan says about its data: the errors that cheap checks find in a sample of the rows."""

from __future__ import annotations

from ftsdk.data.last_results import LastResults
from ftsdk.data.privacy import CREDENTIALS, find
from ftsdk.data.quality import check_texts
from ftsdk.data.report.row_texts import read_chunks
from ftsdk.data.report.text import counted
from ftsdk.data.rows import Rows

__all__ = ["headline"]

_MOST_ROWS = 2_000
_MOST_CHARACTERS = 2_000
"""Characters that are read of each text: together 4 million a text of each row, which take a tenth of a second."""
_known: LastResults[str | None] = LastResults(32)


def headline(dataset: Rows) -> str | None:
    """Return a sentence about the errors in a dataset's rows; None if there are none.

    Looks for credentials, empty texts and broken encoding in up to 2,000 rows, evenly spread: always the same ones.

    Raises:
        DatasetError: The rows are still a table.
    """
    return _known.get(dataset.fingerprint, lambda: _headline(dataset))


def _headline(dataset: Rows) -> str | None:
    rows = dataset.canonical
    count = len(rows)
    if count > _MOST_ROWS:
        import numpy as np

        rows = rows.at(np.linspace(0, count - 1, _MOST_ROWS).astype(np.int64))
    found: dict[str, set[tuple[int, int]]] = {"credentials": set(), "empty texts": set(), "broken encoding": set()}
    for number, chunk in enumerate(read_chunks(rows, dataset.format)):
        texts = [text[:_MOST_CHARACTERS] for text in chunk.texts]
        broken = check_texts(texts, ["empty", "broken_encoding"])
        places = {
            "credentials": find(texts, CREDENTIALS),
            "empty texts": broken["empty"],
            "broken encoding": broken["broken_encoding"],
        }
        for what, where in places.items():
            found[what].update((number, chunk.rows[place]) for place in where)
    parts = [f"{what} in {counted(len(where), 'row')}" for what, where in found.items() if where]
    if not parts:
        return None
    looked_at = f" (of {_MOST_ROWS:,} that were looked at)" if count > _MOST_ROWS else ""
    return f"train has {', '.join(parts)}{looked_at}: job.report() shows them and what else is wrong"
