"""Data files: their kinds, folders and patterns of them, and files at an address."""

from ftsdk.data.files.kinds import SUFFIXES, FileKind, kind_of, needed_kind, rows_in
from ftsdk.data.files.remote import fetched
from ftsdk.data.files.shards import Shards, find_shards, is_pattern, read_shards

__all__ = [
    "SUFFIXES",
    "FileKind",
    "Shards",
    "fetched",
    "find_shards",
    "is_pattern",
    "kind_of",
    "needed_kind",
    "read_shards",
    "rows_in",
]
