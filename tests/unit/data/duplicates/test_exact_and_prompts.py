"""Equal texts, and prompts that are asked twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftsdk.data.duplicates.exact import exact_duplicates
from ftsdk.data.duplicates.prompts import conflicting_answers, prompt_duplicates


def test_equal_texts_are_grouped_by_unicode_form_case_and_blanks() -> None:
    rows = ["Caf\u00e9 au lait", "Cafe\u0301 au lait", "caf\u00e9 au lait", "Caf\u00e9  au\nlait ", "tea"]
    assert exact_duplicates(rows) == ((0, 1),)
    assert exact_duplicates(rows, ignore_case=True) == ((0, 1, 2),)
    assert exact_duplicates(rows, ignore_blanks=True) == ((0, 1, 3),)
    assert exact_duplicates(rows, ignore_case=True, ignore_blanks=True) == ((0, 1, 2, 3),)


@given(st.lists(st.text(max_size=3)))
def test_groups_hold_each_repeated_text_once(rows: list[str]) -> None:
    groups = exact_duplicates(rows)
    members = [row for group in groups for row in group]
    assert len(members) == len(set(members))
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)
    assert all(rows.index(text) == row or row in members for row, text in enumerate(rows))


def test_the_same_prompt_is_grouped_by_its_answers() -> None:
    prompts = ["Where?", "where? ", "when?", "Where?", "who?", "who?"]
    answers = ["here", "Here ", "now", "there", "me", "me"]
    where, who = prompt_duplicates(prompts, answers)
    assert (where.positions, where.answers, where.is_conflicting) == ((0, 1, 3), ((0, 1), (3,)), True)
    assert (who.positions, who.is_conflicting) == ((4, 5), False)
    assert conflicting_answers(prompts, answers) == (where,)
