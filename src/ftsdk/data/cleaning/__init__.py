"""Named steps that remove or change rows, and the record of every row that they touched."""

from ftsdk.data.cleaning.changes import ChangedRow, ChangedRows
from ftsdk.data.cleaning.cleaner import GROUPS, Cleaner

__all__ = ["GROUPS", "ChangedRow", "ChangedRows", "Cleaner"]
