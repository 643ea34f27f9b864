"""How many sequences go through the model at once: one rule, for trainers and for the choice of a GPU."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.cost.facts.shapes import shape_of
from ftsdk.cost.training.job_memory import adapters_on_cpu, dropout_of, long_row, memory_of_job
from ftsdk.cost.training.memory import Verdict, layer_bytes_on_cpu, peak_memory, verdict
from ftsdk.models import ModelFacts
from ftsdk.spec import JobSpec

__all__ = ["rows_at_once", "share_at_most", "tokens_at_once"]

_PACKED_TOKENS = 1024
"""More at once gain a CPU nothing (SmolLM2-135M, 2026-11-28), and take more memory."""
_FEWEST_PACKED_TOKENS = 256


def share_at_most(share: int, most: int) -> int:
    """Return the largest divisor of a device's share of the batch that is at most `most`, so `batch_size` is exact."""
    return max(n for n in range(1, min(most, share) + 1) if share % n == 0)


def rows_at_once(
    spec: JobSpec, facts: ModelFacts, *, memory_gib: float, share: int, shards: int = 1, recomputes: bool = True
) -> tuple[int, str]:
    """Choose how many sequences go through a GPU at once: a cautious number for its memory, or fewer for large models.

    Args:
        spec: The job.
        facts: What is known of its model.
        memory_gib: Memory of one GPU, in GiB.
        share: Sequences of one optimizer step on one GPU.
        shards: GPUs over which the model is spread.
        recomputes: Whether activations are computed again in the backward pass.

    Returns:
        The number, at least 1 whether or not that fits, and the reason for it.
    """
    limit = 16 if memory_gib >= 70 else 8 if memory_gib >= 35 else 4 if memory_gib >= 20 else 2
    most = rows = share_at_most(share, limit)
    cautious = f"a cautious choice for {memory_gib:.0f} GiB of GPU memory"
    shape = shape_of(facts)
    if shape is None:
        return rows, cautious
    row = long_row(spec, facts)

    def verdict_of(rows: int) -> Verdict:
        memory = replace(memory_of_job(spec, longest_tokens=rows * row), shards=shards, recomputes=recomputes)
        return verdict(peak_memory(memory, shape), memory_gib)

    def fits(rows: int) -> bool:
        return verdict_of(rows) == "fits"

    while rows > 1 and not fits(rows):
        rows = share_at_most(share, rows - 1)
    if rows == 1 and verdict_of(1) == "no":
        return (
            rows,
            f"the minimum; even one row of up to {row:,} tokens is unlikely to fit into {memory_gib:.0f} GiB together "
            "with the model",
        )
    if rows == most:
        return rows, cautious
    return (
        rows,
        f"as many as fit into {memory_gib:.0f} GiB together with the model, with rows of up to {row:,} tokens; a lower "
        "max_length= allows more",
    )


def tokens_at_once(spec: JobSpec, facts: ModelFacts, *, memory_gib: float | None) -> int:
    """Choose how many tokens of packed rows go through a CPU at once: fewer for models that fill its memory.

    Args:
        spec: The job.
        facts: What is known of its model.
        memory_gib: Memory of the machine, in GiB; None: not known.
    """
    tokens, shape = _PACKED_TOKENS, shape_of(facts)
    if shape is None or memory_gib is None:
        return tokens
    layer_bytes = layer_bytes_on_cpu(
        shape, adapters=adapters_on_cpu(spec.tuning, is_packed=True), has_dropout=dropout_of(spec.tuning) > 0
    )

    def fits(tokens: int) -> bool:
        memory = replace(
            memory_of_job(spec, longest_tokens=tokens), recomputes=False, reuses_memory=False, layer_bytes=layer_bytes
        )
        return verdict(peak_memory(memory, shape), memory_gib) == "fits"

    while tokens > _FEWEST_PACKED_TOKENS and not fits(tokens):
        tokens //= 2
    return tokens
