"""An adapter is opened by plain peft and transformers, in a process and a folder that know nothing of ftsdk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_gguf import write_gguf

from ftsdk import FineTuneJob, LoRA
from ftsdk.models import load_model

pytest.importorskip("gguf", reason="the extra 'local' isn't installed")
pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]

OPEN = """\
import json, sys

sys.modules["ftsdk"] = None  # importing it fails
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1]).float().eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = tokenizer("message 3 is about", return_tensors="pt")["input_ids"]
print(json.dumps(model(input_ids=rows).logits[0, -1].tolist()))
"""
"""As the README in the artifact shows it."""


def opened_by_peft(adapter: Path, elsewhere: Path) -> list[float]:
    """Return the logits of plain peft, in a new process that starts in a folder of its own."""
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FTSDK_HOME")}
    found = subprocess.run(
        [sys.executable, "-c", OPEN, str(adapter)],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def in_hub_cache(model: Path, cache: Path, commits: dict[str, int]) -> None:
    """Put the model into a hub's cache as `acme/tiny`, once a commit, with its weights multiplied."""
    from safetensors.torch import load_file, save_file

    for commit, factor in commits.items():
        snapshot = cache / "models--acme--tiny" / "snapshots" / commit
        shutil.copytree(model, snapshot)
        weights = load_file(snapshot / "model.safetensors")
        weights = {name: value * factor for name, value in weights.items()}
        save_file(weights, snapshot / "model.safetensors", metadata={"format": "pt"})
    refs = cache / "models--acme--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(next(iter(commits)))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("folder", marks=pytest.mark.slow),
        pytest.param("relative folder", marks=pytest.mark.slow),
        "gguf",
        "hub at a revision",
        pytest.param("hub", marks=pytest.mark.slow),
    ],
)
def test_plain_peft_opens_an_adapter_elsewhere_with_the_same_logits(
    make_job: MakeJob, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    import torch

    from ftsdk import Model
    from ftsdk.models import load_tokenizer

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    old, new = "0" * 40, "1" * 40
    match source:
        case "folder":
            base: Any = str(tiny_model)
        case "relative folder":
            shutil.copytree(tiny_model, tmp_path / "own")
            base = "./own"
        case "gguf":
            base = str(write_gguf(tiny_model, tmp_path / "tiny.gguf"))
        case _:
            in_hub_cache(tiny_model, tmp_path / "hub", {new: 1, old: 3})
            base = "acme/tiny" if source == "hub" else Model(id="acme/tiny", revision=old)
    run = make_job(model=base, tuning=LoRA(rank=4), max_steps=4).submit().wait(progress=False, poll_s=0.05)
    theirs = opened_by_peft(run.collect().path, tmp_path / "elsewhere")
    ours = load_model(run.model(), dtype="float32", device="cpu")
    rows = load_tokenizer(run.model())("message 3 is about", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        mine = ours(input_ids=rows).logits[0, -1]
    assert torch.allclose(torch.tensor(theirs), mine, atol=1e-4)
    with torch.no_grad(), ours.disable_adapter():
        assert not torch.allclose(ours(input_ids=rows).logits[0, -1], mine, atol=1e-3)
