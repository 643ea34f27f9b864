"""The fingerprint of rows that are still a table."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ftsdk.data.batches import MISSING
from ftsdk.data.row_sequence import RowSequence

__all__ = ["table_fingerprint"]


def table_fingerprint(rows: RowSequence) -> str:
    """Return the SHA-256 of a table's rows: columns in any order, cells as they are held in Arrow."""
    columns: dict[str, Any] = {}
    count = 0
    for batch in rows.batches():
        present = {*batch.arrow.schema.names, *batch.objects}
        for name in present - columns.keys():
            columns[name] = hashlib.sha256(b"-" * count)
        for name, digest in columns.items():
            if name in batch.objects:
                digest.update("".join(map(_described, batch.objects[name])).encode("utf-8", "surrogatepass"))
            elif name in present:
                digest.update(b"".join(map(_marked, batch.arrow.column(name).to_pylist())))
            else:
                digest.update(b"-" * batch.rows)
        count += batch.rows
    parts = [[name, columns[name].hexdigest()] for name in sorted(columns)]
    return hashlib.sha256(json.dumps([count, parts]).encode()).hexdigest()


def _marked(cell: str | None) -> bytes:
    """Return a cell with its length, and a missing one as a dash."""
    if cell is None:
        return b"-"
    content = cell.encode()
    return b"%d:%b" % (len(content), content)


def _described(value: object) -> str:
    return "-" if value is MISSING else f"o{value!r}\0"
