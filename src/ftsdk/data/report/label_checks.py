"""Checks of class labels: spellings, balance, and labels that are probably wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ftsdk.data.labels import label_variants
from ftsdk.data.quality import class_balance, label_issues
from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import Finding, make_finding
from ftsdk.errors import MissingExtraError

__all__ = ["label_findings"]

_FAR_APART = 10
"""Rows of the largest class for each of the smallest, from which on classes count as unbalanced."""
_MOST_ROWS = 100_000
"""Rows up to which a classifier is trained."""


def label_findings(
    prompts: Sequence[str], labels: Sequence[str], excerpts: Excerpts, not_checked: list[str]
) -> Iterator[Finding]:
    """Yield findings about labels.

    Args:
        prompts: What the labels are about.
        labels: The label of each row.
        excerpts: Makes examples.
        not_checked: Gets a sentence about a check that couldn't run.
    """
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
    if len(labels) > _MOST_ROWS:
        not_checked.append(
            f"label errors: a classifier is trained on up to {_MOST_ROWS:,} rows; report() a sample(...)"
        )
        return
    try:
        issues = label_issues(prompts, [better.get(label, label) for label in labels])
    except MissingExtraError as error:
        not_checked.append(f"label errors: {error}")
        return
    if issues:
        shown = issues[:5]
        notes = [f"{issue.label!r}, probably {issue.suggested!r}" for issue in shown]
        examples = excerpts.of([issue.position for issue in shown], notes)
        yield make_finding("label_errors", sorted(issue.position for issue in issues), len(labels), examples)
