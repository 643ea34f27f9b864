"""Models and adapters as GGUF files, written tensor by tensor by the official `gguf` package."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ftsdk._files import replacing
from ftsdk._rich_text import rich_text
from ftsdk.errors import MissingExtraError, ModelError, SpecError
from ftsdk.models.export.base_weights import MergedWeights, base_format_of, open_weights
from ftsdk.models.export.gguf_tokenizer import add_tokenizer
from ftsdk.models.export.llama_names import (
    check_llama,
    gguf_name,
    head_counts,
    layer_of,
    rope_base,
    rope_factors,
    rope_rows,
)
from ftsdk.models.export.quantizing import (
    Quantization,
    file_type_of,
    is_quantized,
    quantize,
    quantized_type,
    read_quantization,
)
from ftsdk.models.headers import read_gguf_header
from ftsdk.models.identity import base_name
from ftsdk.models.loading import eos_token_ids, load_tokenizer
from ftsdk.spec import Model

__all__ = ["GgufFile", "gguf_architecture", "write_adapter_gguf", "write_gguf"]


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """A GGUF file that was written."""

    path: Path
    is_adapter: bool
    n_bytes: int
    sha256: str
    census: Mapping[str, int]
    """How many tensors have each number format, such as `{"Q8_0": 211, "F32": 61}`: of more than the label says."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.census.items())
        return f"{self.path} ({self.n_bytes:,} bytes; tensors: {kinds})"

    __rich__ = rich_text


def write_gguf(
    model: Model,
    into: str | Path,
    quantization: str = "q8_0",
    *,
    name: str | None = None,
    on_message: Callable[[str], None] | None = None,
) -> GgufFile:
    """Write a model, its adapter merged in, as one GGUF file for llama.cpp.

    Args:
        model: A Llama with or without an adapter; for the base alone pass `model.replace(adapter=None)`.
        into: The file; it appears whole or not at all.
        quantization: `"f32"`, `"f16"`, `"bf16"`, `"q8_0"`, `"q6_k"`, `"q5_k_m"` or `"q4_k_m"`.
        name: What the file calls the model. None: the base's name, and "tuned" if there is an adapter.
        on_message: Called with one sentence before each slow step.

    Raises:
        ModelError: The model isn't a plain Llama, its tokenizer's splitter isn't known, or its adapter can't be merged.
        SpecError: There is no such quantisation.
        MissingExtraError: gguf isn't installed, or ggml-python for K-quants.
    """
    wanted = read_quantization(quantization)
    _need_gguf()
    weights = open_weights(model, on_message=on_message, base_format=base_format_of(model))
    check_llama(weights.config, str(model))
    tokenizer = load_tokenizer(model)
    if on_message is not None:
        on_message(f"writing {base_name(model)} as GGUF, {wanted}")
    try:
        with replacing(Path(into).expanduser()) as draft:
            census = _write_model(draft, weights, tokenizer, wanted, name or _name(model), model)
    finally:
        weights.close()
    return _described(Path(into).expanduser(), census, is_adapter=False)


def write_adapter_gguf(
    model: Model, into: str | Path, *, name: str | None = None, on_message: Callable[[str], None] | None = None
) -> GgufFile:
    """Write the adapter of a model as a GGUF file, which llama.cpp applies to the base's file.

    The scale is that of the training, for rsLoRA and for patterns of ranks and alphas, too: llama.cpp knows alpha over
    rank alone.

    Args:
        model: A Llama with an adapter.
        into: The file; it appears whole or not at all.
        name: What servers show as the adapter's name (`adapter.lora.task_name`).
        on_message: Called with one sentence before each slow step.

    Raises:
        ModelError: The model isn't a plain Llama, or its adapter is more than low-rank updates of linear layers.
        SpecError: The model has no adapter.
        MissingExtraError: gguf isn't installed.
    """
    if model.adapter is None:
        raise SpecError(f"{model} has no adapter; to write the whole model, use write_gguf")
    _need_gguf()
    weights = open_weights(model, on_message=on_message)
    check_llama(weights.config, str(model))
    try:
        with replacing(Path(into).expanduser()) as draft:
            census = _write_adapter(draft, weights, name, str(model))
    finally:
        weights.close()
    return _described(Path(into).expanduser(), census, is_adapter=True)


def gguf_architecture(model: Model) -> str:
    """Return the GGUF architecture that a model would be written as.

    Raises:
        ModelError: None that is written here.
    """
    weights = open_weights(model.replace(adapter=None))
    check_llama(weights.config, str(model))
    return "llama"


def _write_model(
    draft: Path, weights: MergedWeights, tokenizer: Any, quantization: Quantization, name: str, model: Model
) -> Counter[str]:
    import gguf
    import numpy as np

    config, shown = weights.config, str(model)
    writer = gguf.GGUFWriter(draft, "llama")
    writer.add_type("model")
    writer.add_name(name)
    _add_sizes(writer, config, weights)
    writer.add_file_type(file_type_of(quantization))
    if is_quantized(quantization):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    rows = weights.shapes["model.embed_tokens.weight"][0]
    ends = eos_token_ids(tokenizer, weights.folder)
    add_tokenizer(writer, weights.folder, tokenizer, rows=rows, eos_token_ids=ends, shown=shown)
    census: Counter[str] = Counter()
    planned: list[tuple[str, str, Any]] = []
    layers = int(config["num_hidden_layers"])
    for tensor, shape in weights.shapes.items():
        if tensor.endswith("rotary_emb.inv_freq"):
            continue
        target = gguf_name(tensor, shown)
        kind = quantized_type(
            target, shape, quantization, layer=layer_of(tensor), layers=layers, is_tied=weights.is_tied
        )
        planned.append((tensor, target, kind))
        _add_info(writer, target, shape, kind)
        census[kind.name] += 1
    factors = rope_factors(config)
    if factors is not None:
        _add_info(writer, "rope_freqs.weight", (len(factors),), gguf.GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, target, kind in planned:
        values = rope_rows(tensor, weights.merged(tensor).numpy(), config)
        writer.write_tensor_data(quantize(target, values, kind))
    if factors is not None:
        writer.write_tensor_data(np.asarray(factors, dtype=np.float32))
    writer.close()
    return census


def _add_sizes(writer: Any, config: Mapping[str, Any], weights: MergedWeights) -> None:
    heads, key_heads, width = head_counts(config)
    writer.add_context_length(int(config.get("max_position_embeddings") or 2048))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_rope_dimension_count(width)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_vocab_size(weights.shapes["model.embed_tokens.weight"][0])
    writer.add_rope_freq_base(rope_base(config))
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))


def _add_info(writer: Any, name: str, shape: tuple[int, ...], kind: Any) -> None:
    """Announce a tensor, whose numbers follow later."""
    import gguf
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    if kind in (kinds.F32, kinds.F16):
        dtype: Any = np.dtype(np.float32 if kind == kinds.F32 else np.float16)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(name, shape, dtype, n_bytes, raw_dtype=kind)
        return
    block, size = gguf.GGML_QUANT_SIZES[kind]
    packed = (*shape[:-1], shape[-1] // block * size)
    writer.add_tensor_info(name, packed, np.dtype(np.uint8), int(np.prod(packed)), raw_dtype=kind)


def _write_adapter(draft: Path, weights: MergedWeights, name: str | None, shown: str) -> Counter[str]:
    import gguf
    import numpy as np

    plan = weights.plan
    assert plan is not None
    if beside := sorted([*plan.replaced, *plan.rows]):
        raise _not_low_rank(shown, f"it has weights of its own for {beside[0].removesuffix('.weight')}")
    writer = gguf.GGUFWriter(draft, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    if name is not None:
        writer.add_string("adapter.lora.task_name", name)
    # llama.cpp multiplies by alpha / rank, with one alpha for all and each matrix's own rank.
    alpha = next((update.scale * update.rank for update in plan.low_rank.values()), 0.0)
    if not alpha:
        raise _not_low_rank(shown, "it has no low-rank matrices, or a scale of 0")
    writer.add_float32("adapter.lora.alpha", alpha)
    census: Counter[str] = Counter()
    for tensor, update in plan.low_rank.items():
        if update.magnitude is not None:
            raise _not_low_rank(shown, f"it is of DoRA ({tensor.removesuffix('.weight')} has a magnitude)")
        if update.is_embedding or layer_of(tensor) is None:
            raise _not_low_rank(shown, f"it changes {tensor.removesuffix('.weight')}, outside of the layers")
        target = gguf_name(tensor, shown)
        a, b = (weights.adapter_tensor(part).float().numpy() for part in (update.a, update.b))
        b = rope_rows(tensor, b * np.float32(update.scale * update.rank / alpha), weights.config)
        writer.add_tensor(f"{target}.lora_a", np.ascontiguousarray(a, dtype=np.float32))
        writer.add_tensor(f"{target}.lora_b", np.ascontiguousarray(b, dtype=np.float32))
        census["F32"] += 2
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return census


def _not_low_rank(shown: str, why: str) -> ModelError:
    return ModelError(
        f"the adapter of {shown} has no form in GGUF: {why}. Merge it into the model instead: to='gguf', without "
        "adapter_only"
    )


def _described(path: Path, census: Counter[str], *, is_adapter: bool) -> GgufFile:
    read_gguf_header(path)  # whole, as we read it
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    ordered = dict(sorted(census.items(), key=lambda entry: (-entry[1], entry[0])))
    return GgufFile(path=path, is_adapter=is_adapter, n_bytes=path.stat().st_size, sha256=digest, census=ordered)


def _name(model: Model) -> str:
    return base_name(model) + (" tuned" if model.adapter is not None else "")


def _need_gguf() -> None:
    try:
        import_module("gguf")
    except ImportError as error:
        raise MissingExtraError("export", needed_for="writing GGUF", missing=error.name) from error
