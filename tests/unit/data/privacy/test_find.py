from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.data.privacy import CREDENTIALS, PII, find, restore, scrub


def values(text: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for start, end, kind in find([text]).get(0, ())]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to john.doe+x@example.co.uk.", "email", "john.doe+x@example.co.uk"),
        ("jürgen@exämple.de is mine", "email", "jürgen@exämple.de"),
        ("card 4111 1111 1111 1111, please", "card", "4111 1111 1111 1111"),
        ("3782-822463-10005", "card", "3782-822463-10005"),
        ("IBAN DE89 3704 0044 0532 0130 00 for the rent", "iban", "DE89 3704 0044 0532 0130 00"),
        ("gb82west12345698765432", "iban", "gb82west12345698765432"),
        ("my ssn is 123-45-6789.", "ssn", "123-45-6789"),
        ("SSN: 123456789", "ssn", "123456789"),
        ("http://192.168.1.20:8080/", "ip", "192.168.1.20"),
        ("from 2001:db8::8a2e:370:7334.", "ip", "2001:db8::8a2e:370:7334"),
        ("00:1A:2B:3C:4D:5E", "mac", "00:1A:2B:3C:4D:5E"),
        ("DOB: 12/03/1984", "date_of_birth", "12/03/1984"),
        ("(555) 123-4567 x42", "phone", "(555) 123-4567 x42"),
        ("+1-555-123-4567x123", "phone", "+1-555-123-4567x123"),
        ("+44 20 7946 0958 3 people", "phone", "+44 20 7946 0958"),
        ("+49 (0)30 123456", "phone", "+49 (0)30 123456"),
        ("07700 900123", "phone", "07700 900123"),
        ("(0161) 496 0000", "phone", "(0161) 496 0000"),
        ("call me at 5551234567", "phone", "5551234567"),
    ],
)
def test_a_value_is_found_whole_and_alone(text: str, kind: str, value: str) -> None:
    assert values(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456, 666-12-3456, 912-12-3456, 123-00-4567, 123-45-0000",
        "version 1.2.3.4, v1.2.3.4, section 4.3.2.1, 1.2.3.4.5, 256.1.1.1, 127.0.0.1",
        "std::string a::b x[1::2] at 12:30:45",
        "git@github.com:x/y logo@2x.png a@b.shape @home",
        "order 4839201745, 12,345,678 rows, 3.1415926535897932, 2026-01-15 10:20:30",
        "id 550e8400-e29b-41d4-a716-446655440000, ISBN 978-3-16-148410-0",
        "your dog is 10 years old then in his first year of life he lived 15",
        "200 300 4000 500, pages 100-1200, 1990-2026",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx and hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "a state-of-the-art task-based decision-making-process-oriented risk-assessment",
        "-----BEGIN PRIVATE KEY----- is how such a file begins",
        "SG. and AKIA and eyJ and ghp_ and sk-ant- are how keys begin",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert values(text) == []


def test_kinds_are_data_with_sources() -> None:
    for kind in (*CREDENTIALS, *PII):
        assert kind.source.startswith("https://")
        assert kind.placeholder == kind.name.upper()
    assert len({kind.name for kind in CREDENTIALS}) >= 12


def test_texts_without_findings_cost_no_entry_and_stay_themselves() -> None:
    texts = ["nothing here", "mail a@example.com", "\ud800 lone surrogate b@example.com", ""]
    clean = scrub(texts)
    assert list(find(texts)) == clean.changed == [1, 2]
    assert clean.texts[0] is texts[0]


def test_positions_hold_across_blocks() -> None:
    texts = ["plain é" * (n % 3) for n in range(9_000)]
    texts[4_097] = texts[8_999] = "é a@example.com"
    assert {position: len(found) for position, found in find(texts).items()} == {4_097: 1, 8_999: 1}


PIECES = st.sampled_from(
    ["a@example.com", "555-123-4567", "4111 1111 1111 1111", "123-45-6789", "10.1.2.3", "[PHONE_1]", "call ", " ", ",",
     "1", "-", "+", "(", "@", ".", "é", "😀", "\n", "x", "DE89370400440532013000", "[EMAIL_1]", "v", "order 5551234567",
     "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4", "2001:db8::1", ":", "00", "555 123 4567"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


@given(st.lists(TEXTS, max_size=4))
def test_scrubbing_twice_changes_nothing_and_restoring_undoes_it(texts: list[str]) -> None:
    rows = [n // 2 for n in range(len(texts))]
    clean = scrub(texts, rows=rows)
    assert restore(clean.texts, clean.keys, rows=rows) == texts
    assert not scrub(clean.texts, rows=rows).changed
    for position, found in find(texts).items():
        assert all(one.end <= other.start for one, other in pairwise(found))
        assert 0 <= found[0].start < found[0].end <= found[-1].end <= len(texts[position])
    assert all(clean.texts[n] is texts[n] for n in range(len(texts)) if n not in clean.changed)


def test_a_value_has_one_placeholder_in_all_texts_of_a_row() -> None:
    texts = ["call 555-123-4567 or 555-765-4321", "I called 555-765-4321. [PHONE_1]", "555-765-4321"]
    clean = scrub(texts, rows=[0, 0, 1])
    assert clean.texts == ["call [PHONE_2] or [PHONE_3]", "I called [PHONE_3]. [PHONE_1]", "[PHONE_1]"]
    assert clean.keys[1] == {"[PHONE_1]": "555-765-4321"}
    assert restore(["[PHONE_1], right?"], clean.keys, rows=[1]) == ["555-765-4321, right?"]
    assert clean.counts == {"phone": 4}


def test_rows_must_fit_texts() -> None:
    with pytest.raises(ValueError, match="one row number per text"):
        scrub(["a"], rows=[])


HOSTILE = ["1", "@", " ", "a@", "1 ", "-", "1.", ":", "a:", "+1", "(", "a.", "A1", "a@a.",
           "-----BEGIN PRIVATE KEY-----", "sk-", "0-",
           "eyJ", "1-1-", "DE89 ", "A", "xox-", "aws secret", "AB12 3456 ", "555-123-4567 ", "1.2.3.4 "]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear_on_hostile_texts(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        start = time.thread_time()
        find([text])
        return time.thread_time() - start

    seconds(1_000)
    small = max(seconds(20_000), 0.02)
    assert seconds(160_000) < 30 * small


def test_random_letters_are_no_finding() -> None:
    draw = random.Random(3)
    texts = ["".join(draw.choices("abcdefghij klmnop,.-", k=400)) for _ in range(300)]
    assert find(texts) == {}
