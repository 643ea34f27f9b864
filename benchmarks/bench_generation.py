"""Answers to a classification eval: ours, plain batched `generate`, and lm-eval, on the same prompts in one run.

    python benchmarks/bench_generation.py [--messages 200] [--dtype float32] [--lm-eval PYTHON] [--small]

200 short messages behind one instruction, answered greedily by SmolLM2-135M-Instruct in three ways: it rambles to the
limit of 16 tokens; it is cut after 3 ("short", as a tuned model's answers are); it is held to the categories (against
plain generate's 3 tokens, which may be anything). Plain `generate` is tried with several batch sizes, and its best
counts; lm-eval's own with two. lm-eval needs an environment of its own: --lm-eval names its Python. Rounds are
interleaved, so that what else the machine does hits all alike; times are of the answers alone, with the model loaded.
Goal: 3 times the examples/s of both, and the same answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_model import smollm2

LABELS = ["billing", "shipping", "returns", "account", "technical problem", "feedback", "order status", "other"]
INSTRUCTION = (
    "You sort the messages that customers write to a shop. Read the message, decide what it is about, and answer with "
    f"the name of one category and nothing else. The categories are: {', '.join(LABELS)}."
)
OPENINGS = ["Hello,", "Hi there,", "Good morning,", "Dear team,", "", "Quick question:", "Hey!", "To you all,"]
MATTERS = {
    "billing": ["I was charged twice for the same {thing}", "the invoice for my {thing} shows the wrong address"],
    "shipping": ["can you send the {thing} to another town", "which carrier will bring the {thing}"],
    "returns": ["I want to send the {thing} back", "the {thing} doesn't fit, how do I return it"],
    "account": ["I can't log in since I bought the {thing}", "please change my mail address before the {thing} ships"],
    "technical problem": ["the {thing} won't turn on", "the {thing} makes a strange noise"],
    "feedback": ["I love the {thing}, thank you", "the {thing} is worse than the picture"],
    "order status": ["where is my {thing}", "my {thing} was due last week"],
    "other": ["do you hire people who know about a {thing}", "may I use a picture of the {thing} in my blog"],
}
THINGS = ["lamp", "kettle", "rucksack", "pair of boots", "desk", "bicycle pump", "tent", "radio", "blue jacket"]
LIMIT = 16
SHORT = 3
SIZES = (16, 32, 64, 200)


def messages(count: int) -> list[tuple[str, str]]:
    """Return so many different messages, each with its category."""
    found: list[tuple[str, str]] = []
    for n in range(count):
        label = LABELS[n % len(LABELS)]
        matter = MATTERS[label][(n // 8) % 2].format(thing=THINGS[(n // 16) % len(THINGS)])
        found.append((f"{OPENINGS[(n // 3) % len(OPENINGS)]} {matter}. Number {1000 + 7 * n}.".strip(), label))
    return found


def plain(
    model: Any, tokenizer: Any, talks: list[list[dict[str, str]]], batch_size: int, ends: list[int], limit: int = LIMIT
) -> list[str]:
    """Answer as most scripts do: sorted by length, padded on the left, transformers' generate."""
    import torch

    texts = [tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False) for talk in talks]
    order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
    tokenizer.padding_side = "left"
    answers: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer([texts[n] for n in rows], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = model.generate(
                **inputs, max_new_tokens=limit, do_sample=False, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
            )
        for n, row in zip(rows, output[:, inputs["input_ids"].shape[1] :], strict=True):
            answers[n] = tokenizer.decode(row, skip_special_tokens=True)
    return [answers[n] for n in range(len(texts))]


LM_EVAL = """
import json, sys, time
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
given = json.load(open(sys.argv[1]))
torch.set_num_threads(given["threads"])
lm = HFLM(pretrained=given["model"], dtype=given["dtype"], device="cpu", batch_size=32)
print("ready", flush=True)
for line in sys.stdin:
    limit, lm.batch_size_per_gpu = map(int, line.split())
    how = {"until": given["until"], "max_gen_toks": limit, "do_sample": False}
    requests = [Instance("generate_until", {}, (text, how), n) for n, text in enumerate(given["texts"])]
    start = time.perf_counter()
    answers = lm.generate_until(requests, disable_tqdm=True)
    print(json.dumps({"seconds": time.perf_counter() - start, "answers": answers}), flush=True)
"""


class LmEval:
    """lm-eval's Hugging Face backend in a process of its own, asked round by round."""

    def __init__(self, python: str, given: dict[str, Any], folder: Path) -> None:
        self._log = folder / "lm_eval.log"
        (folder / "given.json").write_text(json.dumps(given))
        self._process = subprocess.Popen(
            [python, "-c", LM_EVAL, str(folder / "given.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        self._read_until("ready")

    def _read_until(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"lm-eval ended: {self._log.read_text()[-2000:]}")

    def round(self, limit: int, batch_size: int) -> tuple[float, list[str]]:
        """Return the seconds of one round, and its answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{limit} {batch_size}\n")
        self._process.stdin.flush()
        found = json.loads(self._read_until("{"))
        return found["seconds"], found["answers"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lm-eval", metavar="PYTHON", help="the Python of an environment with lm-eval")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="by default what is fast here")
    parser.add_argument("--adapter", type=Path, help="a tuned model's adapter; leaves lm-eval out")
    parser.add_argument("--small", action="store_true", help="16 messages, one round: shows that it runs")
    given = parser.parse_args()
    count, rounds = (16, 1) if given.small else (given.messages, given.rounds)
    sizes = [size for size in SIZES if size <= max(count, SIZES[0])]

    import torch

    from ftsdk.evals import Choices, TransformersGenerator
    from ftsdk.models import eos_token_ids, load_model, load_tokenizer, materialize
    from ftsdk.spec import Model

    spec = Model(id=smollm2(), adapter=None if given.adapter is None else str(given.adapter))
    model = load_model(spec, dtype=given.dtype, device="cpu")
    tokenizer = load_tokenizer(spec)
    ends = list(eos_token_ids(tokenizer, materialize(spec)))
    asked = messages(count)
    talks = [[{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": text}] for text, _ in asked]
    ours = TransformersGenerator(model, tokenizer, eos_token_ids=ends)
    guessing = ours.guessing([label for _, label in asked])
    held = ours.constrained(Choices(tuple(LABELS)))
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    ours.generate(talks[:2], max_new_tokens=2)  # tries once whether the model can be decoded by us
    runs: dict[str, Callable[[], list[str]]] = {
        "ours, rambling": lambda: guessing.generate(talks, max_new_tokens=LIMIT),
        "ours, short": lambda: guessing.generate(talks, max_new_tokens=SHORT),
        "ours, choices": lambda: held.generate(talks, max_new_tokens=LIMIT),
    }
    for kind, limit in (("rambling", LIMIT), ("short", SHORT)):
        for size in sizes:
            runs[f"generate, {kind}, batches of {size}"] = lambda size=size, limit=limit: plain(
                bare, tokenizer, talks, size, ends, limit
            )
    seconds: dict[str, list[float]] = {}
    answers: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        other = None
        if given.lm_eval is not None and given.adapter is None:
            folder = Path(scratch) / "model"
            bare.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            request = {
                "model": str(folder),
                "dtype": str(bare.dtype).removeprefix("torch."),
                "threads": torch.get_num_threads(),
                "until": ["<|im_end|>"],
                "texts": [tokenizer.apply_chat_template(t, add_generation_prompt=True, tokenize=False) for t in talks],
            }
            other = LmEval(given.lm_eval, request, Path(scratch))
        for _ in range(rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                answers[name] = run()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
            if other is not None:
                for kind, limit in (("rambling", LIMIT), ("short", SHORT)):
                    for size in (32, 64) if count > 32 else (16,):
                        name = f"lm-eval, {kind}, batches of {size}"
                        took, answers[name] = other.round(limit, size)
                        seconds.setdefault(name, []).append(took)
        if other is not None:
            other.close()

    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {bare.dtype}, Python {platform.python_version()}")
    print(f"{count} messages, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    rate = {name: count / statistics.median(found) for name, found in seconds.items()}
    for name, value in rate.items():
        own = answers["ours, short" if "short" in name else "ours, rambling"]
        same = sum(one == other for one, other in zip(answers[name], own, strict=True))
        print(f"{name:36} {value:8.1f} examples/s   {same:4} of {count} answers as ours")
    for tool in ("generate", "lm-eval"):
        for kind, against in (("rambling", "rambling"), ("short", "short"), ("choices", "short")):
            names = [name for name in rate if name.startswith(f"{tool}, {against}")]
            if names:
                best = max(names, key=rate.__getitem__)
                print(f"ours, {kind} / {best}: {rate[f'ours, {kind}'] / rate[best]:.2f}")
    if bare.dtype != torch.float32:
        first, *others = [answers[f"generate, rambling, batches of {size}"] for size in sizes]
        same = [sum(one == two for one, two in zip(first, other, strict=True)) for other in others]
        print(f"plain generate in batches of {sizes[0]} answers as in {sizes[1:]}: {same} of {count}")


if __name__ == "__main__":
    sys.exit(main())
