"""Messages become token ids and a loss mask here and nowhere else: for training, previews and estimates alike.

A conversation is rendered to text once and tokenised once, because what is tokenised in pieces isn't what the model
will see. Which tokens belong to an assistant turn is then read off the character offsets: a turn starts where the
rendering of the messages before it, with the generation prompt, ends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.text_model import Encoding, TextModel
from ftsdk.data.turns import Span, TurnTokens, find_turns, turn_tokens
from ftsdk.spec import TrainOn

__all__ = [
    "Rendered",
    "RenderedPair",
    "RenderedRow",
    "facts_of",
    "render_chat",
    "render_dataset",
    "render_preference",
    "render_rows",
]

_CHUNK = 1000
"""Rows per call of the tokenizer: enough to keep its threads busy, few enough to hold the offsets in memory."""

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """A conversation as the trainer gets it."""

    input_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    """For each token: does the loss count it as something to predict?"""
    text: str
    """The whole text, before truncation."""
    truncated_tokens: int = 0
    """Tokens cut off at the end."""
    lost_trained_tokens: int = 0
    """How many of these would have been trained."""
    flags: frozenset[str] = frozenset()
    """What is odd: `content_missing`, `boundary_mismatch`, `missing_eos`, `double_bos`, `special_tokens_in_content`."""


@dataclass(frozen=True, slots=True)
class RenderedPair:
    """A preference pair as the trainer gets it. Every token of `chosen_ids` and `rejected_ids` counts."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    prompt_text: str
    chosen_text: str
    """Prompt and chosen answer, as they were tokenised."""
    rejected_text: str
    length: int
    """Tokens of the longer sequence, before truncation."""
    truncated_tokens: int = 0
    """Tokens cut off at the ends of both sequences together."""
    lost_trained_tokens: int = 0
    flags: frozenset[str] = frozenset()
    """As for `RenderedRow`."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dataset as the trainer gets it: rows without anything to learn are left out, and counted in the report."""

    rows: tuple[RenderedRow, ...] | tuple[RenderedPair, ...]
    indices: tuple[int, ...]
    """For each row, its position in the dataset."""
    report: RenderReport


def render_dataset(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    *,
    train_on: TrainOn = "assistant",
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    chat_template: str | None = None,
    embedding_rows: int | None = None,
) -> Rendered:
    """Render canonical rows, chat or preference.

    Args:
        rows: Canonical rows, all of one format, such as `Dataset.rows`.
        tokenizer: A Hugging Face fast tokenizer.
        train_on: Which tokens of a chat row the loss counts; of a preference row it is always the two answers.
        max_length: Tokens per row; what is longer loses its end. None cuts nothing.
        eos_token_ids: The tokens that end an answer. None: the tokenizer's own `eos_token_id`.
        chat_template: A Jinja template in place of the tokenizer's own.
        embedding_rows: How many token ids the model has; None: unknown.

    Returns:
        The rows with anything to learn, and a report over all rows.

    Raises:
        ModelError: The tokenizer isn't fast, has no template for such rows, or its template refuses a row or can't be
            masked.
    """
    model = TextModel(
        tokenizer, eos_token_ids=eos_token_ids, chat_template=chat_template, embedding_rows=embedding_rows
    )
    kept: list[RenderedRow | RenderedPair] = []
    indices: list[int] = []
    facts: list[RowFacts] = []
    for index, row in enumerate(render_rows(rows, model, train_on=train_on, max_length=max_length)):
        facts.append(facts_of(row))
        if facts[-1].trained:
            kept.append(row)
            indices.append(index)
    report = summarise(facts, max_length=max_length, has_template=model.has_template)
    return Rendered(cast("tuple[RenderedRow, ...]", tuple(kept)), tuple(indices), report)


def render_rows(
    rows: Iterable[Mapping[str, Any]],
    model: TextModel,
    *,
    train_on: TrainOn,
    max_length: int | None,
    first_row: int = 0,
) -> Iterator[RenderedRow | RenderedPair]:
    """Yield each canonical row as the trainer gets it, also those without anything to learn.

    All rendering ends up here. `first_row` is the position of the first row in the data, for errors.

    Raises:
        ModelError: There is no template for such rows, or it refuses a row or can't be masked.
    """
    remaining, start = iter(rows), first_row
    while chunk := list(islice(remaining, _CHUNK)):
        if "messages" in chunk[0]:
            yield from _chat_rows([row["messages"] for row in chunk], model, train_on, max_length, first_row=start)
        else:
            yield from _pairs(chunk, model, max_length, first_row=start)
        start += len(chunk)


def render_chat(
    messages: Messages,
    tokenizer: Any,
    *,
    train_on: TrainOn = "assistant",
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    chat_template: str | None = None,
) -> RenderedRow:
    """Render one conversation. Arguments and errors are those of `render_dataset`."""
    model = TextModel(tokenizer, eos_token_ids=eos_token_ids, chat_template=chat_template)
    return cast(
        "RenderedRow", next(render_rows([{"messages": messages}], model, train_on=train_on, max_length=max_length))
    )


def render_preference(
    row: Mapping[str, Any],
    tokenizer: Any,
    *,
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    chat_template: str | None = None,
) -> RenderedPair:
    """Render one preference row. Arguments and errors are those of `render_dataset`."""
    model = TextModel(tokenizer, eos_token_ids=eos_token_ids, chat_template=chat_template)
    return cast("RenderedPair", next(render_rows([row], model, train_on="completion", max_length=max_length)))


def _chat_rows(
    conversations: Sequence[Messages], model: TextModel, train_on: TrainOn, max_length: int | None, *, first_row: int
) -> list[RenderedRow]:
    texts = model.texts(conversations, first_row=first_row)
    spans = find_turns(
        conversations, texts, model, every_turn=train_on == "assistant", must=train_on != "all", first_row=first_row
    )
    encodings = model.encode(texts)
    turns = turn_tokens(conversations, texts, spans, encodings, model)
    return [
        _chat_row(messages, text, row_spans, row_turns, encoding, model, train_on, max_length)
        for messages, text, row_spans, row_turns, encoding in zip(
            conversations, texts, spans, turns, encodings, strict=True
        )
    ]


def _chat_row(
    messages: Messages,
    text: str,
    spans: list[Span] | None,
    turns: list[TurnTokens],
    encoding: Encoding,
    model: TextModel,
    train_on: TrainOn,
    max_length: int | None,
) -> RenderedRow:
    ids, count = encoding.ids, len(encoding.ids)
    flags: set[str] = set()
    trained = [train_on == "all"] * count
    # Without spans, the serving prompt isn't the beginning of the training text; only train_on="all" gets here.
    if spans is None or any(not model.boundary_holds(text, encoding, span.start) for span in spans):
        flags.add("boundary_mismatch")
    if not turns[-1].has_end:
        flags.add("missing_eos")
    if spans is not None:
        for turn in turns:
            trained[turn.first : turn.stop] = [True] * (turn.stop - turn.first)
    flags.update(_content_flags(messages, text, ids, model))
    kept = count if max_length is None else min(count, max_length)
    return RenderedRow(
        input_ids=tuple(ids[:kept]),
        trained=tuple(trained[:kept]),
        text=text,
        truncated_tokens=count - kept,
        lost_trained_tokens=sum(trained[kept:]),
        flags=frozenset(flags),
    )


def _is_content_missing(messages: Messages, text: str) -> bool:
    """Return whether the template left out or changed what a message says."""
    contents = Counter(message["content"].strip() for message in messages)
    if all(count == 1 for count in contents.values()):
        lost = {content for content in contents if content not in text}
    else:
        lost = {content for content, count in contents.items() if text.count(content) < count}
    if not lost:
        return False
    return any(
        message["content"].strip() in lost and not _is_kept_otherwise(messages, n, text)
        for n, message in enumerate(messages)
    )


def _is_kept_otherwise(messages: Messages, n: int, text: str) -> bool:
    """Return whether a message is in the text in one of the two other ways that templates of well-known models have."""
    role, content = messages[n]["role"], messages[n]["content"].strip()
    if role == "tool":  # as a JSON string
        return json.dumps(content, ensure_ascii=False)[1:-1] in text
    # Earlier answers without their reasoning, as the model will read them in serving.
    return (
        role == "assistant"
        and n < len(messages) - 1
        and "</think>" in content
        and content.rpartition("</think>")[2].strip() in text
    )


def _content_flags(messages: Messages, text: str, ids: Sequence[int], model: TextModel) -> Iterable[str]:
    if _is_content_missing(messages, text):
        yield "content_missing"
    if model.bos_token_id is not None and len(ids) > 1 and ids[0] == ids[1] == model.bos_token_id:
        yield "double_bos"
    if model.special_text is not None and any(model.special_text.search(message["content"]) for message in messages):
        yield "special_tokens_in_content"


def _pairs(
    rows: Sequence[Mapping[str, Any]], model: TextModel, max_length: int | None, *, first_row: int
) -> list[RenderedPair]:
    sides: list[list[RenderedRow]] = []
    starts: list[list[int]] = []
    for side in ("chosen", "rejected"):
        conversations = [[*row["prompt"], *row[side]] for row in rows]
        texts = model.texts(conversations, first_row=first_row)
        spans = cast(
            "list[list[Span]]",
            find_turns(conversations, texts, model, every_turn=False, must=True, first_row=first_row),
        )
        encodings = model.encode(texts)
        turns = turn_tokens(conversations, texts, spans, encodings, model)
        sides.append(
            [
                _chat_row(messages, text, row_spans, row_turns, encoding, model, "completion", None)
                for messages, text, row_spans, row_turns, encoding in zip(
                    conversations, texts, spans, turns, encodings, strict=True
                )
            ]
        )
        starts.append([row_spans[-1].start for row_spans in spans])
    return [
        _pair(chosen, rejected, start, max_length) for chosen, rejected, start in zip(*sides, starts[0], strict=True)
    ]


def _pair(chosen: RenderedRow, rejected: RenderedRow, start: int, max_length: int | None) -> RenderedPair:
    prompts: list[tuple[int, ...]] = []
    answers: list[tuple[int, ...]] = []
    for side in (chosen, rejected):
        first = side.trained.index(True) if True in side.trained else len(side.trained)
        prompts.append(side.input_ids[:first])
        answers.append(
            side.input_ids[first : first + sum(side.trained)]
        )  # what is behind the end-of-turn token stays out
    prompt = prompts[0]
    length = len(prompt) + max(map(len, answers))
    flags = chosen.flags | rejected.flags | ({"boundary_mismatch"} if prompts[0] != prompts[1] else frozenset[str]())
    limit = length if max_length is None else max_length
    room = max(0, limit - len(prompt))
    cut = [answer[:room] for answer in answers]
    return RenderedPair(
        prompt_ids=prompt[:limit],
        chosen_ids=cut[0],
        rejected_ids=cut[1],
        prompt_text=chosen.text[:start],
        chosen_text=chosen.text,
        rejected_text=rejected.text,
        length=length,
        truncated_tokens=sum(max(0, len(prompt) + len(answer) - limit) for answer in answers),
        lost_trained_tokens=sum(len(answer) - len(short) for answer, short in zip(answers, cut, strict=True)),
        flags=flags,
    )


def facts_of(row: RenderedRow | RenderedPair) -> RowFacts:
    """Return what the report counts of a row."""
    if isinstance(row, RenderedRow):
        kept = len(row.input_ids)
        return RowFacts(
            kept + row.truncated_tokens,
            kept,
            sum(row.trained),
            row.truncated_tokens,
            row.lost_trained_tokens,
            row.flags,
        )
    chosen, rejected = len(row.chosen_ids), len(row.rejected_ids)
    # Answers that became the same, or of which one is gone, can't teach which one is better.
    trained = chosen + rejected if chosen and rejected and row.chosen_ids != row.rejected_ids else 0
    return RowFacts(
        row.length,
        2 * len(row.prompt_ids) + chosen + rejected,
        trained,
        row.truncated_tokens,
        row.lost_trained_tokens,
        row.flags,
    )
