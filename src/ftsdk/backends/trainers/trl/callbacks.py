"""What happens between training steps: events, sealed checkpoints, cancellation, and a check of the loss."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from ftsdk.backends.hosted.checkpoints import prune, seal_checkpoint
from ftsdk.backends.hosted.trainer import Cancelled, Context, Interrupted, TrainingStopped
from ftsdk.errors import Diagnosis
from ftsdk.protocol import CheckpointEvent, EvalEvent, StepEvent

__all__ = ["ComputedTokens", "RunCallback"]


class ComputedTokens:
    """Counts the tokens that go through a model with gradients, padding included.

    Args:
        model: Its input embeddings are watched.
    """

    def __init__(self, model: Any) -> None:
        self._tokens = 0
        model.get_input_embeddings().register_forward_hook(self._count)

    def taken(self) -> int:
        """Return how many there were since the last time."""
        tokens, self._tokens = self._tokens, 0
        return tokens

    def _count(self, module: Any, given: Any, output: Any) -> None:
        del output
        if module.training and torch.is_grad_enabled():
            self._tokens += given[0].numel()


class RunCallback(TrainerCallback):
    """Emits the run's events, and stops the trainer when the run is cancelled or the loss isn't finite."""

    def __init__(self, context: Context, *, is_loss_scaled: bool, computed: ComputedTokens | None = None) -> None:
        self._context = context
        self._computed = computed
        self._is_loss_scaled = is_loss_scaled
        self._is_leaving = False
        self.last_metrics: dict[str, float] = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop if the run was cancelled; have a checkpoint saved if the worker has to leave."""
        del state, kwargs
        wish = _CANCEL if self._context.is_cancelled() else _LEAVE if self._context.is_interrupted() else 0
        wish = _most_on_any_rank(wish, device=args.device)
        if wish == _CANCEL:
            raise Cancelled
        if wish == _LEAVE:
            # After the events of this step, `on_save` goes on.
            self._is_leaving = control.should_save = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit a step event, or stop if the loss isn't finite."""
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
                    f"{what}, so training further would be useless",
                    state.global_step,
                    (
                        f"lower learning_rate=, for example to a tenth (it was {logs.get('learning_rate', 0):.1e} at "
                        "this step)",
                        "raise warmup_ratio=, for example to 0.1",
                        "if dtype is float16, use 'bfloat16' or 'float32'",
                        "look at the rows as they are trained on: job.preview()",
                    ),
                )
            )
        learning_rate = logs.get("learning_rate")
        self._context.emit(
            StepEvent(
                step=state.global_step,
                total_steps=state.max_steps,
                epoch=round(float(state.epoch or 0.0), 4),
                loss=round(loss, 6),
                learning_rate=None if learning_rate is None else float(learning_rate),
                grad_norm=grad_norm if grad_norm is None or math.isfinite(grad_norm) else None,
                tokens=int(state.num_input_tokens_seen),
                computed_tokens=None if self._computed is None else self._computed.taken() or None,
                peak_memory_gb=round(peak_memory_gb(), 3),
            )
        )

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit an eval event."""
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
            self._context.emit(EvalEvent(step=state.global_step, metrics=finite))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint, whose last file is written by now (transformers 5.23, `_maybe_log_save_evaluate`)."""
        del control, kwargs
        if dist.is_available() and dist.is_initialized():
            # The other ranks write the states of their random generators without waiting for each other.
            dist.barrier()
        if self._context.is_main:
            self._seal(args, state)
        if self._is_leaving:
            if dist.is_available() and dist.is_initialized():
                # No rank ends the group before the checkpoint is whole.
                dist.barrier()
            raise Interrupted

    def _seal(self, args: TrainingArguments, state: TrainerState) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        # A pickle that isn't needed, and a model card that contains local paths.
        for leftover in ("training_args.bin", "README.md"):
            (folder / leftover).unlink(missing_ok=True)
        seal_checkpoint(folder)
        best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else None
        prune(self._context.folder, keep={best} if best else set())
        self._context.emit(CheckpointEvent(step=state.global_step, path=folder.name))


_LEAVE, _CANCEL = 1, 2


def _most_on_any_rank(wish: int, *, device: torch.device) -> int:
    """Return the largest number that any of the processes has.

    If one process stopped alone, the others would wait for its gradients until they fail.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return wish
    wishes = torch.tensor(float(wish), device=device)
    dist.all_reduce(wishes, op=dist.ReduceOp.MAX)
    return int(wishes.item())


def peak_memory_gb() -> float:
    """Return the peak memory of this process in GB of 1e9 bytes: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        # Memory outside of PyTorch's pool, mostly the CUDA context, is the same now as it was at the peak.
        outside = max(0, total - free - torch.cuda.memory_reserved())
        return (torch.cuda.max_memory_reserved() + outside) / 1e9
    try:
        import resource
    except ImportError:
        return 0.0
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
