"""What a record covers of the EU AI Act's lists of technical documentation. No legal advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["COVERAGE", "SOURCES", "Covered", "coverage_rows"]

SOURCES = (
    "Annex XI of Regulation (EU) 2024/1689, read at https://www.aiactblog.nl/en/ai-act/bijlage/11 on 2026-11-28",
    "Annex IV of Regulation (EU) 2024/1689, read in part at https://www.aiactblog.nl/en/ai-act/bijlage/4 on 2026-11-28",
)


class Covered(NamedTuple):
    """One point of a list, and what the record has on it."""

    point: str
    asks_for: str
    by_facts: str
    """The section that has it; empty: no section."""
    by_statements: tuple[str, ...] = ()
    """Statements that it needs besides."""
    missing: str = ""
    """What the record never has."""


COVERAGE: tuple[Covered, ...] = (
    Covered("XI 1.1(a)", "tasks, and systems that it can go into", "", ("intended_purpose", "not_for")),
    Covered("XI 1.1(b)", "acceptable use", "", ("not_for",)),
    Covered("XI 1.1(c)", "date of release, distribution", "", ("distribution",)),
    Covered("XI 1.1(d)", "architecture, number of parameters", "Model", (), "of the base: see its own documentation"),
    Covered("XI 1.1(e)", "modality, format of inputs and outputs", "Model", (), "text only is presumed"),
    Covered("XI 1.1(f)", "licence", "Model", ("distribution",)),
    Covered("XI 1.2(a)", "technical means for integration", "", (), "instructions for use: write them"),
    Covered("XI 1.2(b)", "design and training, choices with their reasons", "Training", (), "your own reasons"),
    Covered(
        "XI 1.2(c)",
        "data: kind, origin, curation, number, bias",
        "Data",
        ("data_origin", "data_licence"),
        "biases: evaluate",
    ),
    Covered("XI 1.2(d)", "computation, time", "Computation", (), "floating point operations aren't counted"),
    Covered("XI 1.2(e)", "energy, known or estimated", "Energy"),
    Covered("XI 2", "models with systemic risk", "Evaluation", (), "red teaming, system architecture"),
    Covered(
        "IV 1",
        "the system: purpose, provider, versions, hardware, interface",
        "Model",
        ("provider", "intended_purpose"),
    ),
    Covered("IV 2(a)-(c)", "development, pre-trained parts, design", "Training", (), "the system around the model"),
    Covered("IV 2(d)", "data sheets: origin, labelling, cleaning", "Data", ("data_origin", "personal_data")),
    Covered("IV 2(e)", "human oversight", "", ("human_oversight",)),
    Covered("IV 2(g)", "validation and testing, metrics, signed test reports", "Evaluation", ("sign_offs",)),
    Covered("IV 2(h)", "cybersecurity", "", (), "not part of the record"),
    Covered("IV 3", "abilities and limits", "Evaluation", ("known_limits",)),
    Covered("IV 4-9", "risk management, changes, standards, declaration, monitoring", "", (), "not part of the record"),
)


def coverage_rows(sections: Mapping[str, bool], stated: Mapping[str, bool]) -> list[tuple[str, str, str, str]]:
    """Return each point, what it asks for, what the record has, and what is missing.

    Args:
        sections: Whether each section has facts, by its title.
        stated: Whether each statement was made, by name.
    """
    rows: list[tuple[str, str, str, str]] = []
    for entry in COVERAGE:
        has = [entry.by_facts] if entry.by_facts and sections.get(entry.by_facts) else []
        has += [name for name in entry.by_statements if stated.get(name)]
        lacks = [entry.by_facts] if entry.by_facts and not sections.get(entry.by_facts) else []
        lacks += [f"statement `{name}`" for name in entry.by_statements if not stated.get(name)]
        lacks += [entry.missing] if entry.missing else []
        rows.append((entry.point, entry.asks_for, ", ".join(has) or "-", "; ".join(lacks) or "-"))
    return rows
