"""The guide's three projects: each runs the whole way, and its data is what its scripts write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Eval
from ftsdk.evals import Example, evaluate, get_scorer
from ftsdk.testing.together import TogetherService

GUIDE = Path(__file__).parents[2] / "examples" / "guide"
DATA = GUIDE / "data"
sys.path.append(str(GUIDE))

from json_extraction import SCHEMA  # noqa: E402
from steps import frontier, without_leaks  # noqa: E402
from style_rules import house_rules  # noqa: E402


@pytest.fixture(scope="module")
def model_of_long_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with room for prompts with examples in them: it has a token for nearly every letter."""
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from ftsdk.testing.tiny import build_tiny_model

    folder = build_tiny_model(tmp_path_factory.mktemp("guide-model"))
    for name, field in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        read = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**read, field: 8192}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("emails.py", marks=pytest.mark.slow),
        pytest.param("style.py", marks=pytest.mark.slow),
        "json_extraction.py",
    ],
)
def test_a_project_goes_from_report_to_verdict(name: str, model_of_long_prompts: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(GUIDE / name), "--small", "--model", str(model_of_long_prompts)]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Its numbers mean nothing" in done.stdout
    assert "rows that repeat an earlier one" in done.stdout
    assert "Verdict: don't ship" in done.stdout  # random weights
    assert "Diagnosis of run local:" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["guide-results"]


@pytest.mark.parametrize("name", ["emails", "products", "repairs"])
def test_data_is_what_its_script_writes(name: str, tmp_path: Path) -> None:
    for script in (f"make_{name}.py", "noise.py"):
        shutil.copy(DATA / script, tmp_path / script)
    subprocess.run([sys.executable, str(tmp_path / f"make_{name}.py")], check=True, capture_output=True)
    written = sorted(tmp_path.glob("*.jsonl"))
    assert written
    for path in written:
        assert path.read_bytes() == (DATA / path.name).read_bytes()


def test_test_mails_have_every_category_and_no_repeats() -> None:
    mails = Dataset.from_file(DATA / "emails_test.jsonl")
    counts: dict[str, int] = {}
    for row in mails:
        counts[row["category"]] = counts.get(row["category"], 0) + 1
    assert sorted(counts.values()) == [40] * 8
    assert not mails.clean("exact_duplicates").removed


def test_most_orders_fit_the_schema() -> None:
    pytest.importorskip("jsonschema", reason="the extra 'evals' isn't installed")
    scorer = get_scorer("json_schema", {"schema": SCHEMA, "conformance_only": True})
    rows = list(Dataset.from_file(DATA / "repairs.jsonl"))
    fits = sum(scorer(Example([], row["order"]), row["order"]).value for row in rows)
    assert len(rows) - 20 <= fits < len(rows)


ROWS = Dataset.from_rows([{"q": f"Is {n} even?", "a": "yes" if n % 2 == 0 else "no"} for n in range(6)])


def test_an_api_is_measured_with_the_careful_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def answer(
        model: str, messages: Sequence[Mapping[str, Any]], max_tokens: int | None, temperature: float | None
    ) -> str:
        seen.append([message["content"] for message in messages])
        return "no"

    chats = ROWS.as_chat("{q}", "{a}", system="Short.")
    assert frontier("Careful.", chats[:2]) == []
    with TogetherService(chat=answer) as service:
        monkeypatch.setenv("GUIDE_API_URL", f"{service.base_url}/v1")
        monkeypatch.setenv("GUIDE_API_MODEL", "example/tiny-instruct")
        monkeypatch.setenv("GUIDE_API_KEY", service.key)
        found = frontier("Careful.", chats[:2])
        report = evaluate([Eval.exact_match(chats[5:], name="right")], found, into=tmp_path, budget_usd=1)
    assert seen == [["Careful.", "Is 0 even?", "yes", "Is 1 even?", "no", "Is 5 even?"]]
    assert report.score("right", "api").value == 1


def test_training_rows_of_the_test_are_left_out() -> None:
    chats = ROWS.as_chat("{q}", "{a}")
    assert len(without_leaks(chats, chats[:2])) == 4


FACTS = {"name": "Alder", "material": "oak", "size": "40 cm", "care": "wash by hand"}
TEXT = (
    "Alder is a broom of oak. At 40 cm it reaches under a low bed, and you can put it away with one hand. You need no "
    "manual, and there is none. You only have to wash by hand.\nUse it. Mend it. Keep it."
)


def test_a_text_in_the_house_style_keeps_all_rules() -> None:
    assert house_rules(Example([], TEXT, FACTS), TEXT).value == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (TEXT.replace("oak", "ash"), "names the material"),
        (TEXT.replace("low bed", "low bed!"), "is not loud"),
        (TEXT.removesuffix("Keep it."), "ends with the closing line"),
        (f"Meet {TEXT}", "begins with the name"),
        (TEXT.replace("You", "One").replace("you", "one"), "speaks to the reader"),
        ("Alder, oak, 40 cm, your broom: wash by hand\nUse it. Mend it. Keep it.", "25 to 75 words"),
    ],
)
def test_a_rule_that_is_broken_is_named(text: str, rule: str) -> None:
    found = house_rules(Example([], TEXT, FACTS), text)
    assert found.value == pytest.approx(7 / 8)
    assert found.reason == f"breaks: {rule}"
