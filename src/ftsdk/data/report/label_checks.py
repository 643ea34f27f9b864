"""Checks of class labels: spellings, balance, and labels that are probably wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ftsdk.data.labels import label_variants
from ftsdk.data.quality import class_balance, label_issues, label_sample
from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import Finding, make_finding
from ftsdk.data.text_column import TextColumn
from ftsdk.errors import MissingExtraError

__all__ = ["label_findings"]

_FAR_APART = 10
"""Rows of the largest class for each of the smallest, from which on classes count as unbalanced."""


def label_findings(
    prompts: TextColumn, answers: TextColumn, excerpts: Excerpts, not_checked: list[str]
) -> Iterator[Finding]:
    """Yield findings about labels.

    Args:
        prompts: What the labels are about.
        answers: The label of each row.
        excerpts: Makes examples.
        not_checked: Gets a sentence about rows that weren't checked.
    """
    known: dict[str, str] = {}
    labels = [known.setdefault(label, label) for label in answers]  # millions, but of a few different texts
    counts = Counter(labels)
    groups = label_variants(counts)
    better = {label: group[0] for group in groups for label in group[1:]}
    if better:
        rows = [row for row, label in enumerate(labels) if label in better]
        detail = "; ".join(" and ".join(f"{label!r} ({counts[label]:,})" for label in group) for group in groups[:5])
        notes = [f"{labels[row]!r} for {better[labels[row]]!r}" for row in rows[:5]]
        yield make_finding("label_variants", rows, len(labels), excerpts.of(rows, notes), detail=detail)
    balance = class_balance([better.get(label, label) for label in labels])
    if balance.imbalance >= _FAR_APART:
        most, least = next(iter(balance.counts.items())), next(reversed(balance.counts.items()))
        rare = {label for label, count in balance.counts.items() if count * _FAR_APART <= most[1]}
        rows = [row for row, label in enumerate(labels) if better.get(label, label) in rare]
        detail = f"{most[0]!r} has {most[1]:,} rows, {least[0]!r} has {least[1]:,}"
        yield make_finding("class_balance", rows, len(labels), excerpts.of(rows), detail=detail)
    classes = [better.get(label, label) for label in labels]
    sample = label_sample(prompts.sizes(), classes)
    rows = range(len(labels)) if sample is None else sample
    try:
        issues = label_issues(prompts.take(rows).to_pylist(), [classes[row] for row in rows])
    except MissingExtraError as error:
        not_checked.append(f"label errors: {error}")
        return
    detail = "" if sample is None else f"of a sample of {len(rows):,} rows, with each class in proportion"
    if sample is not None:
        not_checked.append(
            f"label errors in {len(labels) - len(rows):,} rows: a sample of {len(rows):,} was checked; "
            'dataset.clean("label_errors") checks all of them'
        )
    if issues:
        shown = issues[:5]
        notes = [f"{issue.label!r}, probably {issue.suggested!r}" for issue in shown]
        examples = excerpts.of([rows[issue.position] for issue in shown], notes)
        found = sorted(rows[issue.position] for issue in issues)
        yield make_finding("label_errors", found, len(rows), examples, detail=detail)
