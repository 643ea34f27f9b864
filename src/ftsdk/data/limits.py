"""What a data file may take: the limits, once and as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "TEMPLATE_LIMITS", "DataLimits", "TemplateLimits"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateLimits:
    """Limits of a chat template, which is a program, and of the rows that it is tried with."""

    trial_s: float = 10.0
    """Seconds that a process of its own has for two short messages; the templates of well-known models take
    milliseconds."""
    trial_bytes: int = 2**30
    """Memory of a process that tries a template, beyond what it starts with."""
    sample_s: float = 60.0
    """Seconds that a process of its own has for a sample of the rows, the start of Python included."""
    chunk_s: float = 60.0
    """Seconds for rendering a thousand rows in this process; more than a hundred times what they take."""
    whole_rows: int = 2_000
    """Up to so many rows, a plan renders all of them..."""
    sampled_rows: int = 500
    """...and above that so many, evenly spread over the data, and the longest ones."""
    longest_rows: int = 10
    sampled_characters: int = 2_000_000
    """Of the rows that a plan renders; half as many again for the longest rows."""


TEMPLATE_LIMITS = TemplateLimits()
