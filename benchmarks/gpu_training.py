"""Training on one NVIDIA GPU, measured beside what `predict_training` says.

`python benchmarks/gpu_training.py --out FOLDER`.

Needs a card, the extra `local`, and no network: models are built from the shapes in `ftsdk.cost.facts` with random
weights, since speed and memory don't depend on what the weights are. Prints a table and writes it as JSON. Runs that
don't fit into the time are left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

MODELS = {
    "Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen2.5-7B": "Qwen/Qwen2.5-7B-Instruct",
}
STEPS = 10
BATCH_SIZE = 8


def build_model(name: str, folder: Path) -> Path:
    """Write a model of a known shape with random weights in bfloat16, and the tokenizer of the tiny model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ftsdk.cost.facts.shapes import shape_named
    from ftsdk.testing.tiny import build_tiny_model

    shape = shape_named(MODELS[name])
    assert shape is not None, name
    build_tiny_model(folder)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 8192}))
    (folder / "model.safetensors").unlink()
    ends = {
        key: value
        for key, value in json.loads((folder / "config.json").read_text()).items()
        if key.endswith("_token_id")
    }
    head_dim = 64 if name == "Llama-3.2-1B" else 128
    config = AutoConfig.for_model(
        "qwen2" if name.startswith("Qwen") else "llama",
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.width // head_dim,
        num_key_value_heads=4 if name.startswith("Qwen") else 8,
        max_position_embeddings=8192,
        tie_word_embeddings=name == "Llama-3.2-1B",
        **ends,
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()
    return folder


def rows_of(folder: Path, *, tokens: int, count: int, shared: float) -> list[dict[str, str]]:
    """Make rows of just under `tokens` tokens each, whose prompts begin with the same `shared` part of them."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    words = [
        "please",
        "transfer",
        "money",
        "from",
        "my",
        "savings",
        "account",
        "to",
        "checking",
        "what",
        "is",
        "the",
        "weather",
        "today",
    ]
    chance = random.Random(0)

    def text(wanted: int) -> str:
        chosen = [chance.choice(words) for _ in range(wanted)]
        ids = tokenizer(" ".join(chosen), add_special_tokens=False)["input_ids"][:wanted]
        return str(tokenizer.decode(ids))

    frame = 24
    beginning = text(int(shared * tokens)) if shared else ""
    own = tokens - frame - int(shared * tokens)
    return [{"text": f"{beginning} {text(own // 2)}", "answer": text(own - own // 2)} for _ in range(count)]


def ours(folder: Path, rows: list[dict[str, str]], tuning: Any) -> dict[str, Any]:
    """Train through the SDK, as a user would."""
    from ftsdk import Dataset, FineTuneJob, Local

    job = FineTuneJob(
        model=str(folder),
        train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{answer}"),
        tuning=tuning,
        max_steps=STEPS,
        batch_size=BATCH_SIZE,
        checkpoint_steps=10_000,
        max_truncated=1.0,
        backend=Local(device="cuda", processes=1),
    )
    plan = job.plan()
    assert plan.workload is not None
    assert plan.workload.execution is not None
    started = time.perf_counter()
    run = job.submit().wait(progress=False)
    wall_s = time.perf_counter() - started
    steps = [e for e in run.events() if e.kind == "step"]
    # The first steps load kernels and grow the memory pool.
    kept = steps[2:]
    rates = [((b.tokens or 0) - (a.tokens or 0)) / (b.at - a.at) for a, b in pairwise(kept)]
    return {
        "tokens_per_s": median(rates),
        "peak_gb": max(e.peak_memory_gb or 0.0 for e in steps),
        "micro_batch": plan.workload.execution.micro_batch_size,
        "first_step_s": steps[0].at - run.events()[0].at,
        "wall_s": wall_s,
        "losses": [steps[0].loss, steps[-1].loss],
    }


def trl(folder: Path, rows: list[dict[str, str]], *, micro: int) -> dict[str, Any]:
    """Train with TRL alone: bfloat16, SDPA, activation checkpointing, its own loss, everything else as it comes."""
    import gc

    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - transformers' signature
            torch.cuda.synchronize()
            times.append(time.perf_counter())

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    data = [
        {
            "prompt": [{"role": "user", "content": r["text"]}],
            "completion": [{"role": "assistant", "content": r["answer"]}],
        }
        for r in rows
    ]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="sdpa", device_map={"": 0}
    )
    scratch = tempfile.mkdtemp()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=scratch,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=BATCH_SIZE // micro,
            max_steps=STEPS,
            max_length=8192,
            bf16=True,
            learning_rate=2e-4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1000,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    trainer.train()
    a_step = median(b - a for a, b in pairwise(times[2:]))
    lengths = [len(tokenizer.apply_chat_template(d["prompt"] + d["completion"], return_dict=False)) for d in data]
    peak = torch.cuda.max_memory_reserved() / 1e9
    del trainer, model
    gc.collect()
    torch.cuda.empty_cache()
    shutil.rmtree(scratch, ignore_errors=True)
    return {"tokens_per_s": BATCH_SIZE * sum(lengths) / len(lengths) / a_step, "peak_gb": peak, "micro_batch": micro}


def ceiling_tflops() -> float:
    """Measure a large bfloat16 product on random data."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        torch.matmul(a, b)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        torch.matmul(a, b)
    torch.cuda.synchronize()
    rate = 20 * 2 * 8192**3 / (time.perf_counter() - start) / 1e12
    del a, b
    torch.cuda.empty_cache()
    return rate


def main() -> None:
    import torch

    from ftsdk import FullFineTune, LoRA, QLoRA
    from ftsdk.cost.training.prediction import predict_training

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where gpu_training.json goes")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--gpu", default="H100", help="the card's name in the table of devices")
    parser.add_argument("--seconds", type=float, default=480, help="no run begins after so many seconds")
    parser.add_argument("--lengths", default="512,2048")
    asked = parser.parse_args()
    begun = time.perf_counter()
    found: list[dict[str, Any]] = []
    ceiling = ceiling_tflops()
    card = torch.cuda.get_device_name(0)
    print(f"{card}, torch {torch.__version__}: a bfloat16 product at {ceiling:.0f} TFLOP/s", flush=True)

    def keep() -> None:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "gpu_training.json").write_text(
            json.dumps({"card": card, "ceiling_tflops": ceiling, "rows": found}, indent=1)
        )

    for name in asked.models.split(","):
        scratch = Path(tempfile.mkdtemp())
        folder = build_model(name, scratch / name)
        print(f"{name}: built after {time.perf_counter() - begun:.0f} s", flush=True)
        for tokens in (int(n) for n in asked.lengths.split(",")):
            for shared in (0.0, 0.75):
                tunings: list[Any] = (
                    [LoRA(rank=16, dropout=0.0), QLoRA(rank=16, dropout=0.0)]
                    if shared == 0
                    else [LoRA(rank=16, dropout=0.0)]
                )
                if name == "Llama-3.2-1B" and shared == 0:
                    tunings.append(FullFineTune())
                rows = rows_of(folder, tokens=tokens, count=BATCH_SIZE * STEPS, shared=shared)
                for tuning in tunings:
                    row: dict[str, Any] = {"model": name, "tokens": tokens, "shared": shared, "tuning": tuning.kind}
                    if time.perf_counter() - begun > asked.seconds:
                        print(f"left out, no time: {row}")
                        continue
                    try:
                        row["ours"] = ours(folder, rows, tuning)
                        predicted = predict_training(
                            model=MODELS[name],
                            gpu=asked.gpu,
                            tokens_per_row=tokens,
                            rows_at_a_time=row["ours"]["micro_batch"],
                            tuning=tuning,
                        )
                        row["predicted"] = predicted.to_dict()
                        if tuning.kind == "lora":
                            row["trl"] = trl(folder, rows, micro=min(BATCH_SIZE, 8))
                    except Exception as error:  # noqa: BLE001 - a failed row is a result too
                        row["error"] = f"{type(error).__name__}: {str(error)[:600]}"
                    found.append(row)
                    keep()
                    print(line_of(row), flush=True)
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{time.perf_counter() - begun:.0f} s in all")


def line_of(row: dict[str, Any]) -> str:
    what = f"{row['model']:13} {row['tuning']:6} {row['tokens']:5} tokens, {row['shared']:.0%} shared"
    if "predicted" not in row:
        return f"{what}: {row['error']}"
    got, said = row["ours"], row["predicted"]
    rate, peak = said["tokens_per_s"], said["peak_gb"]
    text = (
        f"{what}: {got['tokens_per_s']:8.0f} tokens/s (said {rate['likely']:.0f}, {rate['low']:.0f} to "
        f"{rate['high']:.0f}),"
        f" {got['peak_gb']:5.1f} GB (said {peak['likely']:.1f}, {peak['low']:.1f} to {peak['high']:.1f}), "
        f"{got['micro_batch']} rows at a time,"
        f" first step after {got['first_step_s']:.0f} s"
    )
    if "trl" in row:
        text += f"; TRL {row['trl']['tokens_per_s']:.0f} tokens/s, {row['trl']['peak_gb']:.1f} GB"
    return text + (f"; {row['error']}" if "error" in row else "")


if __name__ == "__main__":
    main()
