"""Messages become token ids and a loss mask here and nowhere else: for training, previews and estimates alike.

A conversation is rendered to text once and tokenised once, because what is tokenised in pieces isn't what the model
will see. Which tokens belong to an assistant turn is then read off the character offsets: a turn starts where the
rendering of the messages before it, with the generation prompt, ends.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, cast

from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.text_model import Encoding, TextModel
from ftsdk.errors import ModelError
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
    rows: Iterable[Mapping[str, Any]], model: TextModel, *, train_on: TrainOn, max_length: int | None
) -> Iterator[RenderedRow | RenderedPair]:
    """Yield each canonical row as the trainer gets it, also those without anything to learn.

    All rendering ends up here.

    Raises:
        ModelError: There is no template for such rows, or it refuses a row or can't be masked.
    """
    remaining, start = iter(rows), 0
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


class _Span(NamedTuple):
    """The characters of one assistant turn."""

    start: int
    end: int
    content: str
    is_last: bool


def _chat_rows(
    conversations: Sequence[Messages], model: TextModel, train_on: TrainOn, max_length: int | None, *, first_row: int
) -> list[RenderedRow]:
    texts = model.texts(conversations, first_row=first_row)
    spans = _spans(
        conversations, texts, model, every_turn=train_on == "assistant", must=train_on != "all", first_row=first_row
    )
    encodings = model.encode(texts)
    return [
        _chat_row(messages, text, row_spans, encoding, model, train_on, max_length)
        for messages, text, row_spans, encoding in zip(conversations, texts, spans, encodings, strict=True)
    ]


def _spans(
    conversations: Sequence[Messages],
    texts: Sequence[str],
    model: TextModel,
    *,
    every_turn: bool,
    must: bool,
    first_row: int,
) -> list[list[_Span] | None]:
    """Find the assistant turns of each conversation in its text, the last turn last.

    None where the template hides them and they needn't be known.
    """
    turns: list[tuple[int, int]] = []
    for row, messages in enumerate(conversations):
        last = len(messages) - 1
        turns.extend(
            (row, turn)
            for turn, message in enumerate(messages)
            if turn == last or (every_turn and message["role"] == "assistant")
        )
    # The prefixes of the whole chunk together: rendering in batches is several times faster.
    befores = model.texts([conversations[row][:turn] for row, turn in turns], generation_prompt=True, first_row=None)
    earlier = [(row, turn) for row, turn in turns if turn < len(conversations[row]) - 1]
    afters = dict(
        zip(
            earlier, model.texts([conversations[row][: turn + 1] for row, turn in earlier], first_row=None), strict=True
        )
    )
    spans: list[list[_Span] | None] = [[] for _ in conversations]
    for (row, turn), before in zip(turns, befores, strict=True):
        text, is_last, found = texts[row], turn == len(conversations[row]) - 1, spans[row]
        after = text if is_last else afters[row, turn]
        if before is not None and after is not None and text.startswith(after) and after.startswith(before):
            if found is not None:
                found.append(_Span(len(before), len(after), conversations[row][turn]["content"], is_last))
        elif must:
            raise _unstable(first_row + row, turn, is_last=is_last)
        else:
            spans[row] = None
    return spans


def _unstable(row: int, turn: int, *, is_last: bool) -> ModelError:
    tries = (
        "use another template with Model(chat_template=...), or train_on='all'"
        if is_last
        else "use train_on='completion', or another template"
    )
    return ModelError(
        f"the model's chat template writes a conversation differently once more messages follow (row {row + 1}, "
        f"message {turn}), "
        f"so the tokens that the assistant wrote can't be found; {tries}"
    )


def _chat_row(
    messages: Messages,
    text: str,
    spans: list[_Span] | None,
    encoding: Encoding,
    model: TextModel,
    train_on: TrainOn,
    max_length: int | None,
) -> RenderedRow:
    ids, starts, ends = encoding
    flags: set[str] = set()
    count = len(ids)
    trained = [train_on == "all"] * count
    if spans is None:
        # The serving prompt isn't the beginning of the training text; only train_on="all" gets here.
        flags.add("boundary_mismatch")
        spans = [_Span(_last_answer(messages[-1]["content"], text, model), len(text), messages[-1]["content"], True)]
    elif any(not model.boundary_holds(text, encoding, span.start) for span in spans):
        flags.add("boundary_mismatch")
    for span in spans:
        first, stop, has_eos = _turn_tokens(text, span, ids, starts, ends, model.eos_token_ids)
        if span.is_last and not has_eos:
            flags.add("missing_eos")
        trained[first:stop] = [True] * (stop - first)
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


def _turn_tokens(
    text: str, span: _Span, ids: Sequence[int], starts: Sequence[int], ends: Sequence[int], eos: frozenset[int]
) -> tuple[int, int, bool]:
    """Return the tokens of a turn, up to and including the token that ends it, as (first, stop, has that token)."""
    # By overlap, not by start: a token that also holds the end of the prompt holds the answer's first letters.
    first = bisect_right(ends, span.start)
    stop = bisect_left(starts, span.end)
    content = span.content.strip()
    # The first one, where the turn begins: behind it the mark of the end of turn may spell out a short answer, as
    # <|im_end|> does "d".
    found = text.find(content, span.start, span.end)
    # An end-of-turn text inside of the answer doesn't end the turn.
    content_end = span.start if found < 0 else found + len(content)
    for token in range(first, stop):
        if ids[token] in eos and starts[token] >= content_end:
            return first, token + 1, True
    return first, stop, False


def _last_answer(content: str, text: str, model: TextModel) -> int:
    """Return where the last answer starts in a text whose turns aren't known.

    Special tokens may spell out a short one.
    """
    special = model.special_text

    def hidden(whole: str) -> str:
        return whole if special is None else special.sub(lambda found: "\0" * len(found.group()), whole)

    return max(0, hidden(text).rfind(hidden(content.strip())))


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
            "list[list[_Span]]", _spans(conversations, texts, model, every_turn=False, must=True, first_row=first_row)
        )
        encodings = model.encode(texts)
        sides.append(
            [
                _chat_row(messages, text, row_spans, encoding, model, "completion", None)
                for messages, text, row_spans, encoding in zip(conversations, texts, spans, encodings, strict=True)
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
