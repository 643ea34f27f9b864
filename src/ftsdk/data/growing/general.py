"""The general instructions that come with ftsdk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from ftsdk.data.table import Table, table_of

__all__ = ["general_table"]


def general_table() -> Table:
    """Read the rows: `prompt`, `completion` and `topic`."""
    return table_of(_lines(), source="general")


def _lines() -> Iterator[tuple[int, dict[str, Any]]]:
    text = files("ftsdk.data.growing").joinpath("general.jsonl").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        yield number, json.loads(line)
