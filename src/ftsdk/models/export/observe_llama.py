"""How a GGUF file behaves in llama.cpp, recorded as transformers' models are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import BackendError
from ftsdk.models.export.llama_server import LlamaServer, llama_server
from ftsdk.models.export.observation import TOP, Answer, Observation, Step
from ftsdk.models.export.probes import CONVERSATIONS, TEXTS
from ftsdk.models.headers import read_gguf_header

__all__ = ["observe_gguf"]

_SPARE = 64
"""Tokens of context beyond prompt and answer."""


def observe_gguf(
    path: Path,
    reference: Observation,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    *,
    adapter: Path | None = None,
) -> Observation:
    """Record a GGUF file, served by llama.cpp in a process of its own.

    Args:
        path: The model.
        reference: Of the model before the export.
        prompts: The same as for it.
        adapter: A GGUF adapter on top.

    Raises:
        MissingExtraError: xllamacpp isn't installed.
        BackendError: llama.cpp can't load the file.
    """
    fields = read_gguf_header(path).fields
    ends = frozenset(
        found
        for name in ("eos", "eot", "eom")
        if isinstance(found := fields.get(f"tokenizer.ggml.{name}_token_id"), int)
    )
    known = ends | reference.ends
    rows = zip(reference.prompt_ids, reference.answers, strict=True)
    longest = max((len(ids) + len(answer.steps) for ids, answer in rows), default=0)
    with llama_server(path, adapters=[adapter] if adapter else [], context=longest + _SPARE) as server:
        answers = [
            _answer(server.complete(ids, max_new_tokens=max(1, len(answer.steps)), top=TOP), known)
            for ids, answer in zip(reference.prompt_ids, reference.answers, strict=True)
        ]
        without: list[list[Step]] | None = None
        if adapter is not None:
            without = [
                list(_answer(server.complete(ids, max_new_tokens=1, top=TOP, is_adapted=False), known).steps[:1])
                for ids in reference.prompt_ids
            ]
        return Observation(
            text_ids=[server.tokenize(text) for text in TEXTS],
            renderings=[_rendered(server, messages) for messages in CONVERSATIONS],
            prompt_ids=[server.tokenize_prompt(server.apply_template(prompt)) for prompt in prompts],
            template=str(fields.get("tokenizer.chat_template", "")),
            ends=ends,
            eos=int(fields.get("tokenizer.ggml.eos_token_id", -1)),
            adds_bos=bool(fields.get("tokenizer.ggml.add_bos_token", False)),
            answers=answers,
            without_adapter=without,
        )


def _rendered(server: LlamaServer, messages: Sequence[Mapping[str, Any]]) -> str | None:
    try:
        return server.apply_template(messages)
    except BackendError:
        return None  # the template refuses this conversation, as the reference's may


def _answer(found: Mapping[str, Any], ends: frozenset[int]) -> Answer:
    tokens = [int(token) for token in found.get("tokens", ())]
    is_ended = found.get("stop_type") == "eos"
    entries = cast("Sequence[Mapping[str, Any]]", found.get("completion_probabilities") or ())
    steps: list[Step] = []
    for index, entry in enumerate(entries):
        # Tokens that are pieces of one character are left out of this list: what follows is of other steps.
        if index < len(tokens) and entry["id"] != tokens[index]:
            break
        top = cast("Sequence[Mapping[str, Any]]", entry["top_logprobs"])
        steps.append({int(one["id"]): float(one["logprob"]) for one in top})
    if is_ended and tokens and tokens[-1] in ends:
        tokens = tokens[:-1]  # the list has the token that ended the answer, too
    return Answer(tokens=tuple(tokens), is_ended=is_ended, steps=steps)
