"""What a model says and how sure it is: the record of it, and how transformers' models are recorded."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftsdk.models.adapter_files import has_own_embeddings
from ftsdk.models.export.base_weights import BaseFormat, unpacked
from ftsdk.models.export.gguf_tokenizer import template_text
from ftsdk.models.export.probes import CONVERSATIONS, TEXTS
from ftsdk.models.export.strength import WeightChange, adapter_changes
from ftsdk.models.loading import eos_token_ids, load_model, load_tokenizer
from ftsdk.models.materialize import materialize
from ftsdk.models.torch_stack import late_imports, loading_errors, quiet_transformers
from ftsdk.spec import Model

__all__ = ["TOP", "Answer", "Observation", "Step", "observe_folder", "observe_reference", "rendered"]

TOP = 20
"""How many of the most likely tokens of a step are recorded."""

Step = Mapping[int, float]
"""The log-probabilities of some tokens at one step of an answer, in nats."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A greedy answer."""

    tokens: tuple[int, ...]
    """Without the token that ended it."""
    is_ended: bool
    """Whether it ended by itself, rather than at the limit."""
    steps: Sequence[Step] = ()
    """One for each token, and for the end: what was likely there."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was recorded of a model."""

    text_ids: Sequence[Sequence[int]]
    """Of `TEXTS`."""
    renderings: Sequence[str | None]
    """Of `CONVERSATIONS`, ready for an answer; None where the template refuses one."""
    prompt_ids: Sequence[Sequence[int]]
    """Of the prompts."""
    template: str
    ends: frozenset[int]
    """The tokens that end an answer."""
    eos: int
    adds_bos: bool
    answers: Sequence[Answer]
    without_adapter: Sequence[Sequence[Step]] | None = None
    """The steps of the same answers by the base; None: there is no adapter."""
    changes: Mapping[str, WeightChange] = field(default_factory=dict[str, WeightChange])
    """What the adapter adds to some matrices; empty of a model that is whole, and of what was written."""
    is_forced: bool = False
    """Whether steps are of the reference's answers, even where the model itself would have gone on otherwise."""


def observe_reference(
    model: Model,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    *,
    dtype: str,
    max_new_tokens: int,
    base_format: BaseFormat = None,
) -> tuple[Observation, Any]:
    """Record a model as it is evaluated: its base with the adapter on top, and the base alone on the same answers.

    Args:
        model: What is exported.
        prompts: Conversations up to the answer.
        dtype: The number format of the computation.
        max_new_tokens: Of an answer.
        base_format: How the training saw the base.

    Returns:
        The record, and the tokenizer.
    """
    tokenizer = load_tokenizer(model)
    loaded = _load(model, dtype, base_format)
    ends = eos_token_ids(tokenizer, materialize(model))
    prompt_ids = [tokenizer(rendered(tokenizer, prompt), add_special_tokens=False)["input_ids"] for prompt in prompts]
    answers = [_answer(loaded, ids, ends, max_new_tokens) for ids in prompt_ids]
    without: list[list[Step]] | None = None
    changes: dict[str, WeightChange] = {}
    if model.adapter is not None:
        changes = adapter_changes(loaded)
        if has_own_embeddings(model.adapter):
            del loaded
            gc.collect()
            loaded = _load(model.replace(adapter=None), dtype, base_format)
        with _adapter_off(loaded):
            without = [_steps(loaded, ids, answer) for ids, answer in zip(prompt_ids, answers, strict=True)]
    del loaded
    gc.collect()
    return replace(_record(tokenizer, ends, prompt_ids, answers, without), changes=changes), tokenizer


def observe_folder(
    folder: Path,
    reference: Observation,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    *,
    is_adapter: bool,
    code: bool,
) -> Observation:
    """Record what was written, opened by plain transformers or PEFT, on the answers of the reference.

    Args:
        folder: The merged model, or the adapter.
        reference: Of the model before the export.
        prompts: The same as for it.
        is_adapter: Whether PEFT opens it.
        code: Whether its own Python code may run (`trust_remote_code`).
    """
    with late_imports("proving an export"):
        import torch
        from peft import AutoPeftModelForCausalLM
        from transformers import AutoModelForCausalLM, AutoTokenizer
    with quiet_transformers(), loading_errors("what was written can't be opened", "Export it again."):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=code)
        opener: Any = AutoPeftModelForCausalLM if is_adapter else AutoModelForCausalLM
        loaded: Any = opener.from_pretrained(folder, dtype=torch.float32, trust_remote_code=code).eval()
    ends = eos_token_ids(tokenizer, folder)
    texts = [rendered(tokenizer, prompt) or "" for prompt in prompts]
    prompt_ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    answers: list[Answer] = []
    for ids, answer in zip(reference.prompt_ids, reference.answers, strict=True):
        steps = _steps(loaded, ids, answer, wanted=answer.steps)
        told = [_top(step) for step in steps]
        expected = [*answer.tokens, *([] if not answer.is_ended else [_top(answer.steps[-1])])]
        if told == expected:
            answers.append(Answer(tokens=answer.tokens, is_ended=answer.is_ended, steps=steps))
        else:
            own = _answer(loaded, ids, sorted(reference.ends), max(1, len(expected)))
            answers.append(Answer(tokens=own.tokens, is_ended=own.is_ended, steps=steps))
    without: list[list[Step]] | None = None
    if is_adapter and not has_own_embeddings(str(folder)):
        with _adapter_off(loaded):
            without = [
                _steps(loaded, ids, answer, wanted=answer.steps)
                for ids, answer in zip(reference.prompt_ids, reference.answers, strict=True)
            ]
    return replace(_record(tokenizer, ends, prompt_ids, answers, without), is_forced=True)


def rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a conversation as the chat template renders it, ready for an answer; None if the template refuses it."""
    try:
        return str(
            tokenizer.apply_chat_template([dict(one) for one in messages], tokenize=False, add_generation_prompt=True)
        )
    except Exception:  # noqa: BLE001 - a template is a program, and raises what it likes
        return None


def _load(model: Model, dtype: str, base_format: BaseFormat) -> Any:
    """Load a model, the linear layers of its base as the training saw them."""
    loaded = load_model(model, dtype=dtype, device="cpu")
    for name, weight in loaded.named_parameters() if base_format is not None else ():
        is_linear = weight.ndim == 2 and ".layers." in name and name.endswith(".weight") and ".lora_" not in name
        if base_format is not None and is_linear:
            weight.data = unpacked(weight.data, base_format).to(weight.dtype)
    return loaded


def _record(
    tokenizer: Any,
    ends: Iterable[int],
    prompt_ids: Sequence[Sequence[int]],
    answers: Sequence[Answer],
    without: Sequence[Sequence[Step]] | None,
) -> Observation:
    plain = tokenizer("a")["input_ids"]
    return Observation(
        text_ids=[tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS],
        renderings=[rendered(tokenizer, messages) for messages in CONVERSATIONS] if tokenizer.chat_template else [],
        prompt_ids=prompt_ids,
        template=template_text(tokenizer) if tokenizer.chat_template else "",
        ends=frozenset(ends),
        eos=tokenizer.eos_token_id,
        adds_bos=len(plain) > 1 and plain[0] == tokenizer.bos_token_id,
        answers=answers,
        without_adapter=without,
    )


def _answer(model: Any, prompt: Sequence[int], ends: Iterable[int], max_new_tokens: int) -> Answer:
    """Answer greedily, one token after the other."""
    import torch

    stops, tokens, steps = frozenset(ends), list[int](), list[Step]()
    # PEFT puts learned prompts and prefixes before whatever it is called with, so that each call has the whole row.
    has_cache = not getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    with torch.inference_mode():
        ids, cache = torch.tensor([list(prompt)]), None
        for _ in range(max_new_tokens):
            found = model(input_ids=ids, past_key_values=cache, use_cache=has_cache)
            cache = found.past_key_values if has_cache else None
            scores = found.logits[0, -1].float().log_softmax(dim=-1)
            steps.append(_step(scores, ()))
            token = int(scores.argmax())
            if token in stops:
                return Answer(tokens=tuple(tokens), is_ended=True, steps=steps)
            tokens.append(token)
            ids = torch.tensor([[token] if has_cache else [*prompt, *tokens]])
    return Answer(tokens=tuple(tokens), is_ended=False, steps=steps)


def _steps(model: Any, prompt: Sequence[int], answer: Answer, *, wanted: Sequence[Step] = ()) -> list[Step]:
    """Return what a model finds likely at each step of a given answer, in one pass."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([[*prompt, *answer.tokens]])
        # From the end: learned prompts have logits, too, before those of the row.
        logits = model(input_ids=ids, use_cache=False).logits[0, -len(answer.tokens) - 1 :]
        scores = logits.float().log_softmax(dim=-1)
    count = len(answer.steps)
    also = wanted or answer.steps
    return [_step(scores[index], also[index]) for index in range(count)]


def _step(scores: Any, also: Iterable[int]) -> dict[int, float]:
    top = scores.topk(min(TOP, scores.shape[0]))
    found = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    rest = [token for token in also if token not in found]
    return {**found, **dict(zip(rest, scores[rest].tolist(), strict=True))} if rest else found


def _top(step: Step) -> int:
    return max(step, key=step.__getitem__)


@contextlib.contextmanager
def _adapter_off(model: Any) -> Generator[None]:
    with model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext():
        yield
