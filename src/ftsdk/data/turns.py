"""Where the assistant turns are in a rendered conversation: in characters, and then in tokens.

Every position comes from a rendering, never from a search: the text of an answer may be anywhere, also inside of the
special token that ends it.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from ftsdk.data.text_model import Encoding, TextModel
from ftsdk.errors import ModelError
from ftsdk.models.chat_template import Conversation, message_text, trained_turns
from ftsdk.spec import TrainOn

__all__ = ["Span", "TurnTokens", "Turns", "find_turns", "turn_tokens"]

_PROBES = "qvz"


class Span(NamedTuple):
    """The characters of one assistant turn."""

    start: int
    end: int
    message: int
    """Which message of the conversation it is."""


class TurnTokens(NamedTuple):
    """The tokens of one assistant turn, up to and including the token that ends it."""

    first: int
    stop: int
    has_end: bool
    """Whether a token ends the turn; else it stops where the text of the turn does."""


class Turns(NamedTuple):
    """The assistant turns of some conversations."""

    texts: list[str]
    """Each conversation as it is trained: as rendered or, where the last turn then stands behind another prompt than in
    serving, behind that of serving."""
    spans: list[list[Span] | None]
    """Those of each conversation, the last turn last; None where the template hides them."""
    rewritten: frozenset[int]
    """Conversations of which the template writes an earlier turn differently once more messages follow."""


def find_turns(
    conversations: Sequence[Conversation],
    texts: Sequence[str],
    model: TextModel,
    *,
    train_on: TrainOn,
    rows: Sequence[int],
) -> Turns:
    """Find the assistant turns that decide what is trained in the text of their conversation, and the last one.

    Args:
        conversations: Whole conversations.
        texts: Each conversation as rendered.
        model: Renders their beginnings.
        train_on: Which turns are trained.
        rows: Position of each conversation in the data, for errors.

    Raises:
        ModelError: The text of a last turn doesn't begin as it would in serving.
    """
    wanted = [
        (number, turn)
        for number, conversation in enumerate(conversations)
        for turn in _deciding(conversation.messages, train_on)
    ]

    def is_last(number: int, turn: int) -> bool:
        return turn == len(conversations[number].messages) - 1

    # The prefixes of the whole chunk together: rendering in batches is several times faster.
    befores = model.texts([conversations[n].before(turn) for n, turn in wanted], generation_prompt=True, rows=None)
    earlier = [place for place in wanted if not is_last(*place)]
    afters = dict(
        zip(earlier, model.texts([conversations[n].before(turn + 1) for n, turn in earlier], rows=None), strict=True)
    )
    spans: list[list[Span] | None] = [[] for _ in conversations]
    rewritten: set[int] = set()
    apart: list[tuple[int, str | None]] = []
    for (number, turn), before in zip(wanted, befores, strict=True):
        text, found = texts[number], spans[number]
        after = text if is_last(number, turn) else afters[number, turn]
        if before is not None and after is not None and text.startswith(after) and after.startswith(before):
            if found is not None:
                found.append(Span(len(before), len(after), turn))
        elif not is_last(number, turn):
            rewritten.add(number)
            spans[number] = None
        elif train_on == "all" and not any("weight" in message for message in conversations[number].messages):
            spans[number] = None
        elif found and train_on == "assistant":
            rewritten.add(number)
            spans[number] = None
        elif number not in rewritten:
            apart.append((number, before))
    kept = list(texts)
    for (number, before), completion in zip(
        apart, _completions([(conversations[n], texts[n]) for n, _ in apart], model), strict=True
    ):
        turn, found = len(conversations[number].messages) - 1, spans[number]
        if before is None or completion is None or found:
            raise _unstable(rows[number], turn)
        kept[number] = before + completion
        spans[number] = [Span(len(before), len(kept[number]), turn)]
    return Turns(kept, spans, frozenset(rewritten))


def _completions(rendered: Sequence[tuple[Conversation, str]], model: TextModel) -> list[str | None]:
    """Return what the template writes for the last turns of conversations; None where that can't be known.

    Some templates write what was thought before a call until an answer follows. The answer then stands behind a prompt
    without these thoughts, while serving asks for it with them.
    """
    prompts = model.texts(
        [_without_reasoning(one.before(-1)) for one, _ in rendered], generation_prompt=True, rows=None
    )
    return [
        text[len(prompt) :] if prompt is not None and text.startswith(prompt) else None
        for (_, text), prompt in zip(rendered, prompts, strict=True)
    ]


def _without_reasoning(conversation: Conversation) -> Conversation:
    return Conversation(
        [
            {key: value for key, value in message.items() if key != "reasoning_content"}
            for message in conversation.messages
        ],
        conversation.tools,
    )


def _deciding(messages: Sequence[Mapping[str, Any]], train_on: TrainOn) -> list[int]:
    """Return the turns to find, in order: those that are trained or, of all tokens, aren't; and the last one."""
    last = len(messages) - 1
    if train_on == "completion":
        return [last]
    if train_on == "assistant":
        found = trained_turns(messages)
    else:
        found = [turn for turn, message in enumerate(messages) if "weight" in message]
    return found if found and found[-1] == last else [*found, last]


def _unstable(row: int, turn: int) -> ModelError:
    return ModelError(
        f"the model's chat template writes the last answer of row {row + 1} (message {turn}) other than serving would "
        "ask for it: the text doesn't begin with the prompt that invites the answer, so the tokens that the assistant "
        "wrote can't be found; use another template with Model(chat_template=...), or train_on='all'"
    )


def turn_tokens(
    conversations: Sequence[Conversation],
    texts: Sequence[str],
    spans: Sequence[list[Span] | None],
    encodings: Sequence[Encoding],
    model: TextModel,
) -> list[list[TurnTokens]]:
    """Return the tokens of each turn.

    Args:
        conversations: Whole conversations.
        texts: Each conversation as rendered.
        spans: From `find_turns`. Where they are None, the only turn is the whole text, and ends as the last one does.
        encodings: The tokens of each text.
        model: Has the tokens that end a turn.
    """
    known = [
        [Span(0, len(text), len(conversation.messages) - 1)] if found is None else found
        for conversation, text, found in zip(conversations, texts, spans, strict=True)
    ]
    # Which end-of-turn token ends a turn is plain for almost all of them; the others are rendered once more.
    unclear = [
        (row, span)
        for row, row_spans in enumerate(known)
        for span in row_spans
        if not _is_plain(
            span, message_text(conversations[row].messages[span.message]), texts[row], encodings[row], model
        )
    ]
    probes = model.texts([_probe(conversations[row], span) for row, span in unclear], rows=None)
    ends = {
        (row, span): _content_end(texts[row], span, probe) for (row, span), probe in zip(unclear, probes, strict=True)
    }
    return [
        [_tokens(span, ends.get((row, span), span.start), encodings[row], model) for span in row_spans]
        for row, row_spans in enumerate(known)
    ]


def _tokens(span: Span, content_end: int | None, encoding: Encoding, model: TextModel) -> TurnTokens:
    first, stop = _within(span, encoding)
    ends = [token for token in range(first, stop) if encoding.ids[token] in model.eos_token_ids]
    # An end-of-turn text inside of the answer doesn't end the turn. Where the template refuses other answers, it's
    # unknown where this one ends.
    ends = ends[-1:] if content_end is None else [token for token in ends if encoding.starts[token] >= content_end]
    return TurnTokens(first, ends[0] + 1, True) if ends else TurnTokens(first, stop, False)


def _within(span: Span, encoding: Encoding) -> tuple[int, int]:
    # By overlap, not by start: a token that also holds the end of the prompt holds the answer's first letters.
    return bisect_right(encoding.ends, span.start), bisect_left(encoding.starts, span.end)


def _is_plain(span: Span, said: str, text: str, encoding: Encoding, model: TextModel) -> bool:
    """Return whether the turn has no end-of-turn token, or only one that can't be in the answer or before it."""
    first, stop = _within(span, encoding)
    ends = [token for token in range(first, stop) if encoding.ids[token] in model.eos_token_ids]
    if len(ends) != 1:
        return not ends
    start, end = encoding.starts[ends[0]], encoding.ends[ends[0]]
    return text[start:end].strip() not in said and span.end - end < len(said.strip())


def _probe(conversation: Conversation, span: Span) -> Conversation:
    """Return the conversation up to a turn, with another answer: a letter that the answer doesn't end with."""
    message = conversation.messages[span.message]
    calls = message.get("tool_calls")
    content = calls[-1]["function"]["arguments"].rstrip(' \n"]}') if calls else message["content"]
    last = {content[-1:].casefold(), content.rstrip()[-1:].casefold()}
    letter = next(letter for letter in _PROBES if letter not in last)
    if calls:
        function = {**calls[-1]["function"], "arguments": json.dumps({letter: letter})}
        other = {**message, "tool_calls": [*calls[:-1], {**calls[-1], "function": function}]}
    else:
        other = {**message, "content": letter}
    return Conversation([*conversation.messages[: span.message], other], conversation.tools)


def _content_end(text: str, span: Span, probe: str | None) -> int | None:
    """Return where the answer ends: what follows it is the same text for another answer."""
    if probe is None:
        return None
    turn = text[span.start : span.end]
    pairs = zip(reversed(turn), reversed(probe), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    # Without blanks at its end, which a special token may take in.
    return span.start + len(turn[: len(turn) - same].rstrip())
