"""Which rows a reviewer sees."""

from __future__ import annotations

import random

from ftsdk.data.argument_checks import checked_seed, checked_whole
from ftsdk.data.row_keys import answer_text, prompt_text
from ftsdk.data.rows import Rows
from ftsdk.data.split import choose, shuffled

__all__ = ["review_sample"]

_BANDS = 5
"""Of lengths, each with as many rows."""


def review_sample(dataset: Rows, rows: int, seed: int = 0) -> tuple[tuple[int, ...], str]:
    """Return positions of a sample in random order, and what it is stratified by.

    Every class has its share of the sample, where answers look like class labels; otherwise every fifth of the rows by
    length. In random order, so that the rows seen so far are a fair sample too.

    Args:
        dataset: The rows.
        rows: How many; all if there are fewer.
        seed: Which ones.

    Raises:
        DatasetError: `rows` or `seed` is out of range.
    """
    rows = checked_whole("rows", rows, at_least=1, source=dataset.name)
    seed = checked_seed(seed, source=dataset.name)
    draw = random.Random(f"ftsdk review {seed}")
    labels = _labels(dataset)
    strata = labels or _length_bands(dataset)
    everything = tuple(range(len(dataset)))
    chosen = everything if rows >= len(dataset) else choose(len(dataset), [rows], seed, strata)[0]
    return tuple(shuffled(chosen, draw)), "label" if labels else "length"


def _labels(dataset: Rows) -> tuple[str, ...] | None:
    from ftsdk.data.labels import are_labels

    if dataset.format != "chat":
        return None
    answers = tuple(answer_text(row) for row in dataset)
    return answers if are_labels(set(answers), len(answers)) else None


def _length_bands(dataset: Rows) -> tuple[str, ...]:
    lengths = [
        len(prompt_text(row, dataset.format)) + (0 if dataset.format == "table" else len(answer_text(row)))
        for row in dataset
    ]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    bands = [""] * len(lengths)
    for rank, position in enumerate(order):
        bands[position] = str(rank * _BANDS // len(lengths))
    return tuple(bands)
