"""A finding: what is wrong, in how many rows, why it matters, and the call that fixes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from ftsdk.data.quality.rule import RULES

__all__ = ["CODES", "SEVERITIES", "Example", "Finding", "Kind", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error: training on it does harm. warning: usually a fault. note: good to know."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all findings with one code have in common."""

    severity: Severity
    title: str
    why: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A row that a finding is about."""

    row: int
    """Position in its dataset, from 0."""
    line: int
    """Line of the row in its text file; elsewhere its number. Both count from 1."""
    excerpt: str
    """A part of its text; personal data and credentials are replaced by placeholders."""
    dataset: str = ""
    """The name of another dataset that the row is in; empty: the one that the report is about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is wrong with a dataset, or good to know about it."""

    code: str
    severity: Severity
    title: str
    rows: int
    """How many rows, or queries, it is about."""
    share: float
    """The same as a share of all, from 0 to 1."""
    detail: str = ""
    """Further facts in a sentence."""
    examples: tuple[Example, ...] = ()
    """Up to five."""
    why: str
    fix: str
    """The call that fixes it; empty where none can."""
    positions: tuple[int, ...] = field(default=(), repr=False)
    """All the rows, by position; those of a dataset in `against` for leaks, and of `queries` for coverage."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data, without the positions of all rows."""
        found = asdict(self)
        del found["positions"]
        return {**found, "examples": [asdict(example) for example in self.examples]}


def _clean(step: str) -> str:
    return f'dataset.clean("{step}")'


_RULES: Mapping[str, tuple[Severity, str]] = {
    "empty": ("error", _clean("empty")),
    "role_order": ("error", _clean("quality")),
    "broken_encoding": ("warning", _clean("encoding")),
    "lost_characters": ("warning", _clean("quality")),
    "template_leftover": ("warning", _clean("quality")),
    "unclosed_fence": ("warning", _clean("quality")),
    "invalid_json": ("warning", _clean("quality")),
    "cut_off": ("warning", _clean("quality")),
    "repetition": ("warning", _clean("quality")),
    "label_variants": ("warning", _clean("labels")),
    "label_errors": ("warning", _clean("label_errors")),
    "very_short": ("note", _clean("length")),
    "very_long": ("note", _clean("length")),
    "language": ("note", _clean("language")),
    "class_balance": ("note", ""),
}

CODES: Mapping[str, Kind] = {
    "credentials": Kind(
        "error",
        "credentials",
        "A model repeats keys that it was trained on to anybody who asks, and providers keep training data.",
        _clean("credentials"),
    ),
    "leaks": Kind(
        "error",
        "rows that this dataset also has",
        "A result on rows that were trained on measures in part what was memorised.",
        "train, validation, test = dataset.split(validation=0.1, test=0.1)",
    ),
    "untrained": Kind(
        "error",
        "rows with nothing left to learn",
        "They are dropped before training: the end that would be trained is cut off.",
        _clean("length"),
    ),
    "template_loses_text": Kind(
        "error",
        "rows that the chat template changes",
        "Something else is trained than what the row says.",
        "Model(chat_template=...)",
    ),
    "template_loses_tools": Kind(
        "error",
        "rows of which the chat template leaves out tools or their calls",
        "The model would learn to answer without the tools, or not to call them.",
        "Model(chat_template=...)",
    ),
    "truncated": Kind(
        "warning",
        "rows longer than max_length",
        "Their end is cut off, and the model doesn't learn to finish such answers.",
        "job.replace(max_length=...)",
    ),
    "special_tokens": Kind(
        "warning",
        "rows that spell out special tokens of the model",
        "These act as the tokens that they spell, such as the end of a turn.",
        _clean("quality"),
    ),
    "missing_eos": Kind(
        "warning",
        "answers without an end-of-text token",
        "The model doesn't learn to stop there.",
        "Model(chat_template=...)",
    ),
    "conflicting_answers": Kind(
        "warning",
        "the same prompt with different answers",
        "With class labels at most one of them is right, and the others are learned as well.",
        'dataset.clean("exact_duplicates", by="prompt", ignore_case=True, ignore_blanks=True)',
    ),
    "exact_duplicates": Kind(
        "warning",
        "rows that repeat an earlier one",
        "Copies are learned more often than the rest, and are memorised.",
        _clean("exact_duplicates"),
    ),
    "near_duplicates": Kind(
        "warning",
        "rows that are almost the same as another one",
        "They count several times in training, and a random split puts them on both sides.",
        _clean("near_duplicates"),
    ),
    "pii": Kind(
        "warning",
        "personal data",
        "It is memorised and can be asked for, and the law may forbid it. Patterns find no names.",
        _clean("pii"),
    ),
    "repeated_prompts": Kind(
        "note",
        "prompts that occur in several rows with the same answer",
        "They count several times in training; case and blanks aside they are copies.",
        'dataset.clean("exact_duplicates", by="prompt", ignore_case=True, ignore_blanks=True)',
    ),
    "similar_short_texts": Kind(
        "note",
        "short texts that differ in a few letters",
        "Some are one question with a typing error; others differ in what matters, such as a number.",
        "",
    ),
    "coverage": Kind(
        "warning",
        "queries without a similar prompt in the data",
        "What production asks and the data lacks, the model hasn't learned.",
        "dataset + Dataset.from_rows([...])",
    ),
} | {name: Kind(severity, RULES[name].title, RULES[name].why, fix) for name, (severity, fix) in _RULES.items()}
"""Everything that a report can find, by code."""


def make_finding(
    code: str,
    positions: Sequence[int],
    of: int,
    examples: Sequence[Example] = (),
    *,
    detail: str = "",
    severity: Severity | None = None,
    title: str | None = None,
    fix: str | None = None,
) -> Finding:
    """Return a finding.

    Args:
        code: Out of `CODES`.
        positions: The rows, each once, ascending.
        of: How many rows there are in all.
        examples: Some of the rows.
        detail: Further facts in a sentence.
        severity: In place of the code's own.
        title: Likewise.
        fix: Likewise.
    """
    kind = CODES[code]
    return Finding(
        code=code,
        severity=severity or kind.severity,
        title=title or kind.title,
        rows=len(positions),
        share=len(positions) / of if of else 0.0,
        detail=detail,
        examples=tuple(examples),
        why=kind.why,
        fix=kind.fix if fix is None else fix,
        positions=tuple(positions),
    )
