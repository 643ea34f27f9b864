"""Inspect a model without loading it: whether it is there, complete and safe, and how large it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, assert_never, cast

from ftsdk.errors import ModelError
from ftsdk.models.adapter_files import check_adapter
from ftsdk.models.config_sizes import check_adapter_sizes, check_sizes
from ftsdk.models.folder_files import describe_missing, read_json
from ftsdk.models.headers import GgufHeader, read_gguf_header, read_safetensors_header
from ftsdk.models.hub_cache import cached_snapshot, check_hub_id
from ftsdk.models.identity import base_name
from ftsdk.models.limits import LIMITS
from ftsdk.spec import Model

__all__ = [
    "ModelFacts",
    "check_stated_sizes",
    "inspect_folder",
    "inspect_model",
    "weight_files",
]

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
"""Ends of the names that token embeddings have in published models."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is known of a model before it is loaded. None means unknown; nothing is guessed."""

    source: Literal["hub", "folder", "gguf"]
    name: str
    """Display name: the hub id, or the name of the folder or file."""
    is_downloaded: bool
    """Whether the weights are on this machine; False for a hub model that hasn't been downloaded."""
    path: Path | None = None
    """The folder or the GGUF file."""
    architecture: str | None = None
    """The class, such as `"LlamaForCausalLM"`; for a GGUF file the name in it, `"llama"`."""
    model_type: str | None = None
    parameters: int | None = None
    """How many numbers the weights hold, counted from the headers of the files; tied weights count once."""
    stored_dtype: str | None = None
    """The number format on disk, as the file calls it."""
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    """The context length, in tokens."""
    tie_word_embeddings: bool | None = None
    embedding_rows: int | None = None
    """How many token ids the embedding has, by the header of the file: where it isn't `vocab_size`, this is right."""
    module_dimensions: Mapping[str, int] = field(default_factory=dict[str, int])
    """Dimensions of each module's weight, by the module's name in the file: 2 for linear layers, 1 for norms."""
    notes: tuple[str, ...] = ()
    """What to know before using it."""


def inspect_model(model: Model) -> ModelFacts:
    """Inspect a model offline, in milliseconds, without torch or transformers.

    Raises:
        ModelError: The folder or file doesn't exist, is incomplete, holds only pickles, or needs code of its own
            without `trust_remote_code`. A hub model that isn't downloaded is not an error: `is_downloaded` is False.
    """
    if model.adapter is not None:
        check_adapter(model.adapter)
    match model.source:
        case "gguf":
            return _inspect_gguf(model)
        case "folder":
            folder = Path(model.id).expanduser()
            if not folder.is_dir():
                raise ModelError(describe_missing(folder, model.id, "folder"))
            return inspect_folder(folder, model, shown=model.id)
        case "hub":
            return _inspect_hub(model)
        case _:
            assert_never(model.source)


def inspect_folder(folder: Path, model: Model, *, shown: str) -> ModelFacts:
    """Inspect a folder of safetensors weights.

    Args:
        folder: The folder with the files.
        model: The model that it holds, for its name and whether its code may run.
        shown: The name of the folder in errors.

    Raises:
        ModelError: No config, no or incomplete weights, only pickles, or code of its own without `trust_remote_code`.
    """
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        if "adapter_config.json" in names:
            raise ModelError(
                f"{shown} is an adapter, not a whole model: write Model(id=<its base model>, adapter={shown!r}), "
                f"or --adapter {shown} after its base on a command line."
            )
        ggufs = sorted(name for name in names if name.endswith(".gguf"))
        advice = f"Pass {folder / ggufs[0]}." if ggufs else "Pass the folder that holds config.json."
        raise ModelError(f"{shown} has no config.json, so it is not a model in the Hugging Face layout. {advice}")
    config = read_json(folder / "config.json", shown)
    _refuse_remote_code(folder, config, model, shown)
    headers = [read_safetensors_header(path) for path in weight_files(folder, shown)]
    facts = _facts_of_config(
        config, ModelFacts(source=model.source, name=base_name(model), is_downloaded=True, path=folder)
    )
    notes: list[str] = []
    parameters: int | None = sum(header.parameters for header in headers)
    if isinstance(config.get("quantization_config"), dict):
        parameters = None  # packed weights have other shapes than the model's
        notes.append("the weights are already quantised")
    dtypes = sorted({dtype for header in headers for dtype in header.dtypes})
    shapes = {name: shape for header in headers for name, shape in header.shapes.items()}
    return replace(
        facts,
        parameters=parameters,
        stored_dtype="+".join(dtypes) or None,
        embedding_rows=_embedding_rows(shapes),
        module_dimensions={name.rpartition(".")[0]: len(shape) for name, shape in shapes.items() if "weight" in name},
        notes=tuple(notes),
    )


def check_stated_sizes(path: Path, *, shown: str, adapter: str | None = None) -> None:
    """Refuse a model that states more than its files hold, before a library allocates what it states.

    Args:
        path: A folder that `inspect_folder` has passed, or a GGUF file.
        shown: The name of the model in errors.
        adapter: The folder of the adapter on top, which `inspect_model` has passed.

    Raises:
        ModelError: A size in the config or the GGUF header is far beyond the weights.
    """
    if adapter is not None:
        folder = Path(adapter).expanduser()
        weights = read_safetensors_header(folder / "adapter_model.safetensors")
        check_adapter_sizes(read_json(folder / "adapter_config.json", adapter), weights.parameters, shown=adapter)
    if path.is_file():
        found = read_gguf_header(path)
        sizes = {key.partition(".")[2]: value for key, value in found.fields.items()}
        check_sizes(sizes, found.tensor_names, found.parameters, shown=shown)
        return
    config = read_json(path / "config.json", shown)
    headers = [read_safetensors_header(part) for part in weight_files(path, shown)]
    tensors = [name for header in headers for name in header.shapes]
    parameters = sum(header.parameters for header in headers)
    check_sizes({**config, **_text_part(config)}, tensors, parameters, shown=shown)


def _embedding_rows(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    rows = {shape[0] for name, shape in shapes.items() if name.endswith(_EMBEDDINGS) and len(shape) == 2}
    return rows.pop() if len(rows) == 1 else None


def _inspect_hub(model: Model) -> ModelFacts:
    check_hub_id(model.id)
    notes: tuple[str, ...] = ()
    if Path(model.id).is_dir():
        notes = (
            f"there is also a folder {model.id!r} here; the hub's model is used. For the folder, write './{model.id}'.",
        )
    facts = ModelFacts(source="hub", name=base_name(model), is_downloaded=False, notes=notes)
    snapshot = cached_snapshot(model.id, model.revision)
    if snapshot is None or not (snapshot / "config.json").is_file():
        return facts
    config = read_json(snapshot / "config.json", str(model))
    names = {path.name for path in snapshot.iterdir()}
    if not names & {"model.safetensors", "model.safetensors.index.json"}:
        _refuse_remote_code(snapshot, config, model, str(model))
        return replace(
            _facts_of_config(config, facts), notes=(*notes, "only the config is downloaded, not the weights")
        )
    found = inspect_folder(snapshot, model, shown=str(model))
    return replace(found, notes=(*notes, *found.notes))


def _inspect_gguf(model: Model) -> ModelFacts:
    path = Path(model.id).expanduser()
    if not path.is_file():
        raise ModelError(describe_missing(path, model.id, "file"))
    header = read_gguf_header(path)
    return _facts_of_gguf(header, ModelFacts(source="gguf", name=base_name(model), is_downloaded=True, path=path))


def _facts_of_gguf(header: GgufHeader, facts: ModelFacts) -> ModelFacts:
    heads, hidden = header.size_of("attention.head_count"), header.size_of("embedding_length")
    vocabulary = header.size_of("vocab_size") or header.fields.get("tokenizer.ggml.tokens")
    return replace(
        facts,
        architecture=header.architecture,
        model_type=header.architecture,
        parameters=header.parameters,
        hidden_size=hidden,
        intermediate_size=header.size_of("feed_forward_length"),
        num_hidden_layers=header.size_of("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=header.size_of("attention.head_count_kv") or heads,
        head_dim=header.size_of("attention.key_length") or (hidden // heads if hidden and heads else None),
        vocab_size=vocabulary if isinstance(vocabulary, int) else None,
        max_position_embeddings=header.size_of("context_length"),
        tie_word_embeddings="output.weight" not in header.tensor_names,
    )


def _facts_of_config(config: Mapping[str, Any], facts: ModelFacts) -> ModelFacts:
    text = _text_part(config)

    def number(key: str) -> int | None:
        found = text.get(key, config.get(key))
        return (
            found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < LIMITS.config_size else None
        )

    heads, hidden = number("num_attention_heads"), number("hidden_size")
    architectures, model_type = config.get("architectures"), config.get("model_type")
    first = cast("list[object]", architectures)[0] if isinstance(architectures, list) and architectures else None
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return replace(
        facts,
        architecture=first if isinstance(first, str) else None,
        model_type=model_type if isinstance(model_type, str) else None,
        hidden_size=hidden,
        intermediate_size=number("intermediate_size"),
        num_hidden_layers=number("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=number("num_key_value_heads") or heads,
        head_dim=number("head_dim") or (hidden // heads if hidden and heads else None),
        vocab_size=number("vocab_size"),
        max_position_embeddings=number("max_position_embeddings"),
        tie_word_embeddings=tied if isinstance(tied, bool) else None,
    )


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the sizes are: multimodal models keep those of their language part one level down."""
    inner = config.get("text_config")
    return cast("Mapping[str, Any]", inner) if isinstance(inner, dict) else config


def weight_files(folder: Path, shown: str) -> list[Path]:
    """Return the files that transformers would load: one file, or the parts that an index names.

    Raises:
        ModelError: There are none, some are missing, or there are only pickles.
    """
    names = {path.name for path in folder.iterdir()}
    if "model.safetensors" in names:
        return [folder / "model.safetensors"]
    if "model.safetensors.index.json" in names:
        parts = read_json(folder / "model.safetensors.index.json", shown).get("weight_map")
        files = (
            sorted({str(part) for part in cast("dict[str, str]", parts).values()}) if isinstance(parts, dict) else []
        )
        # The index is untrusted input: a name in it must stay inside the folder.
        missing = [name for name in files if "/" in name or "\\" in name or name not in names]
        if missing or not files:
            what = (
                f"{len(missing)} of {len(files)} parts are missing ({', '.join(missing[:3])})"
                if missing
                else "its index names no parts"
            )
            raise ModelError(f"{shown} is incomplete: {what}. Copy or download it again.")
        return [folder / name for name in files]
    pickles = sorted(name for name in names if name.endswith(_PICKLES) and name != "training_args.bin")
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        raise ModelError(
            f"{shown} has {others[0]} but no model.safetensors and no model.safetensors.index.json, which is what "
            "transformers loads."
        )
    if pickles:
        raise ModelError(
            f"{shown} has only pickle weights ({pickles[0]}): a pickle can run any code when it is opened, so ftsdk "
            "loads only safetensors. "
            "Convert a file that you trust, in a process of its own: "
            'python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('FOLDER').save_pretrained('NEW_FOLDER')\" "
            "and copy the tokenizer's files too."
        )
    raise ModelError(f"{shown} has no weights: there is no *.safetensors file. Copy or download the model again.")


def _refuse_remote_code(folder: Path, config: Mapping[str, Any], model: Model, shown: str) -> None:
    if model.trust_remote_code:
        return
    tokenizer_file = folder / "tokenizer_config.json"
    tokenizer = read_json(tokenizer_file, shown) if tokenizer_file.is_file() else {}
    for file, content in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        wanted = content.get("auto_map")
        if wanted:
            first = next(iter(cast("dict[str, Any]", wanted).values())) if isinstance(wanted, dict) else wanted
            raise ModelError(
                f"{shown} needs its own Python code ({file}: auto_map names {first!r}), which could do anything that "
                "you can. "
                "Read that code, then allow it with Model(..., trust_remote_code=True)."
            )
