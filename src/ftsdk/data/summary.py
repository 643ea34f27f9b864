"""A short description of a dataset, for people."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ftsdk.data.canonical import as_lines
from ftsdk.data.location import plain
from ftsdk.data.split import MAX_CLASSES

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What is in a dataset."""

    name: str
    format: Literal["table", "chat", "preference"]
    rows: int
    columns: tuple[str, ...]
    prompt_chars_median: int | None
    """Characters of all messages before the answer; None for a table."""
    completion_chars_median: int | None
    """Characters of the answer, in preference data of the chosen one."""
    duplicate_rows: int
    """Rows that repeat an earlier one exactly. They can end up in different parts of a split."""
    classes: tuple[tuple[str, int], ...]
    """Completions and how often each occurs, most frequent first, if there are at most 50 and they repeat."""

    def to_dict(self) -> dict[str, Any]:
        """Give the summary as plain data."""
        return {**asdict(self), "columns": list(self.columns), "classes": dict(self.classes)}

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("rows", f"{self.rows:,}"), ("format", self.format), ("columns", plain(", ".join(self.columns), 200))]
        if self.prompt_chars_median is not None:
            facts.append(("prompt", f"{self.prompt_chars_median:,} characters (median)"))
            facts.append(("completion", f"{self.completion_chars_median:,} characters (median)"))
        if self.duplicate_rows:
            facts.append(("duplicates", f"{self.duplicate_rows:,} row{' repeats' if self.duplicate_rows == 1 else 's repeat'} an earlier one"))
        return facts

    def __str__(self) -> str:
        lines = [plain(self.name), *(f"  {label:<11} {value}" for label, value in self._facts())]
        if self.classes:
            width = max(len(plain(text, 40)) for text, _ in self.classes)
            lines.append("  completions")
            lines += [f"    {plain(text, 40):<{width}}  {count:>7,}  {count / self.rows:>6.1%}" for text, count in self.classes]
        if self.format == "table":
            lines.append("  next        as_chat(prompt=..., completion=...) or as_preference(prompt=, chosen=, rejected=)")
        return "\n".join(lines)

    def to_html(self) -> str:
        """Give the summary as an HTML fragment."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{label}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
            for label, value in self._facts()
        )
        classes = "".join(
            f"<tr><td>{html.escape(plain(text, 40))}</td><td>{count:,}</td><td>{count / self.rows:.1%}</td></tr>" for text, count in self.classes
        )
        if classes:
            classes = f"<table><thead><tr><th>completion</th><th>rows</th><th>share</th></tr></thead><tbody>{classes}</tbody></table>"
        return f"<div><strong>{html.escape(plain(self.name))}</strong><table><tbody>{rows}</tbody></table>{classes}</div>"


def summarise(dataset: Dataset) -> Summary:
    """Describe a dataset."""
    rows = dataset.rows
    if dataset.format == "table":
        prompts, completions = None, None
        duplicates = len(rows) - len({repr(sorted(row.items())) for row in rows})
    else:
        is_chat = dataset.format == "chat"
        prompts = [sum(len(message["content"]) for message in (row["messages"][:-1] if is_chat else row["prompt"])) for row in rows]
        completions = [str((row["messages"] if is_chat else row["chosen"])[-1]["content"]) for row in rows]
        duplicates = len(rows) - len(set(as_lines(rows).splitlines()))
    counts = Counter(completions or ())
    is_labelled = 0 < len(counts) <= MAX_CLASSES and len(counts) < len(rows) and dataset.format == "chat"
    return Summary(
        name=dataset.name,
        format=dataset.format,
        rows=len(rows),
        columns=dataset.columns,
        prompt_chars_median=None if prompts is None else _median(prompts),
        completion_chars_median=None if completions is None else _median([len(text) for text in completions]),
        duplicate_rows=duplicates,
        classes=tuple(counts.most_common()) if is_labelled else (),
    )


def _median(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]
