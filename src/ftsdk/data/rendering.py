"""Messages become token ids and a loss mask here and nowhere else: for training, previews and estimates alike.

A conversation is rendered to text once and tokenised once, because what is tokenised in pieces isn't what the model
will see. Which tokens belong to an assistant turn is then read off the character offsets: a turn starts where the
rendering of the messages before it, with the generation prompt, ends.

Some templates write earlier turns differently once more messages follow: those of reasoning models leave out what was
thought before earlier answers. No one sequence then holds what the model would have read and written at each turn, so
each trained turn becomes a sequence of its own, which ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

from ftsdk.data.argument_checks import checked_whole
from ftsdk.data.content_check import is_content_missing
from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.text_model import Encoding, TextModel
from ftsdk.data.training_sequences import RenderedPair, RenderedRow, facts_of, trained_tokens
from ftsdk.data.turns import Span, TurnTokens, find_turns, turn_tokens
from ftsdk.errors import DatasetError, ModelError
from ftsdk.models.chat_template import Conversation, message_text, trained_turns
from ftsdk.models.tool_check import is_tool_missing
from ftsdk.spec import TrainOn

__all__ = [
    "Rendered",
    "render_chat",
    "render_dataset",
    "render_preference",
    "render_rows",
]

_CHUNK = 1000
"""Rows per call of the tokenizer: enough to keep its threads busy, few enough to hold the offsets in memory."""

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dataset as the trainer gets it: sequences without anything to learn are left out, and rows counted."""

    rows: tuple[RenderedRow, ...] | tuple[RenderedPair, ...]
    """Training sequences; a row of the dataset has several where its turns are trained one by one."""
    indices: tuple[int, ...]
    """For each sequence, the position of its row in the dataset."""
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
    """Render canonical rows, all of one format.

    Args:
        rows: Canonical rows, all of one format, such as `Dataset.rows`.
        tokenizer: A Hugging Face fast tokenizer.
        train_on: Which tokens of a chat row the loss counts; of a preference row it is always the two answers,
            of an unpaired row the last one.
        max_length: Tokens per row; what is longer loses its end. None cuts nothing.
        eos_token_ids: The tokens that end an answer. None: the tokenizer's own `eos_token_id`.
        chat_template: A Jinja template in place of the tokenizer's own.
        embedding_rows: How many token ids the model has; None: unknown.

    Returns:
        The sequences with anything to learn, and a report over all rows.

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
        for sequence in row:
            if trained_tokens(sequence):
                kept.append(sequence)
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
) -> Iterator[Sequence[RenderedRow | RenderedPair]]:
    """Yield the training sequences of each canonical row, also those without anything to learn.

    All rendering ends up here. `first_row` is the position of the first row in the data, for errors.

    Raises:
        ModelError: There is no template for such rows, or it refuses a row or can't be masked.
        DatasetError: `train_on="completion"`, and the last answer of a row has the weight 0; or `max_length` is no
            whole number of at least 1.
    """
    if max_length is not None:
        max_length = checked_whole("max_length", max_length, at_least=1)
    remaining, start = iter(rows), first_row
    while chunk := list(islice(remaining, _CHUNK)):
        if "messages" in chunk[0]:
            conversations = [_conversation(row, "messages") for row in chunk]
            is_labelled = "label" in chunk[0]
            if train_on == "completion" or is_labelled:
                _refuse_untrained(conversations, start)
            found = _chat_rows(
                conversations,
                model,
                "completion" if is_labelled else train_on,
                max_length,
                rows=range(start, start + len(conversations)),
            )
            yield from (
                [[_labelled(one, row["label"]) for one in made] for made, row in zip(found, chunk, strict=True)]
                if is_labelled
                else found
            )
        else:
            yield from ([pair] for pair in _pairs(chunk, model, max_length, first_row=start))
        start += len(chunk)


def _conversation(row: Mapping[str, Any], *sides: str) -> Conversation:
    """Return the messages of some lists of a row, one after the other, with the row's tools."""
    return Conversation([message for side in sides for message in row[side]], row.get("tools"))


def _refuse_untrained(conversations: Sequence[Conversation], first_row: int) -> None:
    for number, conversation in enumerate(conversations):
        if "weight" in conversation.messages[-1]:
            raise DatasetError(
                f"the last message of row {first_row + number + 1} has the weight 0, and train_on='completion' trains "
                "nothing else.",
                hint="Use train_on='assistant', or end the conversation with an answer that is trained.",
            )


def render_chat(
    messages: Messages,
    tokenizer: Any,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    train_on: TrainOn = "assistant",
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    chat_template: str | None = None,
) -> RenderedRow:
    """Render one conversation, with the tools that it uses. Arguments and errors are those of `render_dataset`.

    Raises:
        ModelError: The template rewrites earlier turns, so that the conversation becomes several sequences.
    """
    model = TextModel(tokenizer, eos_token_ids=eos_token_ids, chat_template=chat_template)
    row = {"messages": messages, **({"tools": tools} if tools else {})}
    sequences = next(render_rows([row], model, train_on=train_on, max_length=max_length))
    if len(sequences) > 1:
        raise ModelError(
            f"the model's chat template rewrites earlier turns, so this conversation becomes {len(sequences)} training "
            "sequences; render_dataset([...]) returns them all"
        )
    return cast("RenderedRow", sequences[0])


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
    return cast("RenderedPair", next(render_rows([row], model, train_on="completion", max_length=max_length))[0])


def _chat_rows(
    conversations: Sequence[Conversation],
    model: TextModel,
    train_on: TrainOn,
    max_length: int | None,
    *,
    rows: Sequence[int],
) -> list[list[RenderedRow]]:
    """Render conversations, each as one sequence or, where the template rewrites earlier turns, as one a turn."""
    rendered = model.texts(conversations, rows=rows)
    every_text, every_span, rewritten = find_turns(conversations, rendered, model, train_on=train_on, rows=rows)
    if rewritten and train_on == "all":
        raise _unmasked(rows[min(rewritten)])
    whole = [number for number in range(len(conversations)) if number not in rewritten]
    kept = [conversations[number] for number in whole]
    texts, spans = [every_text[number] for number in whole], [every_span[number] for number in whole]
    encodings = model.encode(texts)
    turns = turn_tokens(kept, texts, spans, encodings, model)
    found: list[list[RenderedRow]] = [[] for _ in conversations]
    for number, one, text, row_spans, row_turns, encoding in zip(
        whole, kept, texts, spans, turns, encodings, strict=True
    ):
        found[number].append(_chat_row(one, text, row_spans, row_turns, encoding, model, train_on))
    split = [(number, turn) for number in sorted(rewritten) for turn in trained_turns(conversations[number].messages)]
    alone = [conversations[number].before(turn + 1) for number, turn in split]
    if alone:
        sequences = _chat_rows(alone, model, "completion", None, rows=[rows[number] for number, _ in split])
        for (number, _), (sequence,) in zip(split, sequences, strict=True):
            found[number].append(sequence)
    return [[_cut(one, max_length) for one in row] for row in found]


def _unmasked(row: int) -> ModelError:
    return ModelError(
        f"row {row + 1} has an answer of the weight 0, and the model's chat template writes it differently once more "
        "messages follow, so its tokens can't be left out; use train_on='assistant', or another template with "
        "Model(chat_template=...)"
    )


def _chat_row(
    conversation: Conversation,
    text: str,
    spans: list[Span] | None,
    turns: list[TurnTokens],
    encoding: Encoding,
    model: TextModel,
    train_on: TrainOn,
) -> RenderedRow:
    ids, messages = encoding.ids, conversation.messages
    flags: set[str] = set()
    trained = [train_on == "all"] * len(ids)
    # Without spans, the serving prompt isn't the beginning of the training text; only train_on="all" gets here.
    if spans is None or any(not model.boundary_holds(text, encoding, span.start) for span in spans):
        flags.add("boundary_mismatch")
    if not turns[-1].has_end:
        flags.add("missing_eos")
    said: dict[int, str] = {}
    for span, turn in zip(spans or (), turns, strict=False):
        is_trained = "weight" not in messages[span.message]
        trained[turn.first : turn.stop] = [is_trained] * (turn.stop - turn.first)
        if is_trained:
            said[span.message] = text[span.start : span.end]
    flags.update(_content_flags(conversation, text, said, ids, model))
    return RenderedRow(input_ids=tuple(ids), trained=tuple(trained), text=text, flags=frozenset(flags))


def _labelled(row: RenderedRow, label: bool) -> RenderedRow:
    """Return a row with its label and without what is behind its answer, which isn't compared, as in pairs."""
    stop = len(row.trained) - row.trained[::-1].index(True) if any(row.trained) else len(row.trained)
    return replace(row, label=label, input_ids=row.input_ids[:stop], trained=row.trained[:stop])


def _cut(row: RenderedRow, max_length: int | None) -> RenderedRow:
    if max_length is None or len(row.input_ids) <= max_length:
        return row
    return replace(
        row,
        input_ids=row.input_ids[:max_length],
        trained=row.trained[:max_length],
        truncated_tokens=len(row.input_ids) - max_length,
        lost_trained_tokens=sum(row.trained[max_length:]),
    )


def _content_flags(
    conversation: Conversation, text: str, trained: Mapping[int, str], ids: Sequence[int], model: TextModel
) -> Iterable[str]:
    if is_content_missing(conversation.messages, text, trained):
        yield "content_missing"
    if conversation.uses_tools and is_tool_missing(conversation, text, trained):
        yield "tools_missing"
    if model.bos_token_id is not None and len(ids) > 1 and ids[0] == ids[1] == model.bos_token_id:
        yield "double_bos"
    special = model.special_text
    if special is not None and any(special.search(message_text(message)) for message in conversation.messages):
        yield "special_tokens_in_content"


def _pairs(
    rows: Sequence[Mapping[str, Any]], model: TextModel, max_length: int | None, *, first_row: int
) -> list[RenderedPair]:
    positions = range(first_row, first_row + len(rows))
    sides: list[list[RenderedRow]] = []
    starts: list[list[int]] = []
    for side in ("chosen", "rejected"):
        conversations = [_conversation(row, "prompt", side) for row in rows]
        texts, found, _ = find_turns(
            conversations,
            model.texts(conversations, rows=positions),
            model,
            train_on="completion",
            rows=positions,
        )
        spans = cast("list[list[Span]]", found)
        encodings = model.encode(texts)
        turns = turn_tokens(conversations, texts, spans, encodings, model)
        sides.append(
            [
                _chat_row(conversation, text, row_spans, row_turns, encoding, model, "completion")
                for conversation, text, row_spans, row_turns, encoding in zip(
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
