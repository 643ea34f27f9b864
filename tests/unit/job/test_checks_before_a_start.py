"""What can't be trained is refused before anything starts, in words."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError, FineTuneJob, Local, LoRA, Model, ModelError, UnsupportedSpecError
from ftsdk.data import render_trial
from ftsdk.models.limits import TEMPLATE_LIMITS

pytest.importorskip("transformers", reason="the extra 'local' isn't installed")

ROWS = Dataset.from_rows([{"prompt": f"x {n}", "completion": "b"} for n in range(4)])
REFUSES = "{{ raise_exception('no such role') }}"


def job(model: str | Model, **changes: Any) -> FineTuneJob:
    fields: dict[str, Any] = {"model": model, "train": ROWS, "max_steps": 1, "backend": Local(device="cpu"), **changes}
    return FineTuneJob(**fields)


def test_preview_and_plan_cut_rows_at_the_same_length(tiny_model: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    file = own / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 64}))
    shown = job(str(own)).preview(1)
    assert shown.report.max_length == job(str(own)).plan().request["training"]["max_length"] == 512


def test_estimate_raises_what_training_would_raise(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="refuses row 1"):
        job(Model(id=str(tiny_model), chat_template=REFUSES)).estimate()
    long = Dataset.from_rows([{"prompt": "a " * 700, "completion": "b"}] * 4)
    with pytest.raises(DatasetError, match=r"4 of 4 rows .* lose trained tokens"):
        job(str(tiny_model), train=long, max_truncated=1.0).estimate()


@pytest.mark.parametrize("name", ["q_porj", "input_layernorm", "proj"])
def test_target_modules_that_are_no_layers_are_refused(tiny_model: Path, name: str) -> None:
    with pytest.raises(UnsupportedSpecError, match=f"{name}.*q_proj"):
        job(str(tiny_model), tuning=LoRA(target_modules=("q_proj", name))).plan()


def test_target_modules_may_be_names_of_several_parts(tiny_model: Path) -> None:
    modules = ("self_attn.q_proj", "down_proj")
    plan = job(str(tiny_model), tuning=LoRA(target_modules=modules)).plan()
    assert tuple(plan.spec.tuning.target_modules or ()) == modules  # type: ignore[union-attr]


def test_a_token_beyond_the_embedding_is_refused_by_name(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    own = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    tokenizer: Any = AutoTokenizer.from_pretrained(own)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<travel>"])
    tokenizer.save_pretrained(own)
    job(str(own)).estimate()  # no row has it
    beyond = Dataset.from_rows([{"prompt": "x", "completion": "<travel>"}] * 4)
    for ask in (job(str(own), train=beyond).estimate, job(str(own), train=beyond).preview):
        with pytest.raises(ModelError, match=f"'<travel>'.*{rows:,} rows"):
            ask()


NO_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_plan_refuses_rows_that_the_template_refuses(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="refuses row 1"):
        job(Model(id=str(tiny_model), chat_template=REFUSES)).plan()
    only = "{% if messages[0].content == 'x 3' %}" + REFUSES + "{% endif %}" + NO_SYSTEM
    with pytest.raises(ModelError, match="refuses row 4 "):
        job(Model(id=str(tiny_model), chat_template=only)).plan()


def test_a_plan_refuses_rows_that_lose_what_they_say(tiny_model: Path) -> None:
    rows = Dataset.from_rows([{"system": "Be brief.", "prompt": "a", "completion": "b"}] * 4)
    with pytest.raises(DatasetError, match="leaves out or changes what a message says in 4 of 4 rows"):
        job(Model(id=str(tiny_model), chat_template=NO_SYSTEM), train=rows).plan()
    job(Model(id=str(tiny_model), chat_template=NO_SYSTEM), train=rows, max_truncated=1.0).plan()


def test_a_plan_refuses_rows_without_room_for_their_answers(tiny_model: Path) -> None:
    long = Dataset.from_rows([{"prompt": "a " * 700, "completion": "b"}] * 4)
    for changes in ({"train": long}, {"validation": long}):
        with pytest.raises(DatasetError, match=r"4 of 4 rows .* lose trained tokens"):
            job(str(tiny_model), **changes).plan()


@pytest.mark.parametrize("limit_s", [1.0, pytest.param(TEMPLATE_LIMITS.trial_s, marks=pytest.mark.slow)])
def test_a_template_that_loops_on_one_row_is_refused(
    tiny_model: Path, limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_trial, "TEMPLATE_LIMITS", replace(TEMPLATE_LIMITS, trial_s=limit_s))
    body = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    template = "{% if messages[0].content == 'x 3' %}" + body + "{% endif %}" + NO_SYSTEM
    with pytest.raises(ModelError, match=f"chat template takes more than {limit_s:.0f} seconds for one row"):
        job(Model(id=str(tiny_model), chat_template=template)).plan()


def test_a_template_that_allocates_on_one_row_is_refused(tiny_model: Path) -> None:
    template = "{% if messages[0].content == 'x 3' %}{{ 'a' * 6000000000 }}{% endif %}" + NO_SYSTEM
    with pytest.raises(ModelError, match="chat template takes more than 1 GiB of memory for 4 rows"):
        job(Model(id=str(tiny_model), chat_template=template)).plan()


def test_a_plan_states_that_rows_were_not_rendered() -> None:
    notes = job("nobody/has-this-model").plan().notes
    assert any("no row was checked" in note and "the model isn't on this machine" in note for note in notes)


def test_a_plan_of_a_good_job_loads_no_heavy_library(tiny_model: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom ftsdk import *\n"
        f"rows = Dataset.from_rows([{{'prompt': f'q{{n}}', 'completion': 'b'}} for n in range(9)])\n"
        f"notes = FineTuneJob(model={str(tiny_model)!r}, train=rows, backend=Local(device='cpu')).plan().notes\n"
        "print([note for note in notes if 'rendered' in note])\n"
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split("\n")[:2] == ["[]", "[]"]


def test_a_plan_runs_no_file_of_the_current_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("json", "ftsdk", "tokenizers", "jinja2"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    notes = job(str(tiny_model)).plan().notes
    assert not (tmp_path / "was_run").exists()
    assert not any("not rendered" in note for note in notes)


def test_a_plan_cannot_drive_the_terminal(tiny_model: Path) -> None:
    shown = str(job(Model(id="org/name", revision="\x1b[2J")).plan())
    assert "\x1b" not in shown
    assert "\u241b[2J" in shown
    with pytest.raises(ModelError) as raised:
        job(Model(id=str(tiny_model), chat_template="{{ raise_exception('\x1b[2J') }}")).plan()
    assert "\x1b" not in str(raised.value)


def test_a_report_counts_what_the_job_would_cut_and_what_it_shares(tiny_model: Path) -> None:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer number {n} is no."} for n in range(6)]
    rows[4]["completion"] = "word " * 400
    data = Dataset.from_rows(rows)
    made = FineTuneJob(
        model=str(tiny_model), train=data, validation=data.take(1), max_length=200, allow_leaks=["validation"]
    )
    found = {one.code: one.positions for one in made.report().findings}
    assert found["truncated"] == (4,)
    assert found["leaks"] == (0,)
    assert made.report().lengths.counted_by == str(tiny_model)


def test_a_plan_notes_credentials_in_what_is_trained_on(tiny_model: Path) -> None:
    key = "ghp_" + "a1B2c3D4e5F6" * 3
    rows = [{"prompt": f"Question {n}?", "completion": f"Use {key}." if n == 3 else f"Answer {n}."} for n in range(6)]
    notes = FineTuneJob(model=str(tiny_model), train=Dataset.from_rows(rows)).plan().notes
    (note,) = (note for note in notes if "credentials" in note)
    assert "1 row" in note
    assert key not in note
