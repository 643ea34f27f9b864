"""What `bench_training.py` trains on: real rows where their folders are given, else rows of the same shape."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["WORKLOADS", "made_rows", "rendered_columns"]

Row = dict[str, Any]

_DOMAINS = ("banking", "credit cards", "home", "auto", "travel", "small talk", "meta", "work", "utility", "dining")
_INSTRUCTION = (
    f"You sort messages. Read the message and answer with one of these domains and nothing else: {', '.join(_DOMAINS)}."
)
_TEXT = "please what is the my card for a to do you in how much book order late need help with today car new and when"
_WORDS = _TEXT.split()
_SOLVE = "Solve the problem. Think step by step, and end with the answer after '####'."


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(_WORDS) for _ in range(words))


def _lines(folder: Path | None, name: str) -> list[Row]:
    file = None if folder is None else folder / name
    if file is None or not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _chat(*messages: tuple[str, str]) -> Row:
    return {"messages": [{"role": role, "content": content} for role, content in messages if content]}


def _clinc(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    found = _lines(data, "clinc150/train.jsonl")
    rows = [(row["text"], row["domain"].replace("_", " ")) for row in draw.sample(found, count)] if found else []
    rows = rows or [(_text(draw, draw.randint(5, 12)), draw.choice(_DOMAINS)) for _ in range(count)]
    return [_chat(("system", _INSTRUCTION), ("user", asked), ("assistant", answer)) for asked, answer in rows]


def _support(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    del data
    rules = " ".join([_INSTRUCTION, *(_text(draw, 40) + "." for _ in range(12))])
    messages = ((_text(draw, draw.randint(30, 55)), draw.choice(_DOMAINS)) for _ in range(count))
    return [_chat(("system", rules), ("user", asked), ("assistant", answer)) for asked, answer in messages]


def _problems(draw: random.Random, count: int, data: Path | None) -> list[tuple[str, str]]:
    found = _lines(data, "gsm8k/train.jsonl")
    if found:
        return [(row["question"], row["answer"]) for row in draw.sample(found, count)]
    return [(_text(draw, draw.randint(25, 80)), _text(draw, draw.randint(40, 130))) for _ in range(count)]


def _gsm8k(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    return [
        _chat(("system", _SOLVE), ("user", asked), ("assistant", answer))
        for asked, answer in _problems(draw, count, data)
    ]


def _dpo(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    pairs: list[tuple[str, str, str]] = []
    for row in _lines(data, "gsm8k/example_model_solutions.jsonl"):
        given = [value for value in row.values() if isinstance(value, dict)]
        right = [one["solution"] for one in given if one["is_correct"]] or [row["ground_truth"]]
        wrong = [one["solution"] for one in given if not one["is_correct"]]
        pairs += [(row["question"], right[0], one) for one in wrong[:1]]
    if pairs:
        pairs = draw.sample(pairs, count)
    else:
        pairs = [(asked, answer, _text(draw, len(answer.split()))) for asked, answer in _problems(draw, count, None)]

    def said(role: str, text: str) -> list[Row]:
        return [{"role": role, "content": text}]

    return [
        {"prompt": said("user", asked), "chosen": said("assistant", right), "rejected": said("assistant", wrong)}
        for asked, right, wrong in pairs
    ]


def _turns(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    """Conversations that begin with the same two worked examples, every answer trained."""
    problems = _problems(draw, 2 + 2 * count, data)
    shown, own = problems[:2], iter(problems[2:])
    rows: list[Row] = []
    for first, second in zip(own, own, strict=True):
        turns = [
            message for asked, answer in (*shown, first, second) for message in (("user", asked), ("assistant", answer))
        ]
        rows.append(_chat(("system", _SOLVE), *turns))
    return rows


def _plain(draw: random.Random, count: int, data: Path | None) -> list[Row]:
    del data
    return [
        _chat(("user", _text(draw, words)), ("assistant", _text(draw, words)))
        for words in (draw.randint(60, 240) for _ in range(count))
    ]


WORKLOADS: dict[str, tuple[Callable[[random.Random, int, Path | None], list[Row]], str]] = {
    "clinc": (_clinc, "classification after an instruction (CLINC150)"),
    "support": (_support, "a system prompt of 600 tokens before messages of 60"),
    "gsm8k": (_gsm8k, "word problems with worked answers (GSM8K)"),
    "turns": (_turns, "conversations of four turns, the first two the same in all, every answer trained (GSM8K)"),
    "plain": (_plain, "rows that share nothing but the template"),
    "dpo": (_dpo, "DPO on right and wrong solutions (GSM8K)"),
}
"""How rows are made, and what they are."""


def made_rows(name: str, count: int, data: Path | None, *, seed: int = 0) -> list[Row]:
    """Return canonical rows of a workload.

    Args:
        name: One of `WORKLOADS`.
        count: Rows.
        data: A folder with `clinc150/` and `gsm8k/`; None: rows are made up.
        seed: Decides which.
    """
    return WORKLOADS[name][0](random.Random(seed), count, data)


def rendered_columns(name: str, rows: list[Row], tokenizer: Any) -> dict[str, list[list[int]]]:
    """Return rows as the columns that trainers take."""
    from ftsdk.backends.trainers.trl.methods import load_method
    from ftsdk.data import render_dataset

    train_on = "assistant" if name == "turns" else "completion"
    ends = [tokenizer.eos_token_id]
    rendered = render_dataset(rows, tokenizer, train_on=train_on, max_length=None, eos_token_ids=ends)
    return dict(load_method("dpo" if name == "dpo" else "sft").columns(list(rendered.rows)))
