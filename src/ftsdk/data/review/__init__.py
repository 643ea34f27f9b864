"""Reviewing rows by hand: a sample, a verdict on each row, and rows without what was judged bad."""

from ftsdk.data.review.label_studio import LABEL_CONFIG, write_label_studio
from ftsdk.data.review.review_file import ReviewFile, read_review
from ftsdk.data.review.sample import review_sample
from ftsdk.data.review.session import ReviewSession
from ftsdk.data.review.summary import ReviewSummary, summarise_review
from ftsdk.data.review.verdicts import RowVerdict, read_verdicts, row_ids, update_verdicts, write_verdicts

__all__ = [
    "LABEL_CONFIG",
    "ReviewFile",
    "ReviewSession",
    "ReviewSummary",
    "RowVerdict",
    "read_review",
    "read_verdicts",
    "review_sample",
    "row_ids",
    "summarise_review",
    "update_verdicts",
    "write_label_studio",
    "write_verdicts",
]
