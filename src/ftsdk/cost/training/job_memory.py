"""What a job will hold in memory, before its rows are counted in tokens."""

from __future__ import annotations

from ftsdk.cost.training.memory import TrainingMemory
from ftsdk.models import ModelFacts
from ftsdk.spec import DPO, FullFineTune, JobSpec, QLoRA

__all__ = ["LONG_ROW_TOKENS", "long_row", "memory_of_job"]

LONG_ROW_TOKENS = 2048
"""What stands for the longest row where nobody has measured its text: rows are rarely longer, whatever the model's context allows."""


def long_row(spec: JobSpec, facts: ModelFacts) -> int:
    """Give the tokens that are presumed for the longest row: what its text may have, and never more than `max_length` or the positions allow."""
    guessed = spec.train.longest_tokens
    most = LONG_ROW_TOKENS if guessed is None else max(1, round(guessed.high))
    longest = min(spec.max_length or facts.max_position_embeddings or most, most)
    # The chosen and the rejected answer go through together.
    return 2 * longest if isinstance(spec.method, DPO) else longest


def memory_of_job(spec: JobSpec, *, longest_tokens: float) -> TrainingMemory:
    """Say what one device holds that has the whole model and computes activations again.

    Args:
        spec: The job.
        longest_tokens: Of the micro-batch with the longest rows, padding included.
    """
    tuning = spec.tuning
    is_full = isinstance(tuning, FullFineTune)
    return TrainingMemory(
        longest_tokens=longest_tokens,
        tuning=tuning.kind,
        recomputes=True,
        rank=1 if isinstance(tuning, FullFineTune) else tuning.rank,
        double_quantization=isinstance(tuning, QLoRA) and tuning.double_quantization,
        # Weights that move are held in 32 bits.
        weight_bytes=4.0 if is_full or spec.dtype == "float32" else 2.0,
    )
