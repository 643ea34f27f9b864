"""Checks that compare rows with each other: duplicates, contradictions, and what isn't like the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ftsdk.data.asked import asked_again
from ftsdk.data.duplicates.exact import maybe_repeated, texts_at
from ftsdk.data.duplicates.hashed_words import HashedWords, JoinedWords, Words
from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.duplicates.near import near_clusters, similar_short_texts
from ftsdk.data.duplicates.prompts import prompt_duplicates
from ftsdk.data.duplicates.same_answers import class_columns, class_labels, repeats_in, short_answers
from ftsdk.data.quality import broken_json, cut_off, unusual_lengths
from ftsdk.data.repeated_rows import repeated_rows
from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import Finding, make_finding
from ftsdk.data.report.row_texts import RowTexts
from ftsdk.data.rows import Rows
from ftsdk.data.table import room_on_disk
from ftsdk.data.text_column import TextColumn

__all__ = ["answer_findings", "duplicate_findings"]

_MOST_SHORT = 50_000
"""Rows up to which short texts are compared."""


def duplicate_findings(dataset: Rows, texts: RowTexts, excerpts: Excerpts, not_checked: list[str]) -> Iterator[Finding]:
    """Yield findings about rows that are the same, almost the same, or ask the same.

    Args:
        dataset: The rows.
        texts: Their texts.
        excerpts: Makes examples.
        not_checked: Gets a sentence about short texts that are too many to be compared.
    """
    count = len(dataset)
    # Only rows with the same prompt can be the same.
    candidates = None if dataset.format == "table" else _asked_again(dataset, texts)
    exact = repeated_rows(dataset.rows, dataset.format, among=candidates)
    copies = sorted(row for group in exact for row in group[1:])
    if copies:
        first = {row: group[0] for group in exact for row in group[1:]}
        notes = [f"as line {dataset.line_of(first[row])}" for row in copies[:5]]
        yield make_finding("exact_duplicates", copies, count, excerpts.of(copies, notes))
    is_copy = set(copies)
    near = dataset.found_once("near-duplicates", lambda: near_clusters(_words(dataset, texts)))
    # A copy is counted once, as what it is.
    clusters = [[row for row in cluster if row not in is_copy] for cluster in near]
    yield from _near_findings(dataset, clusters, texts, excerpts)
    if dataset.format != "table":
        yield from _prompt_findings(dataset, texts, excerpts, is_copy, candidates)
    if count <= _MOST_SHORT:
        pairs = [pair for pair in similar_short_texts(texts.prompts, threshold=0.8) if pair.other not in is_copy]
        other = {pair.other: pair.position for pair in reversed(pairs)}
        rows = sorted(other)
        if rows:
            notes = [f"like line {dataset.line_of(other[row])}" for row in rows[:5]]
            yield make_finding("similar_short_texts", rows, count, excerpts.of(rows, notes))
    elif _has_short(texts.prompts):
        not_checked.append(
            f"similar short texts: they are compared up to {_MOST_SHORT:,} rows; report() a sample({_MOST_SHORT:,})"
        )


def _words(dataset: Rows, texts: RowTexts) -> Words:
    """Return the words of prompt and answer of each row; `split` may have cut the prompts before."""
    with room_on_disk(dataset.source.location):
        if dataset.format == "table":
            return HashedWords(texts.whole)
        return JoinedWords(dataset.prompt_words, HashedWords(texts.answers))


def _asked_again(dataset: Rows, texts: RowTexts) -> NDArray[np.int64]:
    """Return the rows whose prompt may occur twice, from the hashes by which `split` groups rows where they tell."""
    found = asked_again(dataset.canonical, dataset.format, lambda: dataset.prompt_hashes)
    return maybe_repeated(texts.prompts) if found is None else found


def _has_short(prompts: TextColumn) -> bool:
    looked_at = prompts.take(np.linspace(0, len(prompts) - 1, 1_000).astype(np.int64)).to_pylist()
    return any(len(text.split(maxsplit=MIN_WORDS)) < MIN_WORDS for text in looked_at)


def _near_findings(
    dataset: Rows, clusters: Sequence[Sequence[int]], texts: RowTexts, excerpts: Excerpts
) -> Iterator[Finding]:
    """Yield what the step `near_duplicates` would remove; only where that is nothing, what it would keep."""
    first = {row: cluster[0] for cluster in clusters for row in cluster[1:]}
    if not first:
        return
    repeats = repeats_in(clusters, _labels(dataset, texts, sorted(row for cluster in clusters for row in cluster)))
    kept = len(first.keys() - repeats.keys())
    detail = f"{kept:,} more with another answer, which clean keeps" if repeats and kept else ""
    shown = repeats or first
    rows = sorted(shown)
    examples = excerpts.of(rows, [f"like line {dataset.line_of(shown[row])}" for row in rows[:5]])
    if repeats:
        yield make_finding("near_duplicates", rows, len(dataset), examples, detail=detail)
    else:
        title = "rows that are almost the same as another one, with another answer"
        yield make_finding("near_duplicates", rows, len(dataset), examples, severity="note", title=title, fix="")


def _labels(dataset: Rows, texts: RowTexts, rows: Sequence[int]) -> dict[int, object]:
    """Return what near-duplicates must share to be repeats, for the rows that are some."""
    if dataset.format != "table":
        answers = (text for _, text in texts_at(texts.answers, np.asarray(rows, dtype=np.int64)))
        return dict(zip(rows, short_answers(answers), strict=True))
    classes, wanted = class_columns(dataset.rows, len(dataset)), set(rows)
    return {n: class_labels(row, classes) for n, row in enumerate(dataset.rows) if n in wanted}


def _prompt_findings(
    dataset: Rows, texts: RowTexts, excerpts: Excerpts, copies: set[int], candidates: NDArray[np.int64] | None
) -> Iterator[Finding]:
    groups = prompt_duplicates(texts.prompts, texts.answers, among=candidates)
    conflicting = [group for group in groups if group.is_conflicting]
    rows = sorted(row for group in conflicting for row in group.positions)
    if rows:
        shown = [row for group in conflicting[:2] for row in group.positions[:2]]
        notes = [f"answer: {' '.join(texts.answers[row].split())[:60]!r}" for row in shown]
        detail = f"{len(conflicting):,} prompt{'s' if len(conflicting) > 1 else ''}"
        yield make_finding("conflicting_answers", rows, len(dataset), excerpts.of(shown, notes), detail=detail)
    repeated = sorted(row for group in groups for answer in group.answers for row in answer[1:] if row not in copies)
    if repeated:
        by = 'by="prompt", ' if dataset.format == "preference" else ""  # rows with another rejected answer
        fix = f'dataset.clean("exact_duplicates", {by}ignore_case=True, ignore_blanks=True)'
        yield make_finding("repeated_prompts", repeated, len(dataset), excerpts.of(repeated), fix=fix)


def answer_findings(dataset: Rows, texts: RowTexts, excerpts: Excerpts, *, is_labelled: bool) -> Iterator[Finding]:
    """Yield findings about texts that aren't like the rest: in length, in how they end, in form.

    Args:
        dataset: The rows.
        texts: Their texts.
        excerpts: Makes examples.
        is_labelled: Whether the answers are class labels, of which nothing but the prompt has a length.
    """
    judged = texts.prompts if is_labelled or dataset.format == "table" else texts.answers
    lengths = unusual_lengths(judged)
    for code, rows, limit in (
        ("very_short", lengths.short, f"under {lengths.shortest:,} characters"),
        ("very_long", lengths.long, f"over {lengths.longest:,} characters"),
    ):
        if rows:
            yield make_finding(code, rows, len(dataset), excerpts.of(rows), detail=limit)
    if is_labelled or dataset.format == "table":
        return
    for code, rows in (("cut_off", cut_off(texts.answers)), ("invalid_json", broken_json(texts.answers))):
        if rows:
            examples = [excerpts.from_text(row, f"…{texts.answers[row][-120:]}") for row in rows[:5]]
            yield make_finding(code, rows, len(dataset), examples)
