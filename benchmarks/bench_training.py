"""SFT on a CPU: ours and TRL's own trainer at several settings, on the same rows, interleaved in one process.

    python benchmarks/bench_training.py [CLINC150] [--rows clinc|alike|plain] [--steps 4] [--rounds 2] [--json FILE]

CLINC150 is a folder with `train.jsonl` (columns `text` and `domain`, github.com/clinc/oos-eval, CC BY 3.0); without it
the rows are generated in its shape. `alike` has a long instruction before short messages, `plain` rows that share
nothing but the template. SmolLM2-135M-Instruct, LoRA rank 16 on all linear layers, 16 rows a step. Each way trains a
fresh adapter in each round; a step's time is the median over rounds, of the wall and of the processor. Peak memory is
that of a process of its own. `--small` shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from small_model import smollm2

DOMAINS = ("banking", "credit cards", "home", "auto", "travel", "small talk", "meta", "work", "utility", "dining")
INSTRUCTION = (
    f"You sort messages. Read the message and answer with one of these domains and nothing else: {', '.join(DOMAINS)}."
)
_TEXT = "please what is the my card for a to do you in how much book order late need help with today car new and when"
WORDS = _TEXT.split()
BATCH = 16


def made_rows(kind: str, count: int, folder: Path | None) -> list[dict[str, Any]]:
    """Return chats."""
    draw = random.Random(0)

    def text(words: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(words))

    if kind == "clinc" and folder is not None:
        lines = (folder / "train.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in draw.sample(lines, count)]
        messages = [(row["text"], row["domain"].replace("_", " ")) for row in found]
    else:
        words = {"clinc": (5, 12), "alike": (30, 55), "plain": (60, 240)}[kind]
        messages = [(text(draw.randint(*words)), draw.choice(DOMAINS)) for _ in range(count)]
    # The long one as a support agent's: 600 tokens of rules.
    system = {"clinc": INSTRUCTION, "alike": " ".join([INSTRUCTION, *(text(40) + "." for _ in range(12))]), "plain": ""}
    chats: list[dict[str, Any]] = []
    for asked, answer in messages:
        start = [{"role": "system", "content": system[kind]}] if system[kind] else []
        said = text(len(asked.split())) if kind == "plain" else answer
        chats.append({"messages": [*start, {"role": "user", "content": asked}, {"role": "assistant", "content": said}]})
    return chats


class Ways:
    """The ways to train, each by a fresh trainer."""

    def __init__(self, chats: list[dict[str, Any]], steps: int, scratch: Path, only: list[str]) -> None:
        import torch

        from ftsdk.backends.trainers.trl.methods.sft import columns
        from ftsdk.data import render_dataset
        from ftsdk.models import load_tokenizer, materialize
        from ftsdk.spec import Model

        spec = Model(id=smollm2())
        self.folder = materialize(spec)
        self.tokenizer = load_tokenizer(spec)
        rendered = render_dataset(chats, self.tokenizer, train_on="completion", max_length=None, eos_token_ids=[2])
        self.columns = columns(list(rendered.rows))
        self.steps, self.scratch = steps, scratch
        self.notes: list[str] = []
        self.dtype = torch.bfloat16 if _has_fast_bfloat16() else torch.float32
        lengths = [len(ids) for ids in self.columns["input_ids"]]
        self.mean_length = statistics.mean(lengths)
        self.trained = sum(label != -100 for labels in self.columns["labels"] for label in labels) / len(lengths)
        self.names = only or [
            "ours",
            "ours, padded",
            *(f"TRL, padded, {n} at once" for n in (4, 8, 16)),
            "TRL, packing",
        ]

    def trainer(self, name: str) -> Any:
        """Build the trainer of a way."""
        import torch
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer
        from ftsdk.backends.trainers.trl.rows import PadToLongest

        torch.manual_seed(0)
        at_once = {"ours": BATCH, "ours, padded": 4, "TRL, packing": 1}.get(name) or int(name.split()[2])
        recomputes = (
            "activation_checkpointing" if hasattr(SFTConfig, "activation_checkpointing") else "gradient_checkpointing"
        )
        options: dict[str, Any] = {
            "output_dir": str(self.scratch / "out"),
            "max_steps": self.steps,
            "per_device_train_batch_size": at_once,
            "gradient_accumulation_steps": BATCH // at_once,
            "learning_rate": 2e-4,
            "lr_scheduler_type": "constant",
            "loss_type": "nll",
            "use_cpu": True,
            # As the SDK sets it for packed rows.
            "bf16": name == "ours" and self.dtype == torch.bfloat16,
            "logging_steps": 1,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "seed": 0,
            "data_seed": 0,
            "include_num_input_tokens_seen": "non_padding",
            recomputes: False,
        }
        columns: dict[str, Any] = dict(self.columns)
        collator: dict[str, Any] = {"data_collator": PadToLongest(self.tokenizer.pad_token_id or 0)}
        if name == "TRL, packing":
            # Sequences of as many tokens as four padded rows have; as many of them as make 16 rows a step.
            length = int(4 * max(len(ids) for ids in columns["input_ids"]))
            masks = [[int(label != -100) for label in labels] for labels in columns.pop("labels")]
            columns["completion_mask"] = masks
            options |= {
                "packing": True,
                "max_length": length,
                "gradient_accumulation_steps": max(1, round(BATCH * self.mean_length / length)),
            }
            collator = {}
        else:
            options |= {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.dtype, attn_implementation="sdpa")
        adapter = LoraConfig(
            task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", bias="none"
        )
        kind = RenderedSFTTrainer if name.startswith("ours") else SFTTrainer
        trainer: Any = kind(
            model=model,
            args=SFTConfig(**options),
            train_dataset=Dataset.from_dict(columns),
            processing_class=self.tokenizer,
            peft_config=adapter,
            **collator,
        )
        if name == "ours":
            trainer.compute_shared_tokens_once(1024, self.notes.append)
        return trainer

    def run(self, name: str) -> dict[str, Any]:
        """Train, and return the seconds of a row, by wall and processor, and the losses. The first step warms up."""
        from peft.helpers import disable_input_dtype_casting
        from transformers import TrainerCallback
        from transformers.trainer_callback import PrinterCallback

        trainer = self.trainer(name)
        marks: list[tuple[float, float, int]] = []

        class Marks(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                del args, control, others
                marks.append((time.perf_counter(), time.process_time(), state.num_input_tokens_seen))

        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Marks())
        with disable_input_dtype_casting(trainer.model) if trainer.args.bf16 else nullcontext():
            trainer.train()
        rows = (marks[-1][2] - marks[0][2]) / self.mean_length
        return {
            "wall_s": (marks[-1][0] - marks[0][0]) / rows,
            "cpu_s": (marks[-1][1] - marks[0][1]) / rows,
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        }


def _has_fast_bfloat16() -> bool:
    from ftsdk.backends.launchers.this_machine import find_hardware

    return find_hardware(device="cpu", processes=1).has_bfloat16


def peak_gb(name: str, arguments: argparse.Namespace) -> float:
    """Return the peak memory of a process that trains two steps in one way."""
    command = [sys.executable, __file__, "--rows", arguments.rows, "--only", name, "--steps", "2"]
    if arguments.folder is not None:
        command.insert(2, str(arguments.folder))
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(result.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, help="CLINC150")
    parser.add_argument("--rows", choices=["clinc", "alike", "plain"], default="clinc")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", action="append", default=[], help="only this way to train; may be given several times")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="two steps, one round, two ways, no memory")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    if arguments.folder is not None and not (arguments.folder / "train.jsonl").exists():
        print(f"there is no CLINC150 in {arguments.folder}: rows are generated in its shape")
        arguments.folder = None
    steps, rounds = (2, 1) if arguments.small else (max(2, arguments.steps), arguments.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        chats = made_rows(arguments.rows, BATCH * max(8, steps), arguments.folder)
        ways = Ways(chats, steps, Path(scratch), arguments.way)
        if arguments.only:
            import resource

            ways.run(arguments.only)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
            return 0
        import torch

        print(f"{platform.machine()}, {torch.get_num_threads()} threads, {ways.dtype}, load {os.getloadavg()[0]:.1f}")
        print(
            f"{len(chats)} rows, {ways.mean_length:.0f} tokens each, {ways.trained:.1f} of them trained; {BATCH} a step"
        )
        names = ["ours", "TRL, padded, 16 at once"] if arguments.small and not arguments.way else ways.names
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                found[name].append(ways.run(name))
        memory = {} if arguments.small else {name: peak_gb(name, arguments) for name in names}
    print("\n".join(ways.notes[:1]))
    result: dict[str, Any] = {}
    for name, runs in found.items():
        wall, cpu = (statistics.median(run[key] for run in runs) for key in ("wall_s", "cpu_s"))
        result[name] = {
            "examples_per_s": 1 / wall,
            "examples_per_cpu_s": 1 / cpu,
            "trained_tokens_per_s": ways.trained / wall,
            "peak_gb": memory.get(name),
            "losses": runs[0]["losses"],
        }
        peak = f"{memory[name]:5.1f} GB" if name in memory else ""
        losses = " ".join(f"{loss:.3f}" for loss in runs[0]["losses"])
        print(f"{name:24} {1 / wall:7.2f} examples/s {1 / cpu:7.2f} per cpu-s {peak}  loss {losses}")
    for key in ("examples_per_s", "examples_per_cpu_s"):
        rate = {name: figures[key] for name, figures in result.items()}
        others = [name for name in rate if name.startswith("TRL")]
        if others and "ours" in rate:
            best = max(others, key=rate.__getitem__)
            print(f"ours / TRL at its best ({best}), {key}: {rate['ours'] / rate[best]:.2f}")
        if {"ours", "ours, padded"} <= rate.keys():
            print(f"ours / ours, padded, {key}: {rate['ours'] / rate['ours, padded']:.2f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
