"""The tokenizer in a GGUF file: its tokens, its merges, its special tokens and its chat template.

llama.cpp knows how a text is split before it is merged by a name alone, `tokenizer.ggml.pre`, and a wrong name shows in
no usual answer. So there is a list of the splitters that are known, as they stand in `tokenizer.json`; any other is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models.folder_files import read_json

__all__ = ["PRE_TOKENIZERS", "add_tokenizer", "pre_tokenizer_of", "template_text"]

_LLAMA_3 = "|".join(
    (
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
PRE_TOKENIZERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "gpt-2": ({"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},),
    "smollm": (
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    ),
    "llama-bpe": (
        {"type": "Split", "pattern": {"Regex": _LLAMA_3}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ),
}
"""llama.cpp's names of splitters (src/llama-vocab.cpp), by what `tokenizer.json` has for them, without
`trim_offsets`, which changes no token."""
_IGNORES_MERGES = frozenset({"llama-bpe"})
"""For these llama.cpp takes a whole word from the vocabulary before it merges, as `ignore_merges` does."""


def pre_tokenizer_of(content: Mapping[str, Any], shown: str) -> str:
    """Return llama.cpp's name of how a tokenizer splits text.

    Args:
        content: Of `tokenizer.json`.
        shown: The name of the model in errors.

    Raises:
        ModelError: It isn't known.
    """
    model = cast("Mapping[str, Any]", content.get("model") or {})
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise _unknown(
            shown, f"it is of the type {model.get('type')!r}" + " with bytes" * bool(model.get("byte_fallback"))
        )
    if content.get("normalizer"):
        raise _unknown(shown, "it changes the text first (normalizer)")
    stated = cast("Mapping[str, Any]", content.get("pre_tokenizer") or {})
    steps = (
        cast("Sequence[Mapping[str, Any]]", stated.get("pretokenizers") or ())
        if stated.get("type") == "Sequence"
        else (stated,)
    )
    found = tuple({key: value for key, value in step.items() if key != "trim_offsets"} for step in steps)
    for name, known in PRE_TOKENIZERS.items():
        if found == tuple(map(dict, known)):
            if bool(model.get("ignore_merges")) is not (name in _IGNORES_MERGES):
                raise _unknown(shown, f"ignore_merges is {model.get('ignore_merges')} in it, which {name} doesn't have")
            return name
    raise _unknown(shown, "it splits text in a way that isn't on the list")


def _unknown(shown: str, why: str) -> ModelError:
    return ModelError(
        f"{shown} can't be written as GGUF: llama.cpp names a tokenizer's splitter, and this one isn't known to be "
        f"{', '.join(PRE_TOKENIZERS)}: {why}. A wrong name would change tokens without a sign of it. Write the model "
        "merged (to='merged') and convert that folder with llama.cpp's own convert_hf_to_gguf.py, which knows more"
    )


def template_text(tokenizer: Any) -> str:
    """Return the chat template that a conversation is rendered with."""
    own: Any = tokenizer.chat_template
    return str(own.get("default", "") if isinstance(own, dict) else own)


def add_tokenizer(
    writer: Any,
    folder: Path,
    tokenizer: Any,
    *,
    rows: int,
    eos_token_ids: Sequence[int],
    shown: str,
) -> None:
    """Add a tokenizer to a GGUF file that is being written.

    Args:
        writer: A `gguf.GGUFWriter`.
        folder: With `tokenizer.json`.
        tokenizer: The same as transformers' object, with the chat template of the training.
        rows: How many token ids the embedding has.
        eos_token_ids: The tokens that end an answer; the first is the tokenizer's own.
        shown: The name of the model in errors.

    Raises:
        ModelError: There is no `tokenizer.json`, its splitter isn't known, or it has more tokens than the embedding.
    """
    import gguf

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _unknown(shown, "there is no tokenizer.json, so it is probably of SentencePiece")
    content = read_json(path, shown)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_of(content, shown))
    texts = [f"[PAD{index}]" for index in range(rows)]
    kinds = [int(gguf.TokenType.UNUSED)] * rows
    added = cast("list[dict[str, Any]]", content.get("added_tokens") or [])
    if (last := max([*content["model"]["vocab"].values(), *(token["id"] for token in added)], default=0)) >= rows:
        raise ModelError(
            f"{shown} has token {last}, beyond the {rows:,} rows of its embedding: tokens were added without resizing "
            "the model"
        )
    for text, index in content["model"]["vocab"].items():
        texts[index], kinds[index] = text, int(gguf.TokenType.NORMAL)
    for token in added:
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        texts[token["id"]], kinds[token["id"]] = token["content"], int(kind)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    merges = content["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(eos_token_ids[0])
    for add, token in zip((writer.add_eot_token_id, writer.add_eom_token_id), eos_token_ids[1:], strict=False):
        add(token)
    if tokenizer.unk_token_id is not None:
        writer.add_unk_token_id(tokenizer.unk_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    ids = tokenizer("a")["input_ids"]  # what it does, which isn't always what its config states
    writer.add_add_bos_token(bool(ids) and len(ids) > 1 and ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(bool(ids) and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id)
    writer.add_chat_template(template_text(tokenizer))
