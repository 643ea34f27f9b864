"""The facts of a run's record: from the ledger, the manifest of the weights, the evaluation and the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from ftsdk._format import duration
from ftsdk.cost.catalogue.known_model import find_model
from ftsdk.cost.facts.energy import EnergyEstimate, estimate_energy
from ftsdk.models import base_name
from ftsdk.run.exporting import card_facts
from ftsdk.run.outcome import Outcome
from ftsdk.run.record import Record, base_model_of
from ftsdk.run.technical_record.record import Section, TechnicalRecord
from ftsdk.run.technical_record.statements import Statements

__all__ = ["technical_record"]

_LONGEST = 300


def technical_record(
    record: Record,
    manifest: Mapping[str, Any] | None,
    results: Path,
    *,
    statements: Statements | None,
    region: str | None,
    power_w: float | None,
) -> TechnicalRecord:
    """Put a run's record together. See `Run.technical_record`.

    Args:
        record: The run in the ledger.
        manifest: Of its weights; None: they aren't here.
        results: The folder of its evaluation.
        statements: What a person says.
        region: Where it ran.
        power_w: Measured power.
    """
    from ftsdk.models.export.card import licence_of

    card = card_facts(record, results, manifest)
    manifest = manifest or {}
    spec = cast("dict[str, Any]", dict(record.plan.get("spec") or {}))
    outcome = Outcome(state=record.state) if record.outcome is None else Outcome.from_dict(record.outcome)
    model = base_model_of(record)
    known = find_model(model.id) if model.source == "hub" else None
    energy = _energy(record, outcome, region=region, power_w=power_w)
    facts: dict[str, Any] = {
        "model": {
            "base": base_name(model),
            "revision": model.revision,
            "licence_in_its_files": licence_of(model),
            "licence_in_the_catalogue": None if known is None else known.licence.model_dump(mode="json"),
        },
        "data": {part: spec[part] for part in ("train", "validation") if isinstance(spec.get(part), dict)},
        "evals_data": [{key: one[key] for key in ("name", "data") if key in one} for one in record.evals],
        "training": {key: value for key, value in spec.items() if key not in ("train", "validation", "model")},
        "backend": {"name": record.ref.partition(":")[0], "options": dict(record.options)},
        "versions": dict(card.versions),
        "privacy": card.privacy,
        "computation": outcome.to_dict() | {"hardware": record.plan.get("hardware")},
        "energy": None if energy is None else energy.to_dict(),
        "evaluation": [vars(line) if hasattr(line, "__dict__") else str(line) for line in card.evals],
        "files": {name: entry.get("sha256") for name, entry in dict(manifest.get("files", {})).items()},
        "submitted": None if record.submitted_at is None else _day(record.submitted_at),
    }
    sections = (
        Section(title="Model", rows=tuple(_shown(_named(facts["model"]))), notes=_licence_notes(facts["model"])),
        Section(title="Data", rows=tuple(_data_rows(facts))),
        Section(title="Training", rows=tuple(_shown(facts["training"] | {"run on": facts["backend"]["name"]}))),
        Section(title="Privacy", rows=tuple(_shown(card.privacy or {}))),
        Section(title="Versions", rows=tuple(_shown(facts["versions"]))),
        Section(title="Computation", rows=tuple(_computation(outcome, record, card.cost))),
        _energy_section(energy),
        Section(
            title="Evaluation",
            rows=tuple(
                (
                    f"{line.name}, {line.metric}",
                    f"base {line.base}, tuned {line.tuned}, difference {line.difference}, n={line.n}",
                )
                for line in card.evals
            ),
            notes=("Intervals are of 95%.",) if card.evals else (),
        ),
        Section(title="Weights", rows=tuple((name, f"SHA-256 {digest}") for name, digest in facts["files"].items())),
    )
    return TechnicalRecord(
        ref=record.ref, sections=sections, facts=facts, statements=Statements() if statements is None else statements
    )


def _energy(record: Record, outcome: Outcome, *, region: str | None, power_w: float | None) -> EnergyEstimate | None:
    hardware = cast("Mapping[str, Any]", record.plan.get("hardware") or {})
    if outcome.seconds is None or (not hardware and power_w is None):
        return None
    return estimate_energy(
        str(hardware.get("name", "")),
        devices=int(hardware.get("processes", 1)),
        seconds=outcome.seconds,
        region=region,
        power_w=power_w,
    )


def _energy_section(energy: EnergyEstimate | None) -> Section:
    if energy is None:
        return Section(
            title="Energy",
            rows=(),
            notes=("The power of the device, or the time, isn't known: give power_w= if you do.",),
        )
    return Section(
        title="Energy",
        rows=(("electricity, estimated", f"{energy.kwh} kWh"), ("CO2 equivalents, estimated", f"{energy.co2_kg} kg")),
        notes=(*energy.assumptions, *(f"source: {source}" for source in energy.sources)),
    )


def _computation(outcome: Outcome, record: Record, cost: str | None) -> Iterator[tuple[str, str]]:
    hardware = cast("Mapping[str, Any]", record.plan.get("hardware") or {})
    if hardware:
        yield "hardware", f"{hardware.get('processes', 1)} x {hardware.get('name', 'unknown')}"
    if outcome.seconds is not None:
        yield "time", duration(outcome.seconds)
    for name, value in (("steps", outcome.steps), ("tokens trained on", outcome.tokens)):
        if value is not None:
            yield name, f"{value:,}"
    if outcome.peak_memory_gb is not None:
        yield "peak memory", f"{outcome.peak_memory_gb:g} GB"
    if cost is not None:
        yield "cost", cost


def _data_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part, ref in facts["data"].items():
        yield part, f"{ref.get('name', 'data')}: {ref.get('rows', 0):,} {ref.get('format', '')} rows"
        yield f"{part}, SHA-256 of the rows", str(ref.get("fingerprint"))
        for number, step in enumerate(ref.get("lineage") or (), start=1):
            yield f"{part}, step {number}", _short(step)
    for one in facts["evals_data"]:
        if "data" in one:
            yield f"eval {one.get('name', '')}", _short(one["data"])


def _named(model: Mapping[str, Any]) -> dict[str, Any]:
    known = model["licence_in_the_catalogue"]
    return {**model, "licence_in_the_catalogue": None if known is None else known["name"]}


def _licence_notes(model: Mapping[str, Any]) -> tuple[str, ...]:
    known = model["licence_in_the_catalogue"]
    if known is None:
        return ("The catalogue hasn't got this base: read its licence, and state it.",)
    return (f"{known['name']}, read {known['read']} at {known['source']}", *known.get("conditions", ()))


def _shown(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if value is not None:
            yield str(name).replace("_", " "), _short(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
