"""The card of a dataset: Markdown with where the rows come from and what was done to them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from ftsdk._format import printable
from ftsdk.data.cleaning.registry import CLEANERS
from ftsdk.data.cleaning.table_fingerprint import table_fingerprint
from ftsdk.data.growing.provenance import augment_steps
from ftsdk.data.record_steps import AugmentStep
from ftsdk.data.steps import CleanStep, Step

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["card_of"]


def card_of(dataset: Dataset, *, licence: str | None, description: str | None) -> str:
    """Return the card of a dataset; see `Dataset.card`."""
    is_table = dataset.format == "table"
    fingerprint = table_fingerprint(cast("Any", dataset.rows)) if is_table else dataset.fingerprint
    facts = [
        ("Source", _source(dataset)),
        ("Form", f"{dataset.format} (columns: {', '.join(dataset.columns)})" if is_table else dataset.format),
        ("Rows", f"{len(dataset):,}"),
        ("Removed on the way", f"{len(dataset.removed):,}"),
        ("Changed on the way", f"{len(dataset.changed):,}"),
        ("Licence", licence or "not given"),
        ("Fingerprint", f"`{fingerprint}`"),
    ]
    lines = ["---", f"license: {json.dumps(licence)}", "---", ""] if licence else []
    lines += [f"# {_cell(dataset.name)}", ""]
    if description:
        lines += [description.strip(), ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts), ""]
    steps = list(_steps(dataset.lineage))
    if steps:
        lines += [
            "## Steps",
            "",
            "| step | parameters | removed | changed | fingerprint after |",
            "|---|---|--:|--:|---|",
        ]
        lines += ["| " + " | ".join(map(_cell, step)) + " |" for step in steps]
        lines.append("")
    lines += _by_models(dataset)
    return "\n".join(lines)


def _source(dataset: Dataset) -> str:
    if dataset.parts:
        return " + ".join(f"{part.name} ({len(part):,} rows)" for part in dataset.parts)
    return dataset.name


def _steps(lineage: tuple[Mapping[str, Any], ...], part: str = "") -> Iterator[tuple[str, str, str, str, str]]:
    for entry in lineage:
        for number, own in enumerate(cast("list[list[Mapping[str, Any]]]", entry.get("concat", [])), start=1):
            yield from _steps(tuple(own), f"{part}part {number}: ")
        for kind, arguments in entry.items():
            if kind == "clean":
                step = CleanStep.from_dict(arguments)
                does = CLEANERS[step.name].does if step.name in CLEANERS else ""
                yield (
                    f"{part}clean {step.name} (version {step.version}): {does}",
                    _written(step.parameters),
                    _count(step.removed),
                    _count(step.changed),
                    f"`{(step.after or '')[:12]}`",
                )
            elif kind == "augment":
                step = AugmentStep.from_dict(arguments)
                yield f"{part}augment", f"{step.rows:,} rows by {step.model}", _count(step.refused), "", ""
            elif kind in Step.model_fields:
                yield f"{part}{kind}", _written(arguments), "", "", ""


def _by_models(dataset: Dataset) -> list[str]:
    """Return the section on rows that models made; empty without any."""
    steps = list(augment_steps(dataset.lineage))
    if not steps:
        return []
    kept = Counter((one.model, one.endpoint, one.template) for one in dataset.provenance.values())
    lines = ["## Rows made by models", "", "| model | endpoint | asked | rows here | of | from | to |"]
    lines.append("|---|---|---|--:|--:|---|---|")
    for step in steps:
        days = sorted(one.on for one in step.made) or [""]
        here = kept[step.model, step.endpoint, step.template]
        cells = (step.model, step.endpoint or "", step.template, f"{here:,}", f"{step.rows:,}", days[0], days[-1])
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return [*lines, ""]


def _written(arguments: object) -> str:
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _cell(text: str) -> str:
    return printable(text, 400).replace("|", "\\|")
