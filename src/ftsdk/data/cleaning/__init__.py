"""Named steps that remove or change rows, and the record of every row that they touched."""

from ftsdk.data.cleaning.changes import ChangedRow, ChangedRows
from ftsdk.data.cleaning.cleaner import CLEANERS, GROUPS, Cleaner

__all__ = ["CLEANERS", "GROUPS", "ChangedRow", "ChangedRows", "Cleaner"]
