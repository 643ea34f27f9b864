"""Fragments of HTML that plans and estimates share. Whatever text goes in comes out escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

__all__ = ["cell", "head", "head_table", "linked", "notes_html"]


def head_table(rows: Iterable[tuple[str, str]]) -> str:
    """Write pairs of a heading and a text as a table."""
    return f"<table>{''.join(f'<tr>{head(heading)}{cell(linked(text))}</tr>' for heading, text in rows)}</table>"


def head(text: str) -> str:
    """Write a heading of a row or a column."""
    return f"<th style='text-align:left;vertical-align:top'>{html.escape(text)}</th>"


def cell(inner: str, *, style: str = "", rows: int = 1) -> str:
    """Write a cell of what is HTML already, over so many rows."""
    span = f" rowspan='{rows}'" if rows > 1 else ""
    return f"<td{span} style='text-align:left;vertical-align:top;{style}'>{inner}</td>"


def linked(text: str) -> str:
    """Escape a text, and make links of its addresses."""
    return re.sub(r"https?://(?:[^\s;,()&<>\"']|&amp;)+", lambda found: f"<a href='{found.group()}'>{found.group()}</a>", html.escape(text))


def notes_html(notes: Iterable[str]) -> str:
    """Write notes as paragraphs."""
    return "".join(f"<p><b>Note:</b> {linked(note)}</p>" for note in notes)
