"""One of two processes that train together; the second runs out of memory at a step drawn by chance.

    python rank_out_of_memory.py toy|trainers MODEL FOLDER SEED        (RANK, WORLD_SIZE and MASTER_* are set)

Prints one JSON object: what the process was told, and how far its weights are from those of an undisturbed training.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

RANK = int(os.environ["RANK"])


class _Accelerator:
    """As much of accelerate's as a step asks for."""

    num_processes = 2
    sync_gradients = True

    def gather(self, values: Any) -> Any:
        raise AssertionError("an exchange in the middle of a step")

    gather_for_metrics = gather

    def no_sync(self, model: Any) -> Any:
        return model.no_sync()


def toy(seed: int) -> dict[str, Any]:
    """Four rows a process, of which at most two fit into the second one."""
    from ftsdk.backends.trainers.trl.steps_that_fit import gradients_of_step

    dist.init_process_group("gloo")
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(8, 3, generator=draw)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 2))
    accelerator = _Accelerator()
    trainer = SimpleNamespace(accelerator=accelerator, args=SimpleNamespace(device=torch.device("cpu")))
    sizes, fitting = [4], 2 if RANK == 1 else 4

    def attempt() -> Any:
        total: Any = 0.0
        for part in rows[4 * RANK : 4 * RANK + 4].split(sizes[-1]):
            accelerator.gather(0)
            loss = model(part).square().sum()
            loss.backward()
            if len(part) > fitting:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            total += loss.detach()
        return total

    def step() -> float:
        model.zero_grad()
        return float(
            gradients_of_step(
                trainer,
                model,
                attempt,
                is_smallest=lambda: sizes[-1] == 1,
                take_less=lambda: sizes.append(sizes[-1] // 2),
            )
        )

    step()
    found: list[Any] = [weight.grad for weight in model.parameters()]
    alone = torch.nn.Linear(3, 2)
    alone.load_state_dict(model.module.state_dict())
    (alone(rows).square().sum() / 2).backward()
    expected: list[Any] = [weight.grad for weight in alone.parameters()]
    worst = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    fitting = 0 if RANK == 1 else 4
    try:
        step()
        error = ""
    except torch.OutOfMemoryError as raised:
        error = str(raised)
    return {"sizes": sizes, "worst": worst, "error": error}


def trainers(model: Path, folder: Path, seed: int) -> dict[str, Any]:
    """SFT in a forest and padded, and DPO, each three steps and a validation with and without a failure in each."""
    from trl_trainers import dpo_trainer_of, sft_trainer_of, some_pairs, some_rows

    from ftsdk.backends.trainers.trl.methods.dpo import RenderedDPOTrainer
    from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer

    def build(way: str) -> Any:
        if way.startswith("dpo"):
            return dpo_trainer_of(RenderedDPOTrainer, model, some_pairs(), folder, tuning="lora", steps=3)
        options: dict[str, Any] = {"max_steps": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 6}
        if way == "sft, padded":
            options |= {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
        return sft_trainer_of(RenderedSFTTrainer, model, some_rows(), folder, **options)

    def train(way: str, fail_at: int | None) -> tuple[dict[str, Any], list[str], float]:
        trainer = build(way)
        messages: list[str] = []
        trainer.on_smaller_batches = messages.append
        if not way.endswith("padded"):
            trainer.compute_shared_tokens_once(200, messages.append)
        inner = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
        calls = {True: 0, False: 0}
        is_validation = False

        def hook(module: Any, given: Any, output: Any) -> None:
            has_gradients = torch.is_grad_enabled()
            # A reference has passes without gradients, too.
            if has_gradients or is_validation:
                calls[has_gradients] += 1
                if calls[has_gradients] == (fail_at if has_gradients or not fail_at else 1):
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        inner.model.layers[1].register_forward_hook(hook)
        trainer.train()
        weights = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
        # The step may have left single rows, which can't be parted.
        is_validation, trainer.most_rows = True, None
        loss = trainer.evaluate()["eval_loss"]
        return weights, [message for message in messages if "memory" in message], loss

    found: dict[str, Any] = {}
    draw = random.Random(seed)
    for way in ("sft", "sft, padded", "dpo", "dpo, padded"):
        expected, _, expected_loss = train(way, None)
        weights, messages, loss = train(way, draw.randrange(1, 4) if RANK == 1 else None)
        worst = max(float((weights[name] - expected[name]).abs().max()) for name in expected)
        found[way] = {"worst": worst, "messages": messages, "validation": abs(loss - expected_loss)}
    return found


if __name__ == "__main__":
    what, model, folder, seed = sys.argv[1:]
    told = toy(int(seed)) if what == "toy" else trainers(Path(model), Path(folder), int(seed))
    sys.stdout.write(json.dumps(told) + "\n")
    if dist.is_initialized():
        dist.destroy_process_group()
