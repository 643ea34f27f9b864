"""`DataReport`: what is in a dataset, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ftsdk._rich_text import rich_text
from ftsdk.data.report.finding import CODES, SEVERITIES, Finding
from ftsdk.data.report.lengths import Lengths
from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest

__all__ = ["DataReport"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """What is in a dataset, and what is wrong with it, the worst first."""

    name: str
    format: Literal["table", "chat", "preference", "unpaired"]
    rows: int
    columns: tuple[str, ...]
    lengths: Lengths
    classes: tuple[tuple[str, int], ...]
    """The answers and how often each occurs, the most frequent first, if they look like class labels."""
    languages: tuple[tuple[str, float], ...]
    """ISO 639-1 code and share of the texts of 30 letters or more, the most frequent first."""
    findings: tuple[Finding, ...]
    """The worst first."""
    enough: str
    """Whether there are enough rows, by the learning curve of runs, and what that rests on."""
    against: tuple[tuple[str, int], ...] = ()
    """Name and rows of each dataset that was searched for leaks."""
    not_checked: tuple[str, ...]
    """What wasn't checked, and what it needs."""

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return self._count("error")

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return self._count("warning")

    def failed(self, on: str = "error") -> bool:
        """Return whether something was found.

        Args:
            on: The least severity that counts, `"error"`, `"warning"` or `"note"`; or the code of a finding, such as
                `"label_errors"`.

        Raises:
            SpecError: It is neither.
        """
        if on in CODES:
            return any(finding.code == on for finding in self.findings)
        if on not in SEVERITIES:
            raise SpecError(
                f"on={on!r} is neither a severity nor the code of a finding{nearest(on, [*SEVERITIES, *CODES])}"
            )
        worst = SEVERITIES[: SEVERITIES.index(on) + 1]
        return any(finding.severity in worst for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "name": self.name,
            "format": self.format,
            "rows": self.rows,
            "columns": list(self.columns),
            "lengths": {**asdict(self.lengths), "bins": [list(one) for one in self.lengths.bins]},
            "classes": dict(self.classes),
            "languages": dict(self.languages),
            "findings": [finding.to_dict() for finding in self.findings],
            "enough": self.enough,
            "against": dict(self.against),
            "not_checked": list(self.not_checked),
        }

    def __str__(self) -> str:
        from ftsdk.data.report.text import to_text

        return to_text(self)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the report as an HTML page that needs no other file."""
        from ftsdk.data.report.html import to_page

        return to_page(self)

    def _repr_html_(self) -> str:
        from ftsdk.data.report.html import to_block

        return to_block(self)

    def _count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)
