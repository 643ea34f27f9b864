"""What a split and a report both need is found out once for each dataset, whichever comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from ftsdk import Dataset
from ftsdk.data.asked import asked_again, loose_prompt_hashes, prompts_of
from ftsdk.data.duplicates.exact import exact_duplicates
from ftsdk.data.last_results import LastResults
from ftsdk.data.repeated_rows import repeated_rows

TEXT = "The jacket arrived {} days early, fits as the size chart says, and kept me dry in the rain, number {}."


def rows(count: int = 60) -> Dataset:
    asked = [TEXT.format(n % 7, n % 50) for n in range(count)]
    return Dataset.from_rows({"prompt": one, "completion": f"Thanks, we read {n % 40}."} for n, one in enumerate(asked))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is found out, by name."""
    counts: Counter[str] = Counter()
    get = LastResults[Any].get

    def counted(self: LastResults[Any], key: Any, make: Callable[[], Any]) -> Any:
        def find() -> Any:
            counts[str(key)] += 1
            return make()

        return get(self, key, find)

    monkeypatch.setattr(LastResults, "get", counted)
    return counts


@pytest.mark.parametrize("order", [("split", "report"), ("report", "split")])
def test_split_and_report_in_either_order_pay_once(order: tuple[str, str], made: Counter[str]) -> None:
    data = rows()
    for name in (*order, *order):
        data.split(validation=0.1) if name == "split" else data.report()
    assert made == {"prompt hashes": 1, "groups by 'auto'": 1, "near-duplicates": 1}


def test_a_part_finds_out_its_own(made: Counter[str]) -> None:
    data = rows()
    data.report()
    assert data[:20].report() == rows()[:20].report()
    assert made["near-duplicates"] == 3


def test_a_report_is_the_same_after_a_split() -> None:
    data = rows()
    data.split(validation=0.1)
    assert data.report() == rows().report()


def test_hashes_of_single_messages_find_every_repeated_prompt() -> None:
    said = ["One two", "one  TWO", "three", "Ünd so", "u\u0308nd so", "three "]
    data = Dataset.from_rows([{"prompt": text, "completion": "Yes."} for text in said])
    chat = data.canonical
    found = asked_again(chat, "chat", lambda: loose_prompt_hashes(chat, "chat"))
    assert found is not None
    prompts = prompts_of(chat, "chat")
    for among in (None, found):
        groups = exact_duplicates(prompts, ignore_case=True, ignore_blanks=True, among=among)
        assert groups == ((0, 1), (2, 5), (3, 4))
    assert repeated_rows(chat, "chat", among=found) == repeated_rows(chat, "chat") == ()


def test_prompts_of_several_messages_are_left_to_their_texts() -> None:
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    chat = Dataset.from_rows([{"messages": turns}, {"messages": turns[1:]}]).canonical
    assert asked_again(chat, "chat", lambda: numpy.empty(0)) is None
