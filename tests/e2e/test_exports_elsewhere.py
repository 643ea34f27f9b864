"""What was exported is opened by plain transformers, peft and llama.cpp, in a folder and a process without ftsdk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from smollm2 import QUESTIONS, train_adapter, unpacked_smollm2
from tiny_gguf import write_gguf as write_tiny_gguf

from ftsdk import Model
from ftsdk.models.export import export_model
from ftsdk.models.export.observation import observe_reference

for _name in ("peft", "gguf"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")
pytestmark = pytest.mark.e2e

OPEN_FOLDER = """\
import json, sys

sys.modules["ftsdk"] = None  # importing it fails
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
if sys.argv[2] == "adapter":
    from peft import AutoPeftModelForCausalLM as AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
turns = [{"role": "user", "content": "book a flight to rome"}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
rows = tokenizer(text, return_tensors="pt", add_special_tokens=False)
print(json.dumps(model.generate(**rows, max_new_tokens=6, do_sample=False)[0, rows["input_ids"].shape[1]:].tolist()))
"""
OPEN_GGUF = """\
import json, os, sys, urllib.request

sys.modules["ftsdk"] = None
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.use_jinja = 256, 1, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
if len(sys.argv) > 2:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = sys.argv[2], 1.0
    params.lora_adapters = [adapter]
server = xllamacpp.Server(params)

def ask(path, body):
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request))

text = ask("/apply-template", {"messages": [{"role": "user", "content": "book a flight to rome"}]})["prompt"]
found = ask("/completion", {"prompt": text, "n_predict": 6, "temperature": 0, "return_tokens": True})
print("\\n" + json.dumps(found["tokens"]))
sys.stdout.flush()
os._exit(0)
"""


def elsewhere(code: str, arguments: list[str], folder: Path) -> list[int]:
    """Return the tokens that a process without ftsdk prints."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FTSDK_HOME")}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.strip().splitlines()[-1])


def base_of(source: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    match source:
        case "folder":
            return str(tiny_model)
        case "gguf":
            return str(write_tiny_gguf(tiny_model, tmp_path / "tiny.gguf"))
        case _:
            cache = tmp_path / "hub"
            monkeypatch.setenv("HF_HUB_CACHE", str(cache))
            shutil.copytree(tiny_model, cache / "models--acme--tiny" / "snapshots" / ("0" * 40))
            (cache / "models--acme--tiny" / "refs").mkdir()
            (cache / "models--acme--tiny" / "refs" / "main").write_text("0" * 40)
            return "acme/tiny"


def with_adapter(base: str, tmp_path: Path) -> Model:
    import torch
    from peft import LoraConfig, get_peft_model

    from ftsdk.models import load_model
    from ftsdk.models.torch_stack import quiet_transformers

    loaded = load_model(Model(id=base), dtype="float32", device="cpu")
    with quiet_transformers(), torch.random.fork_rng():
        torch.manual_seed(1)
        options = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "use_rslora": True}
        tuned: Any = get_peft_model(loaded, LoraConfig(**options))
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.2)
    tuned.save_pretrained(tmp_path / "trained")
    return Model(id=base, adapter=str(tmp_path / "trained"))


@pytest.mark.parametrize("source", ["hub", "folder", "gguf"])
def test_an_export_is_opened_without_ftsdk(
    source: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_adapter(base_of(source, tiny_model, tmp_path, monkeypatch), tmp_path)
    prompts = [[{"role": "user", "content": "book a flight to rome"}]]
    reference, _ = observe_reference(model, prompts, dtype="float32", max_new_tokens=6)
    base, _ = observe_reference(model.replace(adapter=None), prompts, dtype="float32", max_new_tokens=6)
    expected = list(reference.answers[0].tokens)
    for to in ("merged", "adapter"):
        export_model(model, tmp_path / to, to=to, quantization="f32" if to == "merged" else None, prove=False)
        assert elsewhere(OPEN_FOLDER, [str(tmp_path / to), to], tmp_path / "elsewhere") == expected
    assert expected != list(base.answers[0].tokens)

    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    whole = export_model(model, tmp_path / "gguf", to="gguf", quantization="f32", prove=False)
    assert whole.main_file is not None
    assert elsewhere(OPEN_GGUF, [str(whole.path / whole.main_file)], tmp_path / "elsewhere") == expected
    parts = export_model(model, tmp_path / "parts", to="gguf", quantization="f32", adapter_only=True, prove=False)
    adapter = next(name for name in parts.files if name.endswith(".adapter.gguf"))
    files = [str(parts.path / str(parts.main_file)), str(parts.path / adapter)]
    assert elsewhere(OPEN_GGUF, files, tmp_path / "elsewhere") == expected


@pytest.mark.slow
def test_a_real_model_is_the_same_in_every_format(tmp_path: Path) -> None:
    for name in ("xllamacpp", "ggml"):
        pytest.importorskip(name, reason="the extra 'export' isn't installed")
    base = unpacked_smollm2()
    model = Model(id=str(base), adapter=str(train_adapter(base, tmp_path / "adapter")))
    prompts = [[{"role": "user", "content": question}] for question in QUESTIONS]

    def exported(name: str, to: str, **options: Any) -> Any:
        made = export_model(model, tmp_path / name, to=to, prompts=prompts, **options)
        shutil.rmtree(tmp_path / name)
        return made

    whole = exported("f32", "merged", quantization="f32").parity
    assert whole.state == "proven"
    assert whole.gate("log-probabilities").figures["most_difference"] < 1e-3
    for name, options in {"f16": {}, "parts": {"adapter_only": True}}.items():
        half = exported(name, "gguf", quantization="f16", **options).parity
        assert half.state == "proven"
        assert half.gate("greedy").figures["equal"] == 20
    for quantization in ("q8_0", "q4_k_m"):
        made = exported(quantization, "gguf", quantization=quantization)
        assert made.state == "proven", str(made)
        assert made.parity.gate("log-probabilities").figures["mean_kl"] > 1e-4  # it isn't compared with itself
