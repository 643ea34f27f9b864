"""A technical record: facts of a run in sections, a person's statements, and signatures under a digest of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk._format import escaped, html_block, html_page, html_table, notes_html, printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.run.technical_record.coverage import SOURCES, coverage_rows
from ftsdk.run.technical_record.statements import Statements

__all__ = ["Section", "TechnicalRecord"]

_MISSING = "not stated: to be filled in by a person"
_NO_ADVICE = "What each point asks for is shortened, and none of this is legal advice."


@dataclass(frozen=True, kw_only=True)
class Section:
    """Facts on one subject."""

    title: str
    rows: tuple[tuple[str, str], ...]
    """Name and value."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TechnicalRecord:
    """What a model was made of and how, for those who answer for it. Print it, write it, sign it."""

    ref: str
    sections: tuple[Section, ...]
    facts: Mapping[str, Any]
    """The same facts as plain data."""
    statements: Statements = field(default_factory=Statements)

    @property
    def digest(self) -> str:
        """SHA-256 of all facts and statements, without signatures: what a signature is for."""
        stated = self.statements.to_dict()
        stated.pop("sign_offs", None)
        content = {"ref": self.ref, "facts": self.facts, "statements": stated}
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def is_signed(self) -> bool:
        """Whether somebody signed for this content."""
        return any(signed.digest == self.digest for signed in self.statements.sign_offs)

    @property
    def missing(self) -> tuple[str, ...]:
        """Statements that nobody made."""
        given = self.statements.model_fields_set
        return tuple(name for name in Statements.model_fields if name != "sign_offs" and name not in given)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {
            "run": self.ref,
            "facts": dict(self.facts),
            "statements": self.statements.to_dict(),
            "missing": list(self.missing),
            "coverage": [
                dict(zip(("point", "asks_for", "has", "missing"), row, strict=True)) for row in self._coverage()
            ],
            "digest": self.digest,
            "is_signed": self.is_signed,
        }

    def _coverage(self) -> list[tuple[str, str, str, str]]:
        stated = {name: name not in self.missing for name in Statements.model_fields}
        stated["sign_offs"] = self.is_signed
        return coverage_rows({section.title: bool(section.rows) for section in self.sections}, stated)

    def _stated(self) -> list[tuple[str, str]]:
        return [
            (name.replace("_", " "), _MISSING if name in self.missing else str(getattr(self.statements, name)))
            for name in Statements.model_fields
            if name != "sign_offs"
        ]

    def _signed(self) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        for signed in self.statements.sign_offs:
            fits = (
                "for this content" if signed.digest == self.digest else "NOT for this content: the record has changed"
            )
            rows.append((f"{signed.name}, {signed.role}", f"{signed.signed_on.isoformat()}, {fits}"))
        return rows or [("nobody", "not signed")]

    def _all(self) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]], Sequence[str]]]:
        found: list[tuple[str, Sequence[str], Sequence[Sequence[str]], Sequence[str]]] = [
            (section.title, (), section.rows, section.notes) for section in self.sections
        ]
        found.append(("Statements", (), self._stated(), ()))
        head = ("point", "asks for", "the record has", "missing")
        found.append(("EU AI Act: what this covers", head, self._coverage(), (_NO_ADVICE, *SOURCES)))
        found.append(("Signed off", (), [*self._signed(), ("digest", self.digest)], ()))
        return found

    def to_markdown(self) -> str:
        """Return the record as Markdown."""
        parts = [f"# Technical record of {_cell(self.ref)}\n"]
        for title, head, rows, notes in self._all():
            width = max((len(row) for row in rows), default=2)
            heads = head or ("",) * width
            lines = [heads, ["---"] * width, *rows]
            table = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
            said = "".join(f"\n- {_cell(note)}" for note in notes)
            parts.append(f"## {title}\n\n{table if rows else 'Not known.'}\n{said}\n")
        return "\n".join(parts)

    def to_html(self) -> str:
        """Return the record as a self-contained piece of HTML."""
        parts: list[str] = []
        for title, head, rows, notes in self._all():
            parts += [f"<h4>{escaped(title)}</h4>", html_table(rows, head=head), notes_html(notes)]
        return html_block(*parts, title=f"Technical record of {self.ref}")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        parts: list[str] = []
        for title, head, rows, notes in self._all():
            shown = [tuple(str(cell) for cell in row) for row in rows]
            table = text_table([head, *shown] if head else shown, has_rule=bool(head)) if shown else "not known"
            parts.append("\n".join([title.upper(), table, *(f"Note: {note}" for note in notes)]))
        return printable("\n\n".join(parts))

    __rich__ = rich_text

    def write(self, path: str | Path) -> Path:
        """Write the record, as its name ends: `.md`, `.html` or `.json`.

        Raises:
            SpecError: The name ends otherwise.
        """
        from ftsdk.errors import SpecError

        file = Path(path).expanduser()
        match file.suffix.lower():
            case ".md":
                text = self.to_markdown()
            case ".html":
                text = html_page(html_block(self.to_html()), title=f"Technical record of {self.ref}")
            case ".json":
                text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
            case _:
                raise SpecError(f"{file.name}: a record is written as .md, .html or .json")
        replace_file(file, text.encode())
        return file


def _cell(text: str) -> str:
    flat = " ".join(printable(str(text)).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
