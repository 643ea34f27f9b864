"""Tokens of rows, counted and guessed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.cost.training.tokens import padded_tokens, tokens_from_bytes
from ftsdk.data.token_guess import guess_tokens


def chat(*texts: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]
    }


# Counted with SmolLM2's tokenizer, 2026-11-24.
COUNTED = [
    (
        "the order came late and one of the cups was broken, please send another or give the money back. Order 48213, "
        "thanks!",
        31,
    ),
    ("订单迟到了，其中一个杯子坏了，请再寄一个或者退款，非常感谢。我昨天就写过信了。", 63),
    ("Заказ пришёл с опозданием, и одна из чашек была разбита, пришлите, пожалуйста, другую или верните деньги.", 79),
    ("ऑर्डर देर से आया और एक कप टूटा हुआ था, कृपया दूसरा भेजें या पैसे वापस करें।", 84),
    (
        "Die Bestellung kam zu spät, und eine der Tassen war zerbrochen. Bitte schicken Sie mir eine neue oder das "
        "Geld zurück.",
        43,
    ),
    ("😀🎉🚚📦❤️👍🏽 thanks!!", 24),
    (
        '{"id": 1007, "items": [{"sku": "A7-49", "qty": 2, "price": 26.99}], "status": "open", "ts": '
        '"2026-11-24T12:00:00Z"}',
        73,
    ),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_the_interval_of_a_guess_holds_many_languages_and_json(text: str, tokens: int) -> None:
    low, likely, high = guess_tokens(text)
    assert low <= likely <= high
    assert low <= tokens <= high


def test_letters_beyond_ascii_count_by_their_bytes() -> None:
    assert tokens_from_bytes([chat("é" * 400, "a")]).total > 1.8 * tokens_from_bytes([chat("e" * 400, "a")]).total


def test_preference_rows_count_both_answers_and_the_prompt_twice() -> None:
    row = {
        "prompt": [{"role": "user", "content": "q" * 370}],
        "chosen": [{"role": "assistant", "content": "a" * 370}],
        "rejected": [{"role": "assistant", "content": "b" * 740}],
    }
    found = tokens_from_bytes([row])
    prompt, chosen, rejected = (guess_tokens(letter * size)[1] for letter, size in (("q", 370), ("a", 370), ("b", 740)))
    assert found.total == pytest.approx(2 * prompt + chosen + rejected + 4 * 5 + 2 * 8)
    assert found.longest == round(prompt + rejected + 2 * 5 + 8)


def test_rows_are_cut_at_the_limit() -> None:
    found = tokens_from_bytes([chat("x" * 100_000, "y")], max_length=512)
    assert found.longest == 512
    assert found.total == 512


@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_the_order_of_rows_makes_no_difference(sizes: list[int], seed: int) -> None:
    rows = [chat("x" * size, "y") for size in sizes]
    mixed = rows.copy()
    random.Random(seed).shuffle(mixed)
    one, other = tokens_from_bytes(rows), tokens_from_bytes(mixed)
    assert one.total == pytest.approx(other.total)
    assert padded_tokens(one.lengths_N, 4) == pytest.approx(padded_tokens(other.lengths_N, 4))


@given(sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=40), cut=st.integers(1, 39))
def test_rows_in_two_files_have_the_tokens_of_both(sizes: list[int], cut: int) -> None:
    rows = [chat("x" * size, "y") for size in sizes]
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    assert sum(tokens_from_bytes(part).total for part in parts) == pytest.approx(tokens_from_bytes(rows).total)
    assert sorted(length for part in parts for length in tokens_from_bytes(part).lengths_N) == sorted(
        tokens_from_bytes(rows).lengths_N
    )


@given(lengths=st.lists(st.integers(1, 4096), min_size=1, max_size=60), micro=st.integers(1, 16))
def test_padding_adds_tokens_up_to_the_longest_row(lengths: list[int], micro: int) -> None:
    padded = padded_tokens(lengths, micro)
    assert sum(lengths) - 1e-6 <= padded <= max(lengths) * len(lengths) + 1e-6
    assert padded <= padded_tokens(lengths, micro + 1) + 1e-6


def test_padding_is_what_random_batches_have() -> None:
    chance = random.Random(5)
    lengths = [chance.randint(20, 800) for _ in range(400)]
    total = 0
    for _ in range(200):
        chance.shuffle(lengths)
        total += sum(8 * max(lengths[at : at + 8]) for at in range(0, 400, 8))
    assert padded_tokens(lengths, 8) == pytest.approx(total / 200, rel=0.01)


def test_rows_sorted_within_a_step_are_padded_as_a_simulation_says() -> None:
    chance = random.Random(6)
    lengths = [int(chance.lognormvariate(4.5, 0.7)) + 5 for _ in range(600)]
    total, step, micro = 0, 16, 4
    for _ in range(200):
        chance.shuffle(lengths)
        for at in range(0, 592, step):
            ordered = sorted(lengths[at : at + step], reverse=True)
            total += sum(micro * max(ordered[k : k + micro]) for k in range(0, step, micro))
    assert padded_tokens(lengths, micro, sorted_rows=step) == pytest.approx(total / 200 / 592 * 600, rel=0.03)
    many = padded_tokens(lengths, micro, sorted_rows=128)
    assert sum(lengths) < many < padded_tokens(lengths, micro, sorted_rows=step) < padded_tokens(lengths, micro)


@given(
    lengths=st.lists(st.integers(1, 4096), min_size=1, max_size=60), micro=st.integers(1, 16), steps=st.integers(1, 8)
)
def test_sorting_rows_never_adds_padding_and_never_loses_a_token(lengths: list[int], micro: int, steps: int) -> None:
    ordered = padded_tokens(lengths, micro, sorted_rows=micro * steps)
    assert sum(lengths) - 1e-6 <= ordered <= max(lengths) * len(lengths) + 1e-6


def test_only_answers_are_trained() -> None:
    few, many = (tokens_from_bytes([chat("q" * 9_000, "a" * size)]).trained_share for size in (1_000, 9_000))
    assert few == pytest.approx(0.1, abs=0.01)
    assert many == pytest.approx(0.5, abs=0.01)
