from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.data.quality import RULES, check_texts, repair
from ftsdk.data.quality.text_rules import TEXT_RULES


def broken(text: str) -> set[str]:
    return {rule for rule, positions in check_texts([text]).items() if positions}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        (" \n\u00a0", "empty"),
        ("Dear {customer_name}, hello", "template_leftover"),
        ("Dear {{ customer.name }}, hello", "template_leftover"),
        ("<|im_start|>user", "template_leftover"),
        ("[INST] hi [/INST]", "template_leftover"),
        ("### Instruction:\nDo it", "template_leftover"),
        ("As an AI language model, I cannot", "template_leftover"),
        ("```python\nx = 1", "unclosed_fence"),
        ("the cafÃ© is open", "broken_encoding"),
        ("itâ€™s", "broken_encoding"),
        ("a \ufffd b", "lost_characters"),
        ("loop over and over. " * 30, "repetition"),
        ("first line\n" * 12, "repetition"),
    ],
)
def test_a_rule_is_broken_alone(text: str, rule: str) -> None:
    assert broken(text) == {rule}


@pytest.mark.parametrize(
    "text",
    [
        "use `{name}` or f'{name}' or ${name} or $\\frac{abc}{def}$",
        '{"a": {"b": 1}} and {1, 2} and {x}',
        "```\nHello {name}\n```",
        "~~~\ncode\n~~~\nis closed",
        "CAFÉ… « café\u00a0» JÖ” São Ã ñ Ñandú",
        "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72",
        "a table <s>struck</s> [1] # heading\n## Response times",
    ],
)
def test_good_text_breaks_no_rule(text: str) -> None:
    assert broken(text) == set()


def test_every_rule_is_described_once() -> None:
    assert set(TEXT_RULES) <= set(RULES)
    assert all(rule.why.endswith(".") and rule.title for rule in RULES.values())
    assert {rule.step for rule in RULES.values() if rule.is_safe} == {"empty", "encoding"}


@given(st.text(st.characters(min_codepoint=0xA1, max_codepoint=0x2FFF), min_size=1, max_size=20))
def test_a_repair_returns_what_was_meant(text: str) -> None:
    meant = f"naïve: {text} – ok"
    wrong = meant.encode().decode("latin-1")
    repaired = repair(wrong)
    assert repair(repaired) == repaired
    assert repaired.encode("utf-8", "replace").isascii() or len(repaired) < len(wrong)


def test_text_that_was_decoded_wrongly_is_restored() -> None:
    for text in ("café – naïve", "привет, мир", "你好世界", "dziękuję", "it’s 5 €", "ok 😀"):
        wrong = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())
        assert repair(wrong) == text
        assert repair(text) == text


def test_positions_hold_across_blocks() -> None:
    texts = ["fine"] * 9_000
    texts[4_100] = texts[8_999] = " "
    assert check_texts(texts, ["empty"]) == {"empty": [4_100, 8_999]}
