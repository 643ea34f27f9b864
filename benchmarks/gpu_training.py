"""Training on one NVIDIA GPU, measured beside TRL at its best setting and what `predict_training` says.

    python benchmarks/gpu_training.py --out FOLDER
    python benchmarks/gpu_training.py --out FOLDER --dry-run       # on a CPU, with a tiny model

Needs a card, the extra `local`, and no network: models are built from the shapes in `ftsdk.cost.facts` with random
weights, since speed and memory don't depend on what the weights are. Prints a table and writes it as JSON.

It ends within `--seconds`, 460 by default: what is worth most comes first, each model has a share of the time, and a
run doesn't begin if the ones before it say that it wouldn't end in time. What is left out is printed and written.
Of TRL every setting is tried for the first rows of a model (padded; packed with FlashAttention or FlexAttention; Liger
kernels where they are installed; activations kept or computed again), and the best of them for the others. Beside QLoRA
and full fine-tuning TRL isn't run: eight minutes don't last for it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

MODELS = {
    "Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen2.5-7B": "Qwen/Qwen2.5-7B-Instruct",
}
STEPS = 8
BATCH_SIZE = 8
CELLS = (
    ("lora", 512, 0.0),
    ("lora", 2048, 0.75),
    ("lora", 2048, 0.0),
    ("qlora", 512, 0.0),
    ("full", 512, 0.0),
    ("lora", 512, 0.75),
    ("qlora", 2048, 0.0),
    ("full", 2048, 0.0),
)
"""Tuning, tokens of a row, and the share of them that all prompts begin with; what is worth most first."""


def build_model(name: str, folder: Path, *, is_dry: bool = False) -> Path:
    """Write a model of a known shape with random weights in bfloat16, and the tokenizer of the tiny model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ftsdk.cost.facts.shapes import shape_named
    from ftsdk.testing.tiny import build_tiny_model

    shape = shape_named(MODELS[name])
    assert shape is not None, name
    build_tiny_model(folder)
    if is_dry:
        return folder
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
    # In a dry run rows are shorter than what they share and the template.
    own = max(4, tokens - frame - int(shared * tokens))
    return [{"text": f"{beginning} {text(own // 2)}", "answer": text(own - own // 2)} for _ in range(count)]


def ours(folder: Path, rows: list[dict[str, str]], tuning: Any, *, device: Literal["cuda", "cpu"]) -> dict[str, Any]:
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
        backend=Local(device=device, processes=1),
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


def trl_settings(*, is_dry: bool) -> list[str]:
    """Return the settings of TRL that can be tried here."""
    found = ["padded"]
    if not is_dry:
        found += ["packed, flash_attention_2"] if find_spec("flash_attn") else ["packed, flex_attention"]
        found += [f"{name}, liger" for name in found] if find_spec("liger_kernel") else []
    # Activations that are kept take memory and save a forward pass: the quickest where they fit.
    return [*found, f"{found[-1]}, activations kept"]


def trl(folder: Path, rows: list[dict[str, str]], *, micro: int, setting: str, device: str) -> dict[str, Any]:
    """Train with TRL alone: bfloat16, its own loss, and its defaults but for the setting."""
    import gc

    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    is_cuda, words = device == "cuda", setting.split(", ")
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times: list[tuple[float, int]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            if is_cuda:
                torch.cuda.synchronize()
            times.append((time.perf_counter(), state.num_input_tokens_seen))

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    data = [
        {
            "prompt": [{"role": "user", "content": r["text"]}],
            "completion": [{"role": "assistant", "content": r["answer"]}],
        }
        for r in rows
    ]
    attention = words[1] if words[0] == "packed" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation=attention, device_map={"": 0} if is_cuda else None
    )
    scratch = tempfile.mkdtemp()
    is_packed = words[0] == "packed"
    options: dict[str, Any] = {"packing": True, "max_length": 8192} if is_packed else {"max_length": None}
    known = SFTConfig.__dataclass_fields__
    recomputes = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if name in known)
    options[recomputes] = "activations kept" not in words
    # A packed sequence has as many tokens as a padded step.
    rows_at_once = 1 if is_packed else micro
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=scratch,
            per_device_train_batch_size=rows_at_once,
            gradient_accumulation_steps=1 if is_packed else BATCH_SIZE // micro,
            max_steps=STEPS,
            bf16=True,
            use_cpu=not is_cuda,
            learning_rate=2e-4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1000,
            include_num_input_tokens_seen="non_padding",
            use_liger_kernel="liger" in words,
            **options,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    trainer.train()
    rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(times[2:])]
    peak = torch.cuda.max_memory_reserved() / 1e9 if is_cuda else 0.0
    del trainer, model
    gc.collect()
    if is_cuda:
        torch.cuda.empty_cache()
    shutil.rmtree(scratch, ignore_errors=True)
    return {"setting": setting, "tokens_per_s": median(rates), "peak_gb": peak, "micro_batch": rows_at_once}


def trl_at_its_best(
    folder: Path, rows: list[dict[str, str]], *, micro: int, known: str | None, device: str, seconds: float
) -> dict[str, Any]:
    """Return what TRL was measured at in its best setting, and in the others that were tried.

    Args:
        folder: The model.
        rows: The rows.
        micro: Rows that go through at once where they are padded.
        known: The setting that was best before; None: all are tried.
        device: `cuda` or `cpu`.
        seconds: No further setting is tried after so many.
    """
    begun, found, failed = time.perf_counter(), list[dict[str, Any]](), dict[str, str]()
    for setting in [known] if known else trl_settings(is_dry=device == "cpu"):
        if found and time.perf_counter() - begun > seconds:
            failed[setting] = "no time"
            continue
        try:
            found.append(trl(folder, rows, micro=micro, setting=setting, device=device))
        except Exception as error:  # noqa: BLE001 - a setting that doesn't work here is a result too
            failed[setting] = f"{type(error).__name__}: {str(error)[:300]}"
    if not found:
        raise RuntimeError(f"TRL trains in no setting: {failed}")
    best = max(found, key=lambda one: one["tokens_per_s"])
    return {**best, "others": [one for one in found if one is not best], "failed": failed}


def ceiling_tflops(device: str) -> float:
    """Measure a large bfloat16 product on random data."""
    import torch

    is_cuda = device == "cuda"
    size = 8192 if is_cuda else 512
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    wait = torch.cuda.synchronize if is_cuda else list
    for _ in range(3):
        torch.matmul(a, b)
    wait()
    start = time.perf_counter()
    for _ in range(20):
        torch.matmul(a, b)
    wait()
    return 20 * 2 * size**3 / (time.perf_counter() - start) / 1e12


class Report:
    """What was measured so far, on the screen and in a file."""

    def __init__(self, folder: Path, **about: Any) -> None:
        self.file, self.about = folder / "gpu_training.json", about
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Print a row and write the file anew, so that a run that is cut off leaves what it has."""
        self.rows.append(row)
        self.file.write_text(json.dumps({**self.about, "rows": self.rows}, indent=1))
        print(line_of(row), flush=True)


def measure_model(name: str, report: Report, asked: argparse.Namespace, *, ends_at: float) -> None:
    """Measure the cells of a model until its time is up."""
    from ftsdk import FullFineTune, LoRA, QLoRA
    from ftsdk.cost.training.prediction import predict_training

    tunings: dict[str, Any] = {
        "lora": LoRA(rank=16, dropout=0.0),
        "qlora": QLoRA(rank=16, dropout=0.0),
        "full": FullFineTune(),
    }
    device, scratch = ("cpu" if asked.dry_run else "cuda"), Path(tempfile.mkdtemp())
    lengths = [int(n) for n in asked.lengths.split(",")]
    folder = build_model(name, scratch / name, is_dry=asked.dry_run)
    best: str | None = None
    longest_s = 0.0
    for kind, tokens, shared in CELLS:
        # QLoRA's kernels on a CPU refuse layers as narrow as the tiny model's, and 7B models don't fit in full.
        if tokens not in lengths or (kind == "full" and name != "Llama-3.2-1B") or (asked.dry_run and kind == "qlora"):
            continue
        row: dict[str, Any] = {"model": name, "tokens": tokens, "shared": shared, "tuning": kind}
        begun = time.perf_counter()
        if begun + longest_s > ends_at:
            report.add({**row, "error": "left out, no time"})
            continue
        length = tokens // 16 if asked.dry_run else tokens
        rows = rows_of(folder, tokens=length, count=BATCH_SIZE * STEPS, shared=shared)
        try:
            row["ours"] = ours(folder, rows, tunings[kind], device=device)
            row["predicted"] = predict_training(
                model=MODELS[name],
                gpu=asked.gpu,
                tokens_per_row=tokens,
                rows_at_a_time=row["ours"]["micro_batch"],
                tuning=tunings[kind],
            ).to_dict()
            # The tiny model of a dry run isn't of that shape.
            rate = 0.0 if asked.dry_run else row["ours"]["tokens_per_s"]
            row["share_of_ceiling"] = share_of_ceiling(name, kind, rate, report.about)
            if kind == "lora":
                left = max(0.0, (ends_at - time.perf_counter()) / 4)
                row["trl"] = trl_at_its_best(folder, rows, micro=BATCH_SIZE, known=best, device=device, seconds=left)
                best = row["trl"]["setting"]
        except Exception as error:  # noqa: BLE001 - a failed row is a result too
            row["error"] = f"{type(error).__name__}: {str(error)[:600]}"
        # The first cell tries all of TRL's settings, and the next ones don't.
        spent = time.perf_counter() - begun
        longest_s = max(longest_s, spent / 2 if longest_s == 0 and kind == "lora" else spent)
        report.add(row)
    shutil.rmtree(scratch, ignore_errors=True)


def share_of_ceiling(name: str, kind: str, tokens_per_s: float, about: dict[str, Any]) -> float:
    """Return the share of the measured ceiling that the products of the layers and the head come to.

    Twice the parameters for each pass over a token: forward, gradients of activations, and of weights where they move.
    What is computed again to save memory doesn't count.
    """
    from ftsdk.cost.facts.shapes import shape_named

    shape = shape_named(MODELS[name])
    assert shape is not None, name
    passes = 3 if kind == "full" else 2
    return passes * 2 * shape.matmul_parameters * tokens_per_s / (about["ceiling_tflops"] * 1e12)


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="where gpu_training.json goes")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--gpu", default="H100", help="the card's name in the table of devices")
    parser.add_argument("--seconds", type=float, default=460, help="the time for all of it")
    parser.add_argument("--lengths", default="512,2048")
    parser.add_argument("--dry-run", action="store_true", help="try every path on a CPU with a tiny model")
    asked = parser.parse_args()
    if not asked.dry_run and not torch.cuda.is_available():
        parser.error("this PyTorch sees no NVIDIA card; --dry-run tries this script without one")
    begun = time.perf_counter()
    device = "cpu" if asked.dry_run else "cuda"
    ceiling = ceiling_tflops(device)
    card = "a CPU, dry run" if asked.dry_run else torch.cuda.get_device_name(0)
    print(f"{card}, torch {torch.__version__}: a bfloat16 product at {ceiling:.3g} TFLOP/s", flush=True)
    report = Report(asked.out, card=card, torch=torch.__version__, ceiling_tflops=ceiling)
    names = ["Llama-3.2-1B"] if asked.dry_run else asked.models.split(",")
    for n, name in enumerate(names):
        left = asked.seconds - (time.perf_counter() - begun)
        # What a model leaves of its share goes to those after it.
        ends_at = time.perf_counter() + left / (len(names) - n)
        measure_model(name, report, asked, ends_at=ends_at)
    failed = [row for row in report.rows if "error" in row and "no time" not in row["error"]]
    print(f"{time.perf_counter() - begun:.0f} s in all, {len(report.rows)} rows, {len(failed)} failed")
    return 1 if failed else 0


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a line."""
    what = f"{row['model']:13} {row['tuning']:6} {row['tokens']:5} tokens, {row['shared']:.0%} shared"
    if "predicted" not in row:
        return f"{what}: {row['error']}"
    got, said = row["ours"], row["predicted"]
    rate, peak = said["tokens_per_s"], said["peak_gb"]
    text = (
        f"{what}: {got['tokens_per_s']:8.0f} tokens/s (said {rate['likely']:.0f}, {rate['low']:.0f} to "
        f"{rate['high']:.0f}), {row.get('share_of_ceiling', 0):.0%} of the ceiling,"
        f" {got['peak_gb']:5.1f} GB (said {peak['likely']:.1f}, {peak['low']:.1f} to {peak['high']:.1f}), "
        f"{got['micro_batch']} rows at a time, first step after {got['first_step_s']:.0f} s"
    )
    if "trl" in row:
        other = row["trl"]
        text += f"; TRL ({other['setting']}) {other['tokens_per_s']:.0f} tokens/s, {other['peak_gb']:.1f} GB"
    return text + (f"; {row['error']}" if "error" in row else "")


if __name__ == "__main__":
    sys.exit(main())
