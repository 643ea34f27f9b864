"""Data: read, shaped into chat or preference rows, split, stored by content, and rendered to tokens."""

from ftsdk.data.dataset import Dataset
from ftsdk.data.duplicates.leaks import Leak
from ftsdk.data.leak_check import JudgedBy, data_notes, leaks_of
from ftsdk.data.preview import Preview, preview
from ftsdk.data.render_report import RenderReport
from ftsdk.data.render_trial import RenderTrial, try_rows
from ftsdk.data.rendering import Rendered, render_chat, render_dataset, render_preference
from ftsdk.data.split import Splits
from ftsdk.data.store import Store, read_stored_rows
from ftsdk.data.stream import DatasetStream
from ftsdk.data.summary import Summary
from ftsdk.data.training_sequences import RenderedPair, RenderedRow

__all__ = [
    "Dataset",
    "DatasetStream",
    "JudgedBy",
    "Leak",
    "Preview",
    "RenderReport",
    "RenderTrial",
    "Rendered",
    "RenderedPair",
    "RenderedRow",
    "Splits",
    "Store",
    "Summary",
    "data_notes",
    "leaks_of",
    "preview",
    "read_stored_rows",
    "render_chat",
    "render_dataset",
    "render_preference",
    "try_rows",
]
