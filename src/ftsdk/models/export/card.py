"""The model card of an export: what it is, what it was made of, how good it is, and how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from ftsdk.models.export.export_report import NOT_RUN, Export
from ftsdk.models.hub_cache import cached_snapshot
from ftsdk.models.identity import base_name
from ftsdk.models.materialize import materialize
from ftsdk.spec import Model

__all__ = ["CardFacts", "EvalLine", "licence_of", "model_card", "versions"]

_PACKAGES = ("ftsdk", "torch", "transformers", "peft", "trl", "gguf", "ggml_python", "xllamacpp")
_RELATIONS = {"adapter": "adapter", "merged": "finetune", "gguf": "quantized", "ollama": "quantized"}


@dataclass(frozen=True, kw_only=True)
class EvalLine:
    """What one eval found, for the card."""

    name: str
    metric: str
    base: str
    tuned: str
    difference: str
    """With its interval."""
    value: float | None = None
    """Of the tuned model, for the hub's `model-index`."""
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says beside what the export knows; all of it may be unknown."""

    run: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The job, as JSON values."""
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    """The fingerprint of each part of the data, by its name."""
    evals: Sequence[EvalLine] = ()
    cost: str | None = None
    """What the training cost, in words."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the packages of the training, where they are known."""
    privacy: Mapping[str, Any] | None = None
    """What differential privacy the training spent; None: it had none."""


def model_card(model: Model, export: Export, facts: CardFacts, *, licence: str | None) -> str:
    """Return the card as Markdown with the hub's front matter."""
    name = base_name(model)
    front = _front_matter(model, export, facts, licence)
    parts = [
        front,
        f"# {name}, fine-tuned\n" if model.adapter or facts.run else f"# {name}\n",
        _about(model, export, facts, licence),
        "## How to load it\n\n" + _loading(model, export),
        _evals(facts.evals),
        _parity(export),
        _data(facts, model),
        _made_with(facts),
    ]
    return "\n".join(part for part in parts if part)


def licence_of(model: Model) -> str | None:
    """Return the licence of the base as its own card or its GGUF file names it; None if neither does."""
    from ftsdk.models.headers import read_gguf_header

    if model.source == "gguf":
        from pathlib import Path

        found = read_gguf_header(Path(model.id).expanduser()).fields.get("general.license")
        return found if isinstance(found, str) else None
    folder = cached_snapshot(model.id, model.revision) if model.source == "hub" else materialize(model)
    card = folder / "README.md" if folder is not None else None
    if card is None or not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:80]:
        key, _, value = line.partition(":")
        if key.strip() in ("license", "license_name") and value.strip() not in ("", "other"):
            return value.strip().strip("'\"")[:80]
    return None


def versions() -> dict[str, str]:
    """Return the versions of the packages that an export depends on, as far as they are installed."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _front_matter(model: Model, export: Export, facts: CardFacts, licence: str | None) -> str:
    library = {"adapter": "peft", "merged": "transformers"}.get(export.to, "gguf")
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    if model.source == "hub":
        lines += [f"base_model: {model.id}", f"base_model_relation: {_RELATIONS[export.to]}"]
    if licence:
        lines.append(f"license: {json.dumps(licence)}")
    lines += ["tags:", "- ftsdk"]
    scored = [line for line in facts.evals if line.value is not None]
    if scored:
        lines += ["model-index:", f"- name: {json.dumps(base_name(model) + ' fine-tuned')}", "  results:"]
    for line in scored:
        lines += [
            "  - task:",
            "      type: text-generation",
            "    dataset:",
            f"      name: {json.dumps(line.name)}",
            f"      type: {json.dumps(line.name)}",
            "    metrics:",
            f"    - type: {json.dumps(line.metric)}",
            f"      value: {line.value}",
        ]
    return "\n".join([*lines, "---", ""])


def _about(model: Model, export: Export, facts: CardFacts, licence: str | None) -> str:
    rows = [
        ("base", f"{base_name(model)}" + (f", revision {model.revision}" if model.revision else "")),
        ("licence of the base", licence or "not stated by its files: look it up before you publish"),
        ("form", f"{export.to}, {export.quantization}"),
    ]
    rows += [("run", facts.run)] if facts.run else []
    rows += [("cost of the training", facts.cost)] if facts.cost else []
    if facts.privacy:
        spent, delta = facts.privacy.get("epsilon"), facts.privacy.get("delta")
        rows.append(("differential privacy", f"epsilon {spent} at delta {delta}, for {facts.privacy.get('unit')}"))
    return _table(("", ""), rows)


def _loading(model: Model, export: Export) -> str:
    match export.to:
        case "adapter":
            elsewhere = (
                ""
                if model.source == "hub"
                else "\n`base_model_name_or_path` in `adapter_config.json` is a folder of the machine that exported "
                "it. On another machine write the base's folder or hub id there.\n"
            )
            return _code("python", _ADAPTER) + elsewhere
        case "merged":
            return _code("python", _MERGED)
        case "gguf":
            lora = "" if export.adapter_file is None else f" --lora {export.adapter_file}"
            return _code("bash", f"llama-server -m {export.main_file}{lora} --jinja")
        case _:
            return _code("bash", "ollama create my-model -f Modelfile\nollama run my-model")


_ADAPTER = """\
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("<this folder>")
tokenizer = AutoTokenizer.from_pretrained("<this folder>")"""
_MERGED = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("<this folder>")
tokenizer = AutoTokenizer.from_pretrained("<this folder>")"""


def _evals(lines: Sequence[EvalLine]) -> str:
    if not lines:
        return ""
    rows = [(line.name, line.metric, line.base, line.tuned, line.difference, str(line.n)) for line in lines]
    return "## Evaluation\n\nBase and tuned model on the same examples, with 95% intervals.\n\n" + _table(
        ("eval", "metric", "base", "tuned", "difference", "examples"), rows
    )


def _parity(export: Export) -> str:
    parity = export.parity
    said = {
        "proven": "This export answers as the model that was evaluated, within the limits of its number format.",
        "failed": "**This export is not the model that was evaluated.** Don't use it.",
        "unproven": "Not everything about this export could be checked.",
    }[parity.state]
    rows = [(gate.name, gate.verdict, gate.detail) for gate in parity.gates]
    notes = "".join(f"\n- {_cell(note)}" for note in parity.notes)
    where = "" if parity.measured == NOT_RUN else f", and run in {parity.measured}"
    gates = _table(("gate", "verdict", "found"), rows)
    compared = f"It was compared with {parity.reference}{where}."
    return f"## Is it the model that was evaluated?\n\n{said} {compared}\n\n{gates}{notes}\n"


def _data(facts: CardFacts, model: Model) -> str:
    if not facts.data and not facts.spec:
        return ""
    rows = [(part, f"`{digest}`") for part, digest in facts.data.items()]
    data = _table(("data", "SHA-256 of the rows"), rows) if rows else ""
    spec = dict(facts.spec)
    if model.source != "hub" and "model" in spec:
        # Folders of the machine that trained are nobody's business.
        own = {key: value for key, value in cast("Mapping[str, Any]", spec["model"]).items() if key != "adapter"}
        spec["model"] = {**own, "id": base_name(model)}
    shown = "\nThe job:\n\n" + _code("json", json.dumps(spec, indent=1, ensure_ascii=False)) if spec else ""
    return f"## How it was trained\n\n{data}{shown}"


def _made_with(facts: CardFacts) -> str:
    rows = [(package, number) for package, number in versions().items()]
    trained = [(package, number) for package, number in facts.versions.items()]
    found = "## Versions\n\nOf the export:\n\n" + _table(("package", "version"), rows)
    return found + ("\nOf the training:\n\n" + _table(("package", "version"), trained) if trained else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Return untrusted text, such as a prompt, as one cell without markup of its own."""
    from ftsdk._format import printable

    flat = " ".join(printable(text).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _code(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}\n"
