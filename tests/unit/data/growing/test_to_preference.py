"""Preferences from two models and a judge: both orders, ties and unreadable verdicts kept aside."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chat_script import CHAT, MakeEndpoint, Script, numbered

from ftsdk import BackendError, BudgetExceededError, Dataset, DatasetError, Model, SpecError
from ftsdk._home import home
from ftsdk.evals import local_target
from ftsdk.testing.together import TogetherService


def quiet(plan: object) -> None:
    pass


def said(dataset: Dataset, side: str) -> list[str]:
    return [row[side][-1]["content"] for row in dataset]


def short(messages: Any) -> str:
    return f"Short {messages[-1]['content']}"


def long(messages: Any) -> str:
    return f"A long answer to {messages[-1]['content']}"


def prefers_longer(messages: Any, first: str, second: str) -> str:
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


def test_a_function_judges_and_the_rows_are_ready_to_train_on() -> None:
    rows = numbered(5)
    found = rows.to_preference(short, long, prefers_longer, on_plan=quiet)
    assert found.format == "preference"
    assert [row["prompt"] for row in found] == [row["messages"][:-1] for row in rows]
    assert all(text.startswith("A long") for text in said(found, "chosen"))
    assert all(text.startswith("Short") for text in said(found, "rejected"))
    assert found.ref().format == "preference"
    step = found.steps[-1].judged
    assert step is not None
    assert (step.rows, step.first_won, step.refused, step.template) == (5, 0, 0, None)
    assert Dataset.from_rows([dict(row) for row in found]).fingerprint == found.fingerprint


def test_a_judge_that_prefers_a_place_decides_nothing() -> None:
    rows = numbered(4)

    def prefers_first_place(messages: Any, first: str, second: str) -> str:
        return "first" if "number 1" in messages[-1]["content"] else prefers_longer(messages, first, second)

    found = rows.to_preference(long, short, prefers_first_place, on_plan=quiet)
    assert len(found) == 3
    (removed,) = found.removed
    assert "same place in both orders" in removed.reason
    assert removed.line == 2
    assert removed.row["first"].startswith("A long")
    with pytest.raises(DatasetError, match=r"none of the 4 prompts.*tie"):
        rows.to_preference(long, short, lambda messages, a, b: "tie", on_plan=quiet)
    with pytest.raises(SpecError, match="must return 'first'"):
        rows.to_preference(long, short, lambda messages, a, b: "B", on_plan=quiet)


def test_equal_empty_and_broken_answers_are_kept_aside() -> None:
    answers = {"0": "same", "1": " ", "2": "\ud83d", "3": "better, and longer"}

    def first(messages: Any) -> str:
        return answers[re.findall(r"\d+", messages[-1]["content"])[-1]]

    found = numbered(4).to_preference(first, lambda messages: "same", prefers_longer, on_plan=quiet)
    assert said(found, "chosen") == ["better, and longer"]
    reasons = [row.reason for row in found.removed]
    assert reasons[0] == "both answers are the same"
    assert reasons[1] == "the first answer is empty"
    assert "can't be trained on" in reasons[2]


def reply(question: str) -> str:
    """Answer a prompt by its length, or judge: the longer answer wins, and what mentions parcel 2 gets no verdict."""
    if "Answer A:" not in question:
        return f"Here is parcel {question}"
    if "number 2" in question:
        return "I can't decide between A and B."
    a, b = question.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
    b = b.split("\n\nWhat stands in")[0]
    return f"Both are fine. Verdict: {'A' if len(a) > len(b) else 'B'}"


def test_an_endpoint_judges_in_both_orders(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = reply
    plans: list[Any] = []
    found = numbered(4).to_preference(make_endpoint(), short, make_endpoint(), on_plan=plans.append)
    assert len(found) == 3
    assert all(text.startswith("Here is") for text in said(found, "chosen"))
    assert "no verdict" in found.removed[0].reason
    judged = [text for text in script.asked if "Answer A:" in text]
    assert len(judged) == 8
    assert max(Counter(judged).values()) == 1
    lines = str(plans[0]).splitlines()
    assert [part.role for part in plans[0].parts] == ["first", "second", "judge"]
    assert "judge: 8 requests" in lines[2]
    assert "isn't an endpoint" in lines[1]
    step = found.steps[-1].judged
    assert step is not None
    assert step.usd is not None
    assert step.usd > 0
    asked = len(script.asked)
    again = numbered(4).to_preference(make_endpoint(), short, make_endpoint(), on_plan=quiet)
    assert (len(script.asked), again.fingerprint) == (asked, found.fingerprint)


def test_a_fault_of_the_judge_keeps_the_answers(
    service: TogetherService, script: Script, make_endpoint: MakeEndpoint
) -> None:
    script.reply = reply
    endpoint = make_endpoint(attempts=1, concurrency=1)
    with service.failing("500", on=CHAT, skip=7), pytest.raises(BackendError):
        numbered(6).to_preference(endpoint, short, endpoint, on_plan=quiet)
    found = numbered(6).to_preference(endpoint, short, endpoint, on_plan=quiet)
    assert len(found) == 5
    assert len(script.asked) == len(set(script.asked)) == 6 + 12


def test_the_budget_covers_all_three(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = reply
    plans: list[Any] = []
    numbered(8).to_preference(make_endpoint(), short, make_endpoint(), on_plan=plans.append)
    likely = sum(part.usd()[0] for part in plans[0].parts)
    asked = len(script.asked)
    with pytest.raises(BudgetExceededError, match="nothing was asked"):
        numbered(20).to_preference(make_endpoint(), short, make_endpoint(), budget_usd=likely, on_plan=quiet)
    assert len(script.asked) == asked
    rows = Dataset.from_rows([{"prompt": f"another number {n}1", "completion": "ok"} for n in range(8)])
    found = rows.to_preference(
        make_endpoint(concurrency=1), short, make_endpoint(concurrency=1), budget_usd=Decimal("0.02"), on_plan=quiet
    )
    step = found.steps[-1].judged
    assert step is not None
    assert step.usd is not None
    assert step.usd <= Decimal("0.02")
    assert step.stopped is None or "weren't asked" in step.stopped


def test_one_model_can_answer_twice(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = lambda question: f"{len(script.asked):03} {'x' * len(script.asked)}"
    endpoint = make_endpoint(concurrency=1)
    found = numbered(3).to_preference(endpoint, endpoint, prefers_longer, temperature=1.0, on_plan=quiet)
    assert len(script.asked) == 6
    assert len(found) == 3


def test_a_model_on_this_machine_answers_and_its_answers_are_kept(tiny_model: Path) -> None:
    def ask() -> list[bytes]:
        target = local_target("tiny", Model(id=str(tiny_model)))
        with contextlib.suppress(DatasetError):  # random weights may answer with nothing
            numbered(3).to_preference(target, short, prefers_longer, max_new_tokens=4, on_plan=quiet)
        (kept,) = (home() / "answers").iterdir()
        return [line for line in kept.read_bytes().splitlines() if line]

    first = ask()
    assert len(first) == 3
    assert ask() == first


def test_a_part_of_the_rows_is_drawn() -> None:
    found = numbered(30).to_preference(short, long, prefers_longer, rows=7, on_plan=quiet)
    assert len(found) == 7


def test_equal_rows_are_asked_and_paid_once(script: Script, make_endpoint: MakeEndpoint) -> None:
    rows = numbered(1) + numbered(1) + numbered(1)
    plans: list[str] = []
    found = rows.to_preference(
        make_endpoint(), long, prefers_longer, on_plan=lambda plan: plans.append(str(plan)), budget_usd=1
    )
    assert (len(script.asked), len(found)) == (1, 3)
    assert "1 requests" in plans[0]
