"""What an export wrote, and how it was proven."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftsdk._format import Html, gigabytes, html_block, html_list, html_page, html_table, printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.models.export.export_manifest import ExportState
from ftsdk.models.export.gates import ChangedAnswer, Gate

__all__ = ["NOT_RUN", "Export", "Parity"]

_NEEDED = frozenset({"files", "tokenizer", "template", "ends", "log-probabilities", "greedy"})
"""Gates without which nothing is proven; whole models have no adapter, and not every run has evals."""
_SHOWN = 5
"""Changed answers in a text; the page and `to_dict()` have all."""
_CUT = 70
NOT_RUN = "nothing"
"""What ran an export that wasn't compared with its model."""
_STYLE = ".ftsdk h3,.ftsdk th+td{overflow-wrap:anywhere}.ftsdk td{overflow-wrap:break-word}"


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
    adapter_file: str | None = None
    """Of a GGUF export in two files: the adapter, which servers open beside the other one."""

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
        lines = [f"{label:<8}  {text}" for label, text in self._head()]
        lines += ["", text_table([("gate", "verdict", "found"), *self._rows()], has_rule=True)]
        changed = len(self.parity.changed)
        lines += [f"\n{changed} answer{'' if changed == 1 else 's'} changed:"] if changed else []
        for answer in self.parity.changed[:_SHOWN]:
            lines += [
                f"  {_cut(answer.prompt)}",
                f"    before  {_cut(answer.before)}",
                f"    now     {_cut(answer.after)}",
            ]
        if (more := changed - _SHOWN) > 0:
            lines.append(f"  and {more} more: .to_html() shows all")
        lines += [f"Note: {note}" for note in self.parity.notes]
        return "\n".join(lines)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return a page: the gates, and every answer that changed."""
        return html_page(self._block(), title=f"Export of {self._short_name()}")

    def _repr_html_(self) -> str:
        return self._block()

    def _block(self) -> Html:
        parts = [
            html_table(self._head(), has_row_heads=True),
            html_table(self._rows(), head=("gate", "verdict", "found")),
        ]
        if self.parity.changed:
            rows = [
                (answer.prompt, answer.before, answer.after, f"{answer.margin:.2g}") for answer in self.parity.changed
            ]
            parts.append(html_table(rows, head=("prompt", "before", "now", "margin, nats")))
        if self.parity.notes:
            parts.append(html_list(self.parity.notes))
        return html_block(f"<style>{_STYLE}</style>", *parts, title=f"Export of {self._short_name()}")

    def _short_name(self) -> str:
        """Return the model without the folders that it is in."""
        base, _, adapter = self.model.partition(" + ")
        name = re.split(r"[/\\]", base)[-1] if base.startswith(("/", "~", ".", "\\")) or ":" in base else base
        return f"{name} with its adapter" if adapter else name

    def _head(self) -> list[tuple[str, str]]:
        said = {
            "proven": "proven: it answers as the model that was evaluated",
            "failed": "FAILED: not the model that was evaluated; it won't be served unless you allow it by name",
            "unproven": "unproven: no gate failed, but not every gate could tell",
        }[self.state]
        form = self.to if self.to == "adapter" else f"{self.to}, {self.quantization}"
        census = ", ".join(f"{count} {kind}" for kind, count in self.census.items())
        parity = self.parity
        compared = f"{parity.reference}; run in {parity.measured}" if parity.measured != NOT_RUN else parity.reference
        return [
            ("Export", f"{self._short_name()} as {form}"),
            ("Verdict", said),
            ("Folder", f"{self.path} ({len(self.files)} files, {gigabytes(sum(self.files.values()), places=2)})"),
            *([("Tensors", census)] if census else []),
            ("Compared", f"with {compared}"),
        ]

    def _rows(self) -> Sequence[tuple[str, str, str]]:
        return [(gate.name, gate.verdict, gate.detail) for gate in self.parity.gates]


def _cut(text: str) -> str:
    return printable(" ".join(text.split()), _CUT)
