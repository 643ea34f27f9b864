"""One finding about a run, and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar

from ftsdk._format import escaped, html_block, notes_html, printable
from ftsdk._rich_text import rich_text

__all__ = ["Finding", "FindingKind", "RunDiagnosis"]

FindingKind = Literal[
    "loss_not_falling",
    "diverging",
    "overfitting",
    "template_mismatch",
    "no_end_of_text",
    "abilities_lost",
    "format_bleed",
]


class _CanReplace(Protocol):
    def replace(self, **changes: Any) -> Self: ...


J = TypeVar("J", bound=_CanReplace)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a run that wants a change: the evidence, the likely cause, and the one change to try."""

    kind: FindingKind
    evidence: tuple[str, ...]
    """What was measured, in sentences with their numbers."""
    cause: str
    """What most likely explains it."""
    advice: str
    """The one change to try next."""
    change: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields of the job to change; empty where the change isn't a field, but in the data, say."""

    def apply(self, job: J) -> J:
        """Return the job with the change, and nothing else changed."""
        return job.replace(**self.change)

    @property
    def code(self) -> str:
        """The change as code; empty where it isn't a field of the job."""
        if not self.change:
            return ""
        return f"job.replace({', '.join(f'{name}={value!r}' for name, value in self.change.items())})"

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.cause}", *(f"  - {line}" for line in self.evidence), f"  Try: {self.advice}"]
        return "\n".join([*lines, *([f"       {self.code}"] if self.code else [])])

    __rich__ = rich_text

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        written = {name: value.to_dict() if hasattr(value, "to_dict") else value for name, value in self.change.items()}
        return {
            "kind": self.kind,
            "evidence": list(self.evidence),
            "cause": self.cause,
            "advice": self.advice,
            "change": written,
            "code": self.code,
        }


@dataclass(frozen=True, kw_only=True)
class RunDiagnosis:
    """What a run's events and evals show. Print it, or show it in a notebook."""

    title: str
    findings: tuple[Finding, ...]
    """The one to act on first comes first. Change one thing at a time."""
    unknown: tuple[str, ...] = ()
    """What couldn't be looked at, and what it would take."""

    def __str__(self) -> str:
        found = [str(finding) for finding in self.findings] or ["Nothing found that wants a change."]
        lines = [f"Diagnosis of {self.title}", "", "\n\n".join(found)]
        if self.unknown:
            lines += ["", *(f"Not known: {line}" for line in self.unknown)]
        return printable("\n".join(lines))

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the diagnosis as a self-contained piece of HTML."""
        parts: list[str] = []
        for finding in self.findings:
            evidence = "".join(f"<li>{escaped(line)}</li>" for line in finding.evidence)
            code = f"<pre>{escaped(finding.code)}</pre>" if finding.code else ""
            parts.append(
                f"<h4>{escaped(finding.kind)}</h4><p>{escaped(finding.cause)}</p><ul>{evidence}</ul>"
                f"<p><b>Try:</b> {escaped(finding.advice)}</p>{code}"
            )
        body = "".join(parts) or "<p>Nothing found that wants a change.</p>"
        return html_block(body, notes_html(self.unknown), title=f"Diagnosis of {self.title}")

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain data."""
        return {
            "title": self.title,
            "findings": [finding.to_dict() for finding in self.findings],
            "unknown": list(self.unknown),
        }
