"""New rows by a model: what it is asked, and what becomes of its answers."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Literal

from ftsdk.data.bad_rows import DroppedRow
from ftsdk.data.growing.answer_log import KeptAnswer
from ftsdk.data.growing.gates import Gates, conversation
from ftsdk.data.growing.growth_prompts import (
    PARAPHRASE,
    RARE_CLASSES,
    Drawn,
    Seed,
    growth_request,
    likely_tokens,
    read_growth,
)
from ftsdk.data.growing.model_calls import Answer, Refused, Request
from ftsdk.data.message_rows import Row
from ftsdk.data.record_steps import MadeRow
from ftsdk.data.row_keys import answer_text, row_hash
from ftsdk.data.split import shuffled
from ftsdk.errors import DatasetError

__all__ = ["Growth", "GrowthRequest", "grow", "growth_requests", "row_digest", "template_of"]

_EXAMPLES = 5
"""Rows of a class that a request for more of them shows."""
_AT_ONCE = 10
"""Rows of a class that one request asks for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthRequest:
    """A request for new rows."""

    seed: Seed
    count: int
    """How many rows it asks for."""
    request: Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """What came of the answers."""

    rows: tuple[Row, ...]
    made: tuple[MadeRow, ...]
    removed: tuple[DroppedRow, ...]


def template_of(how: str) -> str:
    """Return what a model is asked.

    Args:
        how: `"paraphrase"`, `"rare_classes"`, or an instruction.

    Raises:
        DatasetError: An instruction that says nothing of the rows.
    """
    if how == "paraphrase":
        return PARAPHRASE
    if how == "rare_classes":
        return RARE_CLASSES
    if "{prompt}" not in how and "{completion}" not in how:
        raise DatasetError(
            f"how={how[:80]!r} is neither 'paraphrase' nor 'rare_classes', and as an instruction it has no row in it.",
            hint='Put the row into it: "Write {n} questions like this one, with answers: {prompt}".',
        )
    return how


def growth_requests(
    rows: Sequence[Row],
    *,
    how: str,
    per_row: int,
    most: int | None,
    per_class: int | None,
    seed: int,
    temperature: float | None,
) -> list[GrowthRequest]:
    """Return the requests.

    Args:
        rows: Chat rows.
        how: See `template_of`.
        per_row: New rows that are asked for of each row.
        most: The most new rows; None: no limit.
        per_class: With `"rare_classes"`: fill up classes to so many rows; None: to the median class.
        seed: Which rows, in which order.
        temperature: None sends none.

    Raises:
        DatasetError: No class is rare.
    """
    draw = random.Random(f"ftsdk augment {seed}")
    template = template_of(how)
    seeds = (
        _class_seeds(rows, per_class, most, draw)
        if template == RARE_CLASSES
        else _row_seeds(rows, per_row, most, draw, is_whole=template != PARAPHRASE)
    )
    repeats: Counter[str] = Counter()
    found: list[GrowthRequest] = []
    for one, count in seeds:
        request = growth_request(template, one, count=count, sample=seed, temperature=temperature)
        # A small class is asked about several times in the same words, each time for other rows.
        repeat = repeats[request.key("")]
        repeats[request.key("")] += 1
        found.append(GrowthRequest(seed=one, count=count, request=replace(request, sample=seed + (repeat << 32))))
    return found


def _row_seeds(
    rows: Sequence[Row], per_row: int, most: int | None, draw: random.Random, *, is_whole: bool
) -> Iterator[tuple[Seed, int]]:
    order = shuffled(range(len(rows)), draw)
    wanted = len(rows) if most is None else min(len(rows), math.ceil(most / per_row))
    for position in order[:wanted]:
        prompt, completion = _last_question(rows[position]), answer_text(rows[position])
        likely = likely_tokens(prompt) + (likely_tokens(completion) if is_whole else 0)
        yield Seed(positions=(position,), prompt=prompt, completion=completion, likely_tokens=likely), per_row


def _class_seeds(
    rows: Sequence[Row], per_class: int | None, most: int | None, draw: random.Random
) -> Iterator[tuple[Seed, int]]:
    members: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        members.setdefault(answer_text(row), []).append(position)
    wanted = median_low(map(len, members.values())) if per_class is None else per_class
    left = math.inf if most is None else most
    for label, own in sorted(members.items(), key=lambda item: (len(item[1]), item[0])):
        missing = min(wanted - len(own), left)
        while missing > 0:
            count = int(min(missing, _AT_ONCE))
            shown = sorted(shuffled(own, draw)[:_EXAMPLES])
            texts = [_last_question(rows[position]) for position in shown]
            listed = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))
            likely = sum(map(likely_tokens, texts)) / len(texts)
            yield Seed(positions=tuple(shown), prompt=listed, completion=label, likely_tokens=likely), count
            missing -= count
            left -= count


def grow(
    requests: Sequence[GrowthRequest],
    answers: Sequence[Answer],
    rows: Sequence[Row],
    prompts: Sequence[str],
    *,
    gates: Gates,
    most: int | None,
    source: str,
) -> Growth:
    """Return the new rows that pass the gates, and what is refused, with reasons.

    Args:
        requests: What was asked.
        answers: One for each.
        rows: The rows that are added to.
        prompts: Their prompts.
        gates: What a row must pass.
        most: The most new rows; None: no limit.
        source: What the new rows have for a source.
    """
    made: list[tuple[Row, MadeRow]] = []
    removed: list[DroppedRow] = []
    number = 0

    def refuse(line: int, reason: str, row: Row) -> None:
        removed.append(DroppedRow(source, line, reason, row))

    waiting: list[tuple[int, Row, MadeRow]] = []
    for asked, answer in zip(requests, answers, strict=True):
        if answer is None:
            continue
        found, fault = _read(answer, asked)
        if fault is not None:
            number += 1
            text = answer.text if isinstance(answer, KeptAnswer) else ""
            refuse(number, fault, {"answer": text, "seeds": list(asked.seed.positions)})
        on = answer.on if isinstance(answer, KeptAnswer) else ""
        for turn, drawn in enumerate(found):
            number += 1
            row = conversation(rows[asked.seed.positions[0]], drawn.prompt, drawn.completion)
            if turn >= asked.count:
                refuse(number, f"more than the {asked.count} that were asked for", row)
                continue
            waiting.append((number, row, MadeRow(seeds=asked.seed.positions, on=on, row=row_digest(row))))
    refused = gates.refusals([row for _, row, _ in waiting], prompts)
    for place, (line, row, record) in enumerate(waiting):
        if place in refused:
            refuse(line, refused[place], row)
        elif most is not None and len(made) >= most:
            refuse(line, f"more than rows={most}", row)
        else:
            made.append((row, record))
    removed.sort(key=lambda one: one.line)
    return Growth(rows=tuple(row for row, _ in made), made=tuple(record for _, record in made), removed=tuple(removed))


def row_digest(row: Row, format: Literal["chat", "preference"] = "chat") -> str:  # noqa: A002
    """Return a digest of a row's content, by which a record of it is found again."""
    return f"{row_hash(row, format):016x}"


def _read(answer: KeptAnswer | Refused, asked: GrowthRequest) -> tuple[list[Drawn], str | None]:
    if isinstance(answer, Refused):
        return [], f"not answered: {answer.reason}"
    if answer.is_cut:
        return [], f"the answer was cut off at {asked.request.max_new_tokens:,} tokens"
    try:
        return read_growth(answer.text), None
    except ValueError as error:
        return [], str(error)


def _last_question(row: Row) -> str:
    return str(next(message["content"] for message in reversed(row["messages"]) if message["role"] == "user"))
