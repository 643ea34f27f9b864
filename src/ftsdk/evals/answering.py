"""Answers without an eval: text in, text out, from a model on this machine or an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from ftsdk._format import printable
from ftsdk.errors import BackendError, DatasetError, SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.constraints import Choices, Constraint, JsonSchema
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.loaded_models import LOADED
from ftsdk.evals.local_generation import TransformersGenerator
from ftsdk.evals.prompts import Prompts, read_prompts
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.spending import meter_for
from ftsdk.evals.wrapped_targets import check_of
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount

__all__ = ["DEFAULT_NEW_TOKENS", "answer_locally", "answer_model", "answer_remotely", "refuse_empty", "unload_model"]

DEFAULT_NEW_TOKENS = 512
"""The longest answer, in tokens, where nobody says: some four hundred words of English."""
_SHOWN = 120
"""Characters of an answer that an error repeats."""

_log = logging.getLogger(__name__)


def answer_model(
    model: Model,
    prompt: object,
    /,
    *,
    system: str | None = None,
    max_new_tokens: int | None = None,
    choices: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
) -> str | list[str]:
    """Answer with a model on this machine; see `Model.generate`."""
    asked = read_prompts(prompt, system=system)
    constraint = _constraint(choices, schema)
    _check_limit(max_new_tokens)
    if not asked.conversations:
        return []
    with LOADED.use(model) as generator:
        found = answer_locally(generator, asked, max_new_tokens=max_new_tokens, constraint=constraint)
    return _texts(asked, found, constraint, max_new_tokens)


def unload_model(model: Model, /) -> None:
    """Free the memory of a model; see `Model.unload`."""
    LOADED.unload(model)


def answer_locally(
    generator: TransformersGenerator,
    asked: Prompts,
    *,
    max_new_tokens: int | None,
    constraint: Constraint | None = None,
) -> list[Answer]:
    """Answer with a model that is loaded.

    Args:
        generator: The model.
        asked: What is asked.
        max_new_tokens: The longest answer in tokens; None: `DEFAULT_NEW_TOKENS`, or what the context has left.
        constraint: What answers keep to.

    Raises:
        DatasetError: A prompt doesn't fit into the context.
    """
    if constraint is not None:
        generator = generator.constrained(constraint)
    lengths = generator.prompt_lengths(asked.conversations)
    by_limit: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        limit = _limit(length, generator.max_length, max_new_tokens, asked.where(index))
        by_limit.setdefault(limit, []).append(index)
    found: dict[int, Answer] = {}
    for limit, indexes in by_limit.items():
        conversations = [asked.conversations[index] for index in indexes]
        for place, answer in generator.stream(conversations, max_new_tokens=limit):
            found[indexes[place]] = answer
    return [found[index] for index in range(len(lengths))]


def answer_remotely(
    endpoint: Endpoint,
    prompt: object,
    /,
    *,
    system: str | None = None,
    max_new_tokens: int | None = None,
    choices: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    budget_usd: Decimal | float | None = None,
) -> str | list[str]:
    """Answer with an endpoint; see `Endpoint.generate`."""
    asked = read_prompts(prompt, system=system)
    constraint = _constraint(choices, schema)
    _check_limit(max_new_tokens)
    meter = meter_for([endpoint.target("the endpoint")], budget_usd)
    if not asked.conversations:
        return []
    limit = DEFAULT_NEW_TOKENS if max_new_tokens is None else max_new_tokens
    with endpoint.open() as wire:
        if meter is not None:
            wire = wire.metered(meter)
        if constraint is not None:
            wire = wire.constrained(constraint)
        found = wire.answers(asked.conversations, max_new_tokens=limit)
    for index, answer in enumerate(found):
        refuse_empty(answer, limit, asked.where(index))
    return _texts(asked, found, constraint, max_new_tokens, endpoint)


def refuse_empty(answer: Answer, limit: int, where: str) -> None:
    """Refuse an answer of a server that has used up its tokens before it said anything.

    Raises:
        BackendError: It is such an answer.
    """
    if answer.is_cut and not answer.text.strip():
        raise BackendError(
            f"the server's answer to {where} is empty: {limit:,} tokens were used up, probably by reasoning. Raise "
            "max_new_tokens"
        )


def _constraint(choices: object, schema: object) -> Constraint | None:
    if choices is not None and schema is not None:
        raise SpecError("pass either choices=[...] or schema={...}, or neither")
    if choices is not None:
        is_list = isinstance(choices, Iterable) and not isinstance(choices, str | bytes)
        texts = list(cast("Iterable[object]", choices)) if is_list else [None]
        if not all(isinstance(text, str) for text in texts):
            raise SpecError(f"choices must be a list of texts; got {choices!r}")
        return Choices(tuple(map(str, texts)))
    if schema is not None:
        if not isinstance(schema, Mapping):
            raise SpecError(f"schema must be a JSON Schema as a dict; got {schema!r}")
        return JsonSchema(dict(cast("Mapping[str, Any]", schema)))
    return None


def _check_limit(max_new_tokens: int | None) -> None:
    if max_new_tokens is not None:
        check_amount("max_new_tokens", max_new_tokens, at_least=1, at_most=1e9, is_whole=True)


def _limit(length: int, context: int | None, asked: int | None, where: str) -> int:
    """Return how long an answer may be.

    Raises:
        DatasetError: There is no room for it.
    """
    wanted = DEFAULT_NEW_TOKENS if asked is None else asked
    room = wanted if context is None else context - length
    if asked is None and room > 0:
        return min(wanted, room)
    if room >= wanted:
        return wanted
    if room <= 0:
        raise DatasetError(
            f"{where} has {length:,} tokens with the chat template, and the model's context has {context:,} for prompt "
            "and answer together; shorten it, or split it."
        )
    raise DatasetError(
        f"{where} has {length:,} tokens with the chat template, so the model's context of {context:,} leaves {room:,} "
        f"for the answer, and max_new_tokens={wanted:,} asks for more; shorten the prompt, or lower max_new_tokens."
    )


def _texts(
    asked: Prompts,
    found: Sequence[Answer],
    constraint: Constraint | None,
    max_new_tokens: int | None,
    endpoint: Endpoint | None = None,
) -> str | list[str]:
    """Return the texts of answers that keep to the constraint, one or a list as it was asked."""
    texts = [answer.text for answer in found]
    if constraint is not None:
        # What a server ignores, or a limit cuts off, mustn't pass for an answer that was held to something.
        is_kept = check_of(constraint)
        texts = [final_answer(text).strip() for text in texts]
        for index, (text, answer) in enumerate(zip(texts, found, strict=True)):
            if not is_kept(text):
                raise _not_kept(text, answer, constraint, asked.where(index), endpoint)
        texts = [_as_chosen(text, constraint) for text in texts]
    elif cut := sum(bool(answer.is_cut) for answer in found):
        level, limit = (logging.INFO, max_new_tokens) if max_new_tokens else (logging.WARNING, DEFAULT_NEW_TOKENS)
        _log.log(
            level,
            "%s cut off at %d tokens, or at the end of the context; max_new_tokens=... sets another limit",
            "the answer was" if asked.is_one else f"{cut} of {len(found)} answers were",
            limit,
        )
    return texts[0] if asked.is_one else texts


def _as_chosen(text: str, constraint: Constraint) -> str:
    """Return a choice as it was passed, with the blanks around it."""
    if not isinstance(constraint, Choices) or text in constraint.choices:
        return text
    return next(choice for choice in constraint.choices if choice.strip() == text)


def _not_kept(
    text: str, answer: Answer, constraint: Constraint, where: str, endpoint: Endpoint | None
) -> SpecError | BackendError:
    rule = "one of the choices" if isinstance(constraint, Choices) else "JSON that fits the schema"
    shown = printable(text, _SHOWN)
    if answer.is_cut:
        return SpecError(f"the answer to {where} was cut off before it was {rule}: {shown!r}. Raise max_new_tokens")
    if endpoint is None:
        return SpecError(f"the answer to {where} isn't {rule}: {shown!r}. Simplify the schema")
    return BackendError(
        f"{endpoint.url} didn't hold the answer to {where} to {rule}: {shown!r}. The server may call it something "
        "else: see Endpoint(structured=...)"
    )
