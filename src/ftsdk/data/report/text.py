"""A report for the terminal: ten lines at most about the rows, then the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import printable

if TYPE_CHECKING:
    from ftsdk.data.report.data_report import DataReport
    from ftsdk.data.report.finding import Example, Finding

__all__ = ["counted", "facts", "place", "share", "to_text", "verdict"]


def to_text(report: DataReport) -> str:
    """Return the whole report as text."""
    lines = [printable(report.name, 120)]
    lines += [f"  {label:<10} {printable(value, 400)}" for label, value in facts(report)]
    for finding in report.findings:
        lines += ["", *_finding(finding)]
    lines += ["", *(f"not checked: {printable(one, 300)}" for one in report.not_checked), verdict(report)]
    return "\n".join(lines)


def facts(report: DataReport) -> list[tuple[str, str]]:
    """Return what is in the rows, as pairs of a label and a value."""
    lengths = report.lengths
    how = f"counted by {lengths.counted_by}" if lengths.counted_by else "guessed from the text"
    found = [
        ("rows", f"{report.rows:,} ({report.format})"),
        ("columns", ", ".join(report.columns)),
        (
            "tokens",
            f"{lengths.median:,} a row (median), {lengths.p95:,} (95%), {lengths.longest:,} at most; "
            f"{lengths.total:,} in all; {how}",
        ),
    ]
    if lengths.max_length is not None:
        found.append(("truncated", f"{share(lengths.truncated, report.rows)} at max_length {lengths.max_length:,}"))
    if report.classes:
        most, least = report.classes[0], report.classes[-1]
        rows = f"{least[1]:,} to {most[1]:,} rows" if least[1] != most[1] else f"{most[1]:,} rows each"
        found.append(("classes", f"{len(report.classes):,}, of {rows}"))
    if report.languages:
        found.append(("languages", ", ".join(f"{code} {part:.1%}" for code, part in report.languages[:5])))
    if report.against:
        shared = "" if any(finding.code == "leaks" for finding in report.findings) else ": no row or prompt is shared"
        found.append(
            ("against", ", ".join(f"{name} ({counted(rows, 'row')})" for name, rows in report.against) + shared)
        )
    found.append(("enough", report.enough))
    return found


def verdict(report: DataReport) -> str:
    """Return how much was found, in one line."""
    notes = len(report.findings) - report.errors - report.warnings
    if not report.findings:
        return "nothing found by the checks that ran"
    return ", ".join((counted(report.errors, "error"), counted(report.warnings, "warning"), counted(notes, "note")))


def counted(number: int, what: str) -> str:
    """Return a number of things."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def share(number: int, of: int) -> str:
    """Return a number of rows with its share of all."""
    part = number / of if of else 0.0
    percent = "under 0.1%" if 0 < part < 0.001 else f"{part:.1%}"
    return f"{counted(number, 'row')} ({percent})"


def place(example: Example) -> str:
    """Return where an example is."""
    return f"{example.dataset} line {example.line}" if example.dataset else f"line {example.line}"


def size(finding: Finding) -> str:
    """Return how many rows a finding is about, and their share."""
    found = share(finding.rows, round(finding.rows / finding.share) if finding.share else 0)
    return (
        found.replace("row", "quer" + ("y" if finding.rows == 1 else "ie"), 1) if finding.code == "coverage" else found
    )


def _finding(finding: Finding) -> list[str]:
    detail = f": {printable(finding.detail, 200)}" if finding.detail else ""
    return [
        f"{finding.severity:<7}  {printable(finding.title, 120)} [{finding.code}]: {size(finding)}{detail}",
        f"         {finding.why}",
        *(
            f"         {printable(place(example), 60)}: {printable(example.excerpt, 240)}"
            for example in finding.examples
        ),
        *([f"         -> {printable(finding.fix, 200)}"] if finding.fix else []),
    ]
