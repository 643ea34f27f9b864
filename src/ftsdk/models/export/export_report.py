"""What an export wrote, and how it was proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftsdk._format import Html, gigabytes, html_block, html_list, html_page, html_table, printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.models.export.export_manifest import ExportState
from ftsdk.models.export.gates import ChangedAnswer, Gate

__all__ = ["Export", "Parity"]

_NEEDED = frozenset({"files", "tokenizer", "template", "ends", "log-probabilities", "greedy"})
"""Gates without which nothing is proven; whole models have no adapter, and not every run has evals."""
_SHOWN = 5
"""Changed answers in a text; the page and `to_dict()` have all."""
_CUT = 70


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an export was held against the model that was evaluated."""

    gates: tuple[Gate, ...]
    reference: str
    """What it was held against, with the number format of the computation."""
    measured: str
    """What ran the export, with its version."""
    changed: tuple[ChangedAnswer, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> ExportState:
        """`"failed"` if a gate found another model, `"unproven"` if one that matters couldn't tell."""
        if any(gate.has_failed for gate in self.gates):
            return "failed"
        checked = {gate.name for gate in self.gates if gate.verdict in ("same", "within")}
        is_unsure = any(gate.verdict == "can't tell" for gate in self.gates)
        return "unproven" if is_unsure or not checked >= _NEEDED else "proven"

    def gate(self, name: str) -> Gate:
        """Return a gate by its name.

        Raises:
            KeyError: There is none of that name.
        """
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "state": self.state,
            "gates": [gate.to_dict() for gate in self.gates],
            "reference": self.reference,
            "measured": self.measured,
            "changed": [asdict(answer) for answer in self.changed],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Export:
    """A folder that was exported to."""

    path: Path
    to: str
    """`"adapter"`, `"merged"`, `"gguf"` or `"ollama"`."""
    quantization: str
    """The number format, such as `"bf16"` or `"q8_0"`."""
    model: str
    """What was exported."""
    files: Mapping[str, int]
    """The size of each file in bytes."""
    parity: Parity
    census: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of a GGUF file: how many tensors have each number format."""
    main_file: str | None = None
    """Of a GGUF export: the file that servers open."""

    @property
    def state(self) -> ExportState:
        """`"proven"`, `"failed"` or `"unproven"`."""
        return self.parity.state

    @property
    def has_failed(self) -> bool:
        """Whether a gate found that this isn't the model that was evaluated: it won't be served."""
        return self.state == "failed"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "path": str(self.path),
            "to": self.to,
            "quantization": self.quantization,
            "model": self.model,
            "files": dict(self.files),
            "census": dict(self.census),
            "parity": self.parity.to_dict(),
        }

    def __str__(self) -> str:
        lines = [*self._head(), "", text_table([("gate", "verdict", "found"), *self._rows()], has_rule=True)]
        lines += [f"\n{len(self.parity.changed)} answers changed:"] if self.parity.changed else []
        for answer in self.parity.changed[:_SHOWN]:
            lines += [
                f"  {_cut(answer.prompt)}",
                f"    before  {_cut(answer.before)}",
                f"    now     {_cut(answer.after)}",
            ]
        if (more := len(self.parity.changed) - _SHOWN) > 0:
            lines.append(f"  and {more} more: .to_html() shows all")
        lines += [f"note: {note}" for note in self.parity.notes]
        return "\n".join(lines)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return a page: the gates, and every answer that changed."""
        return html_page(self._block(), title=f"Export of {self.model}")

    def _repr_html_(self) -> str:
        return self._block()

    def _block(self) -> Html:
        parts = [html_list(self._head()), html_table(self._rows(), head=("gate", "verdict", "found"))]
        if self.parity.changed:
            rows = [
                (answer.prompt, answer.before, answer.after, f"{answer.margin:.2g}") for answer in self.parity.changed
            ]
            parts.append(html_table(rows, head=("prompt", "before", "now", "margin there, nats")))
        if self.parity.notes:
            parts.append(html_list(self.parity.notes))
        return html_block(*parts, title=f"Export of {self.model}")

    def _head(self) -> list[str]:
        said = {
            "proven": "the model that was evaluated",
            "failed": "FAILED: not the model that was evaluated; it won't be served unless you allow it by name",
            "unproven": "unproven: some gates couldn't be checked",
        }[self.state]
        census = ", ".join(f"{count} {kind}" for kind, count in self.census.items())
        return [
            f"{self.model} as {self.to}, {self.quantization}: {said}",
            f"in {self.path}, {gigabytes(sum(self.files.values()), places=2)} in {len(self.files)} files",
            *([f"tensors: {census}"] if census else []),
            f"held against {self.parity.reference}; measured in {self.parity.measured}",
        ]

    def _rows(self) -> Sequence[tuple[str, str, str]]:
        return [(gate.name, gate.verdict, gate.detail) for gate in self.parity.gates]


def _cut(text: str) -> str:
    return printable(" ".join(text.split()), _CUT)
