"""Pairs of answers to the same prompt, shuffled, each answer on a random side."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.errors import SpecError
from ftsdk.evals.results import ExampleResult
from ftsdk.spec.amounts import check_amount

__all__ = ["BlindPair", "BlindPairs", "make_pairs"]


@dataclass(frozen=True, kw_only=True)
class BlindPair:
    """Two answers to one prompt."""

    id: str
    """A digest of the prompt and both answers: a verdict holds as long as none of them changes."""
    prompt: str
    first: str
    second: str
    is_swapped: bool
    """Whether the second answer is shown as A."""

    @property
    def shown(self) -> tuple[str, str]:
        """The answers as A and B."""
        return (self.second, self.first) if self.is_swapped else (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class BlindPairs:
    """What is to be judged, and what needs no judging."""

    pairs: tuple[BlindPair, ...]
    identical: int
    """Examples with the same answer from both, which are ties."""
    missing: int
    """Examples without an answer from one of them, or that only one was asked; they aren't compared."""
    not_drawn: int = 0
    """Pairs beyond the most that are judged."""


def make_pairs(
    first: Sequence[ExampleResult], second: Sequence[ExampleResult], *, most: int | None = None, seed: int = 0
) -> BlindPairs:
    """Return the pairs of answers to the prompts that both were asked.

    Args:
        first: Results of one target.
        second: Results of the other.
        most: The most pairs, chosen at random; None: all.
        seed: Decides order and sides; the same seed shows the same.

    Raises:
        SpecError: No prompt was asked of both.
    """
    if most is not None:
        check_amount("most", most, at_least=1, is_whole=True)
    mine, others = ({(one.prompt, one.expected): one for one in reversed(found)} for found in (first, second))
    common = [key for key in mine if key in others]
    if not common:
        raise SpecError("the two have no prompt in common; compare answers to the same examples")
    found: list[BlindPair] = []
    identical = missing = 0
    for key in common:
        one, other = mine[key], others[key]
        if one.error is not None or other.error is not None:
            missing += 1
        elif one.output.strip() == other.output.strip():
            identical += 1
        else:
            found.append(_pair(one, other, seed))
    missing += len(mine.keys() ^ others.keys())
    # By digests, so that a pair keeps its place when others come or go.
    found.sort(key=lambda pair: _digest([seed, "order", pair.id]))
    drawn = tuple(found[:most])
    return BlindPairs(pairs=drawn, identical=identical, missing=missing, not_drawn=len(found) - len(drawn))


def _pair(one: ExampleResult, other: ExampleResult, seed: int) -> BlindPair:
    pair_id = _digest([one.prompt, one.expected, one.output, other.output])[:16]
    is_swapped = random.Random(f"{seed}/{pair_id}").random() < 0.5
    return BlindPair(id=pair_id, prompt=one.prompt, first=one.output, second=other.output, is_swapped=is_swapped)


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
