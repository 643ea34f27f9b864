"""What happens between the steps.

Progress, checkpoints that are sealed when whole, cancelling, and a watch on the loss.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from ftsdk.backends.hosted.checkpoints import prune, seal_checkpoint
from ftsdk.backends.hosted.trainer import Cancelled, Context, TrainingStopped
from ftsdk.errors import Diagnosis

__all__ = ["Watch"]

_WINDOW_STEPS = 20


class Watch(TrainerCallback):
    """Tells the run's event log what the trainer does, and stops the trainer when it has to."""

    def __init__(self, context: Context, *, is_loss_scaled: bool) -> None:
        self._context = context
        self._is_loss_scaled = is_loss_scaled
        self._times: list[tuple[float, int]] = []
        self.last_metrics: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        del args, control, kwargs
        self._times = [(time.monotonic(), int(state.num_input_tokens_seen))]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop if the run was cancelled."""
        del state, control, kwargs
        if _on_any_rank(self._context.is_cancelled(), device=args.device):
            raise Cancelled

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report a step, and refuse to go on with a loss that is no number."""
        del args, control, kwargs
        if not logs or "loss" not in logs:
            return
        loss, grad_norm = float(logs["loss"]), logs.get("grad_norm")
        grad_norm = None if grad_norm is None else float(grad_norm)
        if not math.isfinite(loss) or (
            grad_norm is not None and not math.isfinite(grad_norm) and not self._is_loss_scaled
        ):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {grad_norm}"
            raise TrainingStopped(
                Diagnosis(
                    "nan_loss",
                    f"{what}, so every later step would be lost",
                    state.global_step,
                    (
                        f"a smaller learning_rate= (it was {logs.get('learning_rate', 0):.1e} at this step): a tenth "
                        "is a good try",
                        "more warmup_ratio=, such as 0.1",
                        "dtype='bfloat16' or 'float32', if it is float16",
                        "a look at the data: job.preview()",
                    ),
                )
            )
        now = time.monotonic()
        self._times = [*self._times, (now, int(state.num_input_tokens_seen))][-_WINDOW_STEPS - 1 :]
        (start, tokens_at_start), steps = self._times[0], len(self._times) - 1
        elapsed_s = max(now - start, 1e-9)
        self._context.emit(
            "step",
            {
                "step": state.global_step,
                "total_steps": state.max_steps,
                "epoch": round(float(state.epoch or 0.0), 4),
                "loss": round(loss, 6),
                "learning_rate": logs.get("learning_rate"),
                "grad_norm": grad_norm if grad_norm is None or math.isfinite(grad_norm) else None,
                "tokens": int(state.num_input_tokens_seen),
                "tokens_per_s": round((state.num_input_tokens_seen - tokens_at_start) / elapsed_s, 1),
                "seconds_left": round((state.max_steps - state.global_step) * elapsed_s / steps, 1),
                "peak_memory_gb": round(peak_memory_gb(), 3),
            },
        )

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report a validation."""
        del args, control, kwargs
        wanted = {
            "eval_loss": "loss",
            "eval_rewards/accuracies": "reward_accuracy",
            "eval_rewards/margins": "reward_margin",
        }
        found = {
            ours: round(float(metrics[theirs]), 6) for theirs, ours in wanted.items() if metrics and theirs in metrics
        }
        self.last_metrics = found
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        if finite:
            self._context.emit("eval", {"step": state.global_step, "name": "validation", "metrics": finite})

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint, whose last file is written by now (transformers 5.23, `_maybe_log_save_evaluate`)."""
        del control, kwargs
        if dist.is_available() and dist.is_initialized():
            # The other ranks write the state of their random numbers without waiting for each other.
            dist.barrier()
        if not self._context.is_main:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        # Pickles that nobody reads, and a model card that names folders of this machine.
        for leftover in ("training_args.bin", "README.md"):
            (folder / leftover).unlink(missing_ok=True)
        seal_checkpoint(folder)
        best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else None
        prune(self._context.folder, keep={best} if best else set())
        self._context.emit("checkpoint", {"step": state.global_step, "path": folder.name})


def _on_any_rank(answer: bool, *, device: torch.device) -> bool:
    """Tell if it is so in any of the processes.

    One that stops alone leaves the others waiting for its gradients until they fail.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return answer
    answers = torch.tensor(float(answer), device=device)
    dist.all_reduce(answers, op=dist.ReduceOp.MAX)
    return bool(answers.item())


def peak_memory_gb() -> float:
    """Say the most that this process has held: of the device's memory if it has one, else of the machine's."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        # What others hold beside PyTorch's own pool, the context above all, is held now as it was at the peak.
        beside = max(0, total - free - torch.cuda.memory_reserved())
        return (torch.cuda.max_memory_reserved() + beside) / 1e9
    try:
        import resource
    except ImportError:
        return 0.0
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
