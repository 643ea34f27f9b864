"""What can't be trained is refused before anything starts, in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError, FineTuneJob, Local, LoRA, Model, ModelError, UnsupportedSpecError

pytest.importorskip("transformers", reason="the extra 'local' isn't installed")

ROWS = Dataset.from_rows([{"prompt": f"x {n}", "completion": "b"} for n in range(4)])
REFUSES = "{{ raise_exception('no such role') }}"


def job(model: str | Model, **changes: Any) -> FineTuneJob:
    return FineTuneJob(**{"model": model, "train": ROWS, "max_steps": 1, "backend": Local(device="cpu"), **changes})


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
    job(str(tiny_model), tuning=LoRA(target_modules=("self_attn.q_proj", "down_proj"))).plan()


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
