from __future__ import annotations

from decimal import Decimal

import pytest

from ftsdk._format import (
    Html,
    bold,
    duration,
    gigabytes,
    html_list,
    html_table,
    link,
    linked,
    money,
    money_over,
    printable,
    text_table,
)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal("1E-9"), "$0.000000001"),
        (0.0675, "$0.0675"),
        (0.7, "$0.70"),
        (0.9999, "$1.00"),
        (0, "$0.00"),
        (-0.25, "-$0.25"),
        (1234, "$1,234"),
        (float("inf"), "$inf"),
        (float("nan"), "$nan"),
    ],
)
def test_an_amount_has_the_digits_that_help_and_no_exponent(amount: Decimal | float, shown: str) -> None:
    assert money(amount) == shown


def test_an_amount_can_have_a_fixed_number_of_places() -> None:
    assert [money(1234.5, places=n) for n in (0, 2, 4)] == ["$1,234", "$1,234.50", "$1,234.5000"]
    assert money(Decimal("-0.5"), places=2) == "-$0.50"


def test_an_amount_over_its_limit_reads_as_more() -> None:
    assert money_over(Decimal("5.001"), Decimal(5)) == "$5.0010"
    assert money_over(Decimal("5.10"), Decimal(5)) == "$5.10"


@pytest.mark.parametrize(
    ("seconds", "rough", "precise"),
    [(0, "0 s", "0 s"), (89, "89 s", "1 min 29 s"), (185, "3 min", "3 min 05 s"), (7500, "2.1 h", "2 h 05 min")],
)
def test_a_duration_is_rough_for_estimates_and_precise_for_a_clock(seconds: float, rough: str, precise: str) -> None:
    assert (duration(seconds), duration(seconds, precise=True)) == (rough, precise)


def test_bytes_are_shown_in_gb() -> None:
    assert (gigabytes(1.25e9), gigabytes(3e6, places=3)) == ("1.2 GB", "0.003 GB")


def test_a_text_table_aligns_columns_and_lets_a_heading_reach_over() -> None:
    rows = [("NAME", "N"), ("a-very-long-heading", ""), ("ab", "10")]
    assert text_table(rows, right={1}).split("\n") == ["NAME   N", "a-very-long-heading", "ab    10"]
    assert text_table([("a", "n"), ("bc", "1")], has_rule=True).split("\n") == ["a   n", "--  -", "bc  1"]
    assert text_table([]) == ""


def test_control_characters_of_data_are_shown_and_not_sent() -> None:
    assert text_table([("\x1b[2J", "b")]) == "␛[2J  b"
    assert printable("a\tb\nc" * 3, 8) == "a\\tb\\nc…"


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\ufeff", "\ud800", "\U000e0041"])
def test_text_shown_neither_drives_the_terminal_nor_hides(sign: str) -> None:
    assert sign not in printable(f"a{sign}b")
    assert printable(f"a{sign}b").encode()


def test_html_escapes_text_links_addresses_and_keeps_html() -> None:
    table = html_table([("<b>", Html("<i>x</i>"))], head=("a&b", ""), has_row_heads=True)
    assert "&lt;b&gt;" in table
    assert "<i>x</i>" in table
    assert "a&amp;b" in table
    assert html_table([], head=("a",)) == ""
    assert (
        html_list([bold("<"), "https://x.example/'y"])
        == "<ul><li><b>&lt;</b></li><li><a href='https://x.example/'>https://x.example/</a>&#x27;y</li></ul>"
    )
    assert (
        linked(linked("https://x.example/?a=1&b"))
        == "<a href='https://x.example/?a=1&amp;b'>https://x.example/?a=1&amp;b</a>"
    )


def test_only_an_https_address_becomes_a_link() -> None:
    assert link("a", "https://x.example/'") == "<a href='https://x.example/&#x27;'>a</a>"
    assert link("<", "javascript:alert(1)") == "&lt;"
