"""The guide's three cases run offline, and print what the book's prices give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "cost"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    return done.stdout


def test_email_classification_gives_the_known_break_even_volumes() -> None:
    text = run("email_classification.py")
    # At $400 a month: GPT-4o, Claude Haiku 4.5, GPT-4o mini and the cheapest of 2026.
    for volume in ("0.24M", "0.59M", "4.04M", "5.93M"):
        assert volume in text
    for bought in ("0.73M", "1.78M", "12.12M", "17.78M"):
        assert bought in text


def test_json_output_turns_round_with_a_cheap_model() -> None:
    text = run("json_output.py")
    for monthly, volume in (("6,750", "0.12M"), ("3,000", "0.27M"), ("405", "1.98M"), ("300", "2.67M")):
        assert monthly in text
        assert volume in text


def test_style_is_a_question_of_an_editor_s_time() -> None:
    text = run("style.py")
    assert "minimum of 4.00 is billed" in text
    assert "api: 750.00 of" in text


@pytest.mark.parametrize("name", ["email_classification.py", "style.py", "json_output.py"])
def test_every_example_prints_what_it_assumes(name: str) -> None:
    assert run(name).count("Assumed") >= 2
