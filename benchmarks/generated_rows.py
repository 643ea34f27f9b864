"""Rows with known duplicates, for benchmarks and tests: the same seed and number make the same rows everywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

VOCABULARY = 20_000
WORDS = (80, 120)
EXACT = 0.05
"""The share of rows that are copies of an earlier one."""
NEAR = 0.10
"""The share of rows that are an earlier one with 1 to 3 words changed, as if by hand."""


class GeneratedRow(NamedTuple):
    text: str
    cluster: int
    """The number of the row that this one is a copy of, in the end; its own for new text."""


def generated_rows(count: int, *, seed: int = 0) -> Iterator[GeneratedRow]:
    """Generate rows of about 100 words: 85% new text, 5% exact and 10% near copies of new text.

    Copies are of the last 10,000 new texts, so that memory doesn't grow with `count`.
    """
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(VOCABULARY)]
    recent: list[GeneratedRow] = []
    for number in range(count):
        kind = draw.random()
        if recent and kind < EXACT + NEAR:
            original = draw.choice(recent)
            if kind < EXACT:
                yield original
                continue
            changed = original.text.split()
            for _ in range(draw.randint(1, 3)):
                changed[draw.randrange(len(changed))] = draw.choice(words)
            yield GeneratedRow(" ".join(changed), original.cluster)
            continue
        row = GeneratedRow(" ".join(draw.choices(words, k=draw.randint(*WORDS))), number)
        if len(recent) < 10_000:
            recent.append(row)
        else:
            recent[draw.randrange(len(recent))] = row
        yield row


class Quality(NamedTuple):
    precision: float
    """Of the rows said to be a copy of an earlier one, the share that are copies of a row in their cluster."""
    recall: float
    """Of the rows that are copies of an earlier one, the share that is in a cluster with an earlier copy."""


def quality(clusters: list[list[int]], truth: list[int]) -> Quality:
    """Return how well clusters of positions fit the clusters that the rows were made with."""
    said = right = 0
    for cluster in clusters:
        seen: set[int] = set()
        for position in sorted(cluster):
            right += truth[position] in seen
            said += bool(seen)
            seen.add(truth[position])
    copies = len(truth) - len(set(truth))
    return Quality(right / said if said else 1.0, right / copies if copies else 1.0)
