"""A target that is asked with a prompt of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk import Dataset, Eval, Model
from ftsdk.errors import SpecError
from ftsdk.evals import as_target, constrained, evaluate, prompted, targets
from ftsdk.evals.examples import Prompt

ROWS = Dataset.from_rows([{"q": f"Is {n} even?", "a": "yes" if n % 2 == 0 else "no"} for n in range(4)]).as_chat(
    prompt="{q}", completion="{a}", system="Answer."
)
SEEN: list[list[dict[str, str]]] = []


def parrot(messages: object) -> str:
    assert isinstance(messages, list)
    SEEN.append(messages)
    return messages[-2]["content"]


def test_examples_and_instructions_come_before_the_question(tmp_path: Path) -> None:
    SEEN.clear()
    plain = as_target("base", parrot)
    taught = prompted(plain, system="Answer yes or no.", examples=ROWS[:2])
    assert taught.name == "base+2-shot"
    report = evaluate([Eval.exact_match(ROWS[2:], name="right")], [plain, taught], into=tmp_path)
    assert [message["content"] for message in SEEN[-1]] == [
        "Answer yes or no.",
        *("Is 0 even?", "yes", "Is 1 even?", "no"),
        "Is 3 even?",
    ]
    assert (report.score("right", "base").value, report.score("right", "base+2-shot").value) == (0.0, 0.5)


def test_answers_are_kept_by_prompt() -> None:
    plain = as_target("base", parrot)
    assert prompted(plain, system="A").identity == prompted(plain, system="A", name="other").identity
    assert len({target.identity for target in (plain, prompted(plain, system="A"), prompted(plain, system="B"))}) == 3


def test_tools_and_the_row_s_own_instructions_stay() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    asked = Prompt([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], tools)
    found = prompted(as_target("base", parrot), examples=ROWS[:1]).rewritten(asked)
    assert isinstance(found, Prompt)
    assert found.tools == tuple(tools)
    assert [message["role"] for message in found] == ["system", "user", "assistant", "user"]


def test_a_prompt_and_a_constraint_go_together(tmp_path: Path, tiny_model: Path) -> None:
    base, *_ = targets(Model(id=str(tiny_model)))
    held = constrained(prompted(base, examples=ROWS[:2]), choices=["yes", "no"])
    report = evaluate([Eval.of(ROWS[2:], "choice", name="kind")], [base, held], into=tmp_path)
    assert report.score("kind", held.name).unkept == 0


def test_a_function_can_t_be_constrained_behind_a_prompt(tmp_path: Path) -> None:
    held = constrained(prompted(as_target("base", parrot), system="A"), choices=["yes", "no"])
    with pytest.raises(SpecError, match="can't be held to choices"):
        evaluate([Eval.exact_match(ROWS)], [held], into=tmp_path)


def test_a_prompt_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="system="):
        prompted(as_target("base", parrot))


def test_examples_that_give_the_answer_away_are_refused(tmp_path: Path) -> None:
    taught = prompted(as_target("base", parrot), examples=ROWS)
    with pytest.raises(SpecError, match=r"'Is 0 even\?'.*training part"):
        evaluate([Eval.exact_match(ROWS)], [taught], into=tmp_path)
