"""Where the assistant turns are in a rendered conversation: in characters, and then in tokens.

Every position comes from a rendering, never from a search: the text of an answer may be anywhere, also inside of the
special token that ends it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from ftsdk.data.text_model import Encoding, TextModel
from ftsdk.errors import ModelError

__all__ = ["Span", "TurnTokens", "find_turns", "turn_tokens"]

Messages = Sequence[Mapping[str, str]]

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


def find_turns(
    conversations: Sequence[Messages],
    texts: Sequence[str],
    model: TextModel,
    *,
    every_turn: bool,
    must: bool,
    first_row: int,
) -> list[list[Span] | None]:
    """Find the assistant turns of each conversation in its text, the last turn last.

    Args:
        conversations: Their messages.
        texts: Each conversation as rendered.
        model: Renders their beginnings.
        every_turn: Whether to find all assistant turns, or the last turn alone.
        must: Whether a conversation whose turns can't be found is an error.
        first_row: Position of the first conversation in the data, for errors.

    Returns:
        The turns of each conversation; None where the template hides them and `must` is False.

    Raises:
        ModelError: The template writes a conversation differently once more messages follow.
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
    spans: list[list[Span] | None] = [[] for _ in conversations]
    for (row, turn), before in zip(turns, befores, strict=True):
        text, is_last, found = texts[row], turn == len(conversations[row]) - 1, spans[row]
        after = text if is_last else afters[row, turn]
        if before is not None and after is not None and text.startswith(after) and after.startswith(before):
            if found is not None:
                found.append(Span(len(before), len(after), turn))
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


def turn_tokens(
    conversations: Sequence[Messages],
    texts: Sequence[str],
    spans: Sequence[list[Span] | None],
    encodings: Sequence[Encoding],
    model: TextModel,
) -> list[list[TurnTokens]]:
    """Return the tokens of each turn.

    Args:
        conversations: Their messages.
        texts: Each conversation as rendered.
        spans: From `find_turns`. Where they are None, the only turn is the whole text, and ends as the last one does.
        encodings: The tokens of each text.
        model: Has the tokens that end a turn.
    """
    known = [
        [Span(0, len(text), len(messages) - 1)] if found is None else found
        for messages, text, found in zip(conversations, texts, spans, strict=True)
    ]
    # Which end-of-turn token ends a turn is plain for almost all of them; the others are rendered once more.
    unclear = [
        (row, span)
        for row, row_spans in enumerate(known)
        for span in row_spans
        if not _is_plain(span, conversations[row][span.message]["content"], texts[row], encodings[row], model)
    ]
    probes = model.texts([_probe(conversations[row], span) for row, span in unclear], first_row=None)
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


def _is_plain(span: Span, content: str, text: str, encoding: Encoding, model: TextModel) -> bool:
    """Return whether the turn has no end-of-turn token, or only one that can't be in the answer or before it."""
    first, stop = _within(span, encoding)
    ends = [token for token in range(first, stop) if encoding.ids[token] in model.eos_token_ids]
    if len(ends) != 1:
        return not ends
    start, end = encoding.starts[ends[0]], encoding.ends[ends[0]]
    return text[start:end].strip() not in content and span.end - end < len(content.strip())


def _probe(messages: Messages, span: Span) -> list[Mapping[str, str]]:
    """Return the conversation up to a turn, with another answer: a letter that the answer doesn't end with."""
    message = messages[span.message]
    content = message["content"]
    last = {content[-1:].casefold(), content.rstrip()[-1:].casefold()}
    letter = next(letter for letter in _PROBES if letter not in last)
    return [*messages[: span.message], {**message, "content": letter}]


def _content_end(text: str, span: Span, probe: str | None) -> int | None:
    """Return where the answer ends: what follows it is the same text for another answer."""
    if probe is None:
        return None
    turn = text[span.start : span.end]
    pairs = zip(reversed(turn), reversed(probe), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    # Without blanks at its end, which a special token may take in.
    return span.start + len(turn[: len(turn) - same].rstrip())
