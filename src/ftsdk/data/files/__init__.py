"""Data files: their kinds, folders and patterns of them, and files at an address."""

from ftsdk.data.files.kinds import SUFFIXES, kind_of, needed_kind, rows_in
from ftsdk.data.files.remote import fetched
from ftsdk.data.files.shards import find_shards, is_pattern, read_shards

__all__ = ["SUFFIXES", "fetched", "find_shards", "is_pattern", "kind_of", "needed_kind", "read_shards", "rows_in"]
