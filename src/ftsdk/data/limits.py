"""What a data file may take: the limits, once and as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "DataLimits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataLimits:
    """Limits of what is read, so that no file can take all memory or all time."""

    file_bytes: int = 2 << 30
    """Largest file of text, and largest file that is fetched."""
    memory_bytes: int = 64 << 20
    """Rows of a dataset that are held in memory; more than that goes to a file, which is mapped into memory."""
    line_characters: int = 256 << 20
    """Longest line of a file that is streamed, which may have any size."""
    nesting: int = 100
    """Deepest nesting of arrays and objects in one row. Python itself gives up at about 1,000."""
    expanded_bytes: int = 256 << 20
    """What a Parquet file may always expand to in memory..."""
    expansion: int = 50
    """...and above that, how many times its own size."""
    listed_rows: int = 10
    """How many bad rows an error lists."""
    shards: int = 10_000
    """Most files of a folder or a pattern."""
    fetch_s: float = 1800.0
    """Seconds for a file at an address; it has at most `file_bytes`."""
    fetch_silence_s: float = 30.0
    """Seconds in which something of it must arrive."""


LIMITS = DataLimits()
