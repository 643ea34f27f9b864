"""Export a model into a folder, hold it against what was evaluated, and write down how that came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never, cast, get_args

from ftsdk.errors import FtsdkError, MissingExtraError, SpecError
from ftsdk.models.export.adapter_folder import write_adapter
from ftsdk.models.export.base_weights import base_format_of
from ftsdk.models.export.card import CardFacts, licence_of, model_card, versions
from ftsdk.models.export.comparison import changed_answers, compare
from ftsdk.models.export.draft import export_draft
from ftsdk.models.export.export_manifest import FAILED, MANIFEST, seal_export
from ftsdk.models.export.export_report import NOT_RUN, Export, Parity
from ftsdk.models.export.file_gate import file_gate
from ftsdk.models.export.gates import TOLERANCES, Gate
from ftsdk.models.export.gguf_files import write_adapter_gguf, write_gguf
from ftsdk.models.export.model_folder import write_merged
from ftsdk.models.export.observation import Observation, observe_folder, observe_reference, rendered
from ftsdk.models.export.observe_llama import observe_gguf
from ftsdk.models.export.ollama import go_template, write_modelfile
from ftsdk.models.export.probes import PROMPTS
from ftsdk.models.export.quantizing import is_quantized, read_quantization
from ftsdk.models.export.strength import strength_gate, written_in_folder, written_in_gguf
from ftsdk.models.folder_files import read_json
from ftsdk.models.identity import base_name
from ftsdk.models.loading import eos_token_ids, load_tokenizer, max_length_of
from ftsdk.models.materialize import materialize
from ftsdk.spec import Model

__all__ = ["ExportFormat", "Exported", "ScoreCheck", "export_model"]

ExportFormat = Literal["adapter", "merged", "gguf", "ollama"]
Messages = Sequence[Mapping[str, Any]]
_NEW_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Something that was written, for whoever scores it."""

    model: Model | None
    """For transformers and PEFT."""
    gguf: Path | None
    """For llama.cpp."""
    gguf_adapter: Path | None
    is_quantized: bool


class ScoreCheck(Protocol):
    """Measures what was written by the run's own evals: of a layer above this one."""

    def __call__(self, written: Exported, /) -> Gate:
        """Return the gate `"score"`."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Written:
    quantization: str
    main: Path | None = None
    adapter: Path | None = None
    census: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()


def export_model(
    model: Model,
    into: str | Path,
    *,
    to: str,
    quantization: str | None = None,
    adapter_only: bool = False,
    prompts: Sequence[Messages] | None = None,
    max_new_tokens: int = _NEW_TOKENS,
    reference_dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    prove: bool = True,
    score: ScoreCheck | None = None,
    card: CardFacts | None = None,
    name: str | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Export:
    """Export a model; see `Model.export`, which adds the eval's score.

    Args:
        model: What to export.
        into: A new or empty folder. It appears when all is written and held against the model, manifest last.
        to: An `ExportFormat`.
        quantization: The number format; None: that of the base, and `"q8_0"` for GGUF and Ollama.
        adapter_only: Of `"gguf"`: write the adapter and its base as two files.
        prompts: Conversations up to the answer, to compare answers on; None: a dozen of general ones.
        max_new_tokens: Of each of these answers.
        reference_dtype: What the reference computes in: float32 unless it doesn't fit into memory.
        prove: Whether to hold it against the model at all.
        score: Measures the run's evals.
        card: What the model card says beside.
        name: Of the files and of the adapter, in servers.
        on_message: Called with one sentence before each slow step.

    Raises:
        SpecError: An option is invalid, or the folder isn't empty.
        ModelError: The model can't be exported so; says why and what can.
        MissingExtraError: A package of the extra `export` isn't installed.
    """
    kind = _read_format(to)
    folder = _free_folder(into)
    if adapter_only and kind != "gguf":
        raise SpecError("adapter_only=True is for to='gguf'; for PEFT's form of the adapter: to='adapter'")
    report: Callable[[str], None] = on_message or (lambda _: None)
    asked = [[*prompt] for prompt in prompts] if prompts else [[{"role": "user", "content": text}] for text in PROMPTS]
    with export_draft(folder) as draft:
        written = _write(model, draft, kind, quantization, adapter_only, name or _file_stem(model), report)
        parity = _prove(
            model, draft, kind, written, asked, max_new_tokens, reference_dtype, prove=prove, score=score, report=report
        )
        export = Export(
            path=draft,
            to=kind,
            quantization=written.quantization,
            model=base_name(model) + (" with its adapter" if model.adapter else ""),
            files={},
            parity=parity,
            census=written.census or {},
            main_file=written.main.name if written.main else None,
            adapter_file=written.adapter.name if written.adapter else None,
        )
        licence = licence_of(model)
        (draft / "README.md").write_text(model_card(model, export, card or CardFacts(), licence=licence), "utf-8")
        if parity.state == "failed":
            (draft / FAILED).write_text(_failed(parity), encoding="utf-8")
        manifest = seal_export(draft, _facts(model, export))
        if folder.exists():
            folder.rmdir()  # it was empty
        draft.replace(folder)
    sizes = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    sizes[MANIFEST] = (folder / MANIFEST).stat().st_size
    return replace(export, path=folder, files=sizes)


def _write(
    model: Model,
    into: Path,
    kind: ExportFormat,
    quantization: str | None,
    adapter_only: bool,
    name: str,
    report: Callable[[str], None],
) -> _Written:
    """Write the files of a format."""
    held = base_format_of(model)
    as_trained = (
        ("the base's weights are those of the training: quantised to 4 bits (NF4) and unpacked again (QLoRA)",)
        if held is not None
        else ()
    )
    match kind:
        case "adapter":
            if quantization is not None:
                raise SpecError("quantization isn't for to='adapter', which is written as it was trained")
            write_adapter(model, into)
            return _Written(quantization="as trained")
        case "merged":
            return _Written(quantization=write_merged(model, into, quantization, on_message=report), notes=as_trained)
        case "gguf" if adapter_only:
            base_format = read_quantization(quantization or "f16")
            adapter = write_adapter_gguf(model, into / f"{name}.adapter.gguf", name=name, on_message=report)
            base = into / f"{name}.base.{base_format}.gguf"
            made = write_gguf(model.replace(adapter=None), base, base_format, on_message=report)
            return _Written(quantization=base_format, main=made.path, adapter=adapter.path, census=made.census)
        case "gguf" | "ollama":
            chosen = read_quantization(quantization or "q8_0")
            made = write_gguf(model, into / f"{name}.{chosen}.gguf", chosen, on_message=report)
            notes = as_trained
            if kind == "ollama":
                notes = (*notes, *_write_ollama(model, into, made.path.name))
            return _Written(quantization=chosen, main=made.path, census=made.census, notes=notes)
        case _:
            assert_never(kind)


def _write_ollama(model: Model, into: Path, file_name: str) -> tuple[str, ...]:
    tokenizer = load_tokenizer(model)
    template = go_template(
        lambda messages: rendered(tokenizer, [{"role": role, "content": content} for role, content in messages])
    )
    ends = eos_token_ids(tokenizer, materialize(model))
    stops = [str(tokenizer.convert_ids_to_tokens(token)) for token in ends]
    made = write_modelfile(
        file_name,
        template=template,
        stops=stops,
        context=min(max_length_of(model, tokenizer) or 4096, 8192),
        licence=licence_of(model),
    )
    (into / "Modelfile").write_text(made.text, encoding="utf-8")
    unproven = "Ollama itself didn't run: the gates are of the GGUF file in llama.cpp"
    if template is None:
        return (
            unproven,
            "no template of Ollama's renders like this model's: the Modelfile has none, and Ollama guesses one from "
            "the file. Compare its answers before you use it, or serve the file with llama.cpp",
        )
    return (
        unproven,
        f"the template in the Modelfile is {template.name}'s, and renders samples as the model's own does",
    )


def _prove(
    model: Model,
    folder: Path,
    kind: ExportFormat,
    written: _Written,
    prompts: Sequence[Messages],
    max_new_tokens: int,
    dtype: Literal["float32", "bfloat16", "float16"],
    *,
    prove: bool,
    score: ScoreCheck | None,
    report: Callable[[str], None],
) -> Parity:
    """Hold what was written against the model."""
    files = file_gate(model, folder, kind, written.main, written.adapter)
    shown = f"{base_name(model)}{' with its adapter' if model.adapter else ''} in transformers, {dtype}"
    if not prove:
        return Parity(
            gates=(files,),
            reference="nothing (prove=False)",
            measured=NOT_RUN,
            notes=(*written.notes, "only the files were checked"),
        )
    report(f"answering {len(prompts)} prompts with the model before the export, in {dtype}")
    held = base_format_of(model) if kind != "adapter" else None
    reference, tokenizer = observe_reference(
        model, prompts, dtype=dtype, max_new_tokens=max_new_tokens, base_format=held
    )
    report("answering them with what was written")
    try:
        observed, measured = _observe(model, folder, kind, written, reference, prompts)
    except MissingExtraError:
        raise
    except FtsdkError as error:
        opened = Gate(name="opens", verdict="differs", detail=str(error))
        return Parity(
            gates=(files, opened), reference=shown, measured="nothing: it can't be opened", notes=written.notes
        )
    gates = [files, *compare(reference, observed, TOLERANCES[_tolerance(kind, written)])]
    if reference.changes and kind != "adapter":
        gates.insert([gate.name for gate in gates].index("adapter") + 1, _strength(model, folder, written, reference))
    exported = Exported(
        model=None if written.main else _as_model(model, folder, kind),
        gguf=written.main,
        gguf_adapter=written.adapter,
        is_quantized=_is_quantized(kind, written),
    )
    if score is None:
        gates.append(Gate(name="score", verdict="not checked", detail="no eval was passed"))
    else:
        report("measuring what was written by the run's evals")
        gates.append(score(exported))
    texts = [str(prompt[-1].get("content") or "") for prompt in prompts]
    return Parity(
        gates=tuple(gates),
        reference=shown + (", its base through 4 bits as in the training" if held else ""),
        measured=measured,
        changed=changed_answers(reference, observed, texts, lambda ids: str(tokenizer.decode(list(ids)))),
        notes=written.notes,
    )


def _observe(
    model: Model,
    folder: Path,
    kind: ExportFormat,
    written: _Written,
    reference: Observation,
    prompts: Sequence[Messages],
) -> tuple[Observation, str]:
    found = versions()
    if written.main is not None:
        observed = observe_gguf(written.main, reference, prompts, adapter=written.adapter)
        return observed, f"llama.cpp (xllamacpp {found.get('xllamacpp', '?')})"
    is_adapter = kind == "adapter"
    observed = observe_folder(folder, reference, prompts, is_adapter=is_adapter, code=model.trust_remote_code)
    by = f"peft {found.get('peft', '?')} on transformers" if is_adapter else "transformers"
    return observed, f"{by} {found.get('transformers', '?')}, float32"


def _strength(model: Model, folder: Path, written: _Written, reference: Observation) -> Gate:
    if written.main is None:
        return strength_gate(written_in_folder(folder, reference.changes))
    config = read_json(materialize(model) / "config.json", str(model))
    return strength_gate(written_in_gguf(written.main, written.adapter, config, reference.changes))


def _tolerance(kind: ExportFormat, written: _Written) -> str:
    if kind == "adapter":
        return "f32"
    if written.main is not None and written.quantization == "f32":
        return "f16"  # llama.cpp keeps keys and values in float16
    return written.quantization


def _is_quantized(kind: ExportFormat, written: _Written) -> bool:
    return kind in ("gguf", "ollama") and is_quantized(read_quantization(written.quantization))


def _as_model(model: Model, folder: Path, kind: ExportFormat) -> Model:
    if kind == "adapter":
        return model.replace(adapter=str(folder))
    return Model(id=str(folder.resolve()), trust_remote_code=model.trust_remote_code)


def _facts(model: Model, export: Export) -> dict[str, Any]:
    return {
        "to": export.to,
        "quantization": export.quantization,
        "state": export.state,
        "base": base_name(model),
        "main_file": export.main_file,
        "census": dict(export.census),
        "parity": export.parity.to_dict(),
        "versions": versions(),
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _failed(parity: Parity) -> str:
    lines = [f"{gate.name}: {gate.detail}" for gate in parity.gates if gate.has_failed]
    return "This export is not the model that was evaluated.\n\n" + "\n".join(lines) + "\n"


def _read_format(to: str) -> ExportFormat:
    if to not in get_args(ExportFormat):
        raise SpecError(f"to={to!r} isn't one of {', '.join(get_args(ExportFormat))}")
    return cast("ExportFormat", to)


def _free_folder(into: str | Path) -> Path:
    folder = Path(into).expanduser()
    folder = folder.parent.resolve() / folder.name if folder.name else folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(
            f"{folder} isn't an empty folder; export into a new one, so that no file of yours is overwritten"
        )
    return folder


def _file_stem(model: Model) -> str:
    stem = base_name(model).rsplit("/", 1)[-1].removesuffix(".gguf")
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in stem)
    return (kept.strip(".-") or "model") + ("-tuned" if model.adapter else "")
