"""The rows of an optimizer step as a forest, in which tokens that rows have in common are there once.

Rows that begin alike share a segment; what differs comes in segments below it. Laid out depth first, the tokens below a
segment follow it without a gap, so that a range says who sees a token. Pure: nothing here knows of models or tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Forest", "Segment", "TrainedRow", "common_beginnings", "computed_tokens", "cut", "plant"]

SAVED_AT_LEAST = 8
"""Tokens that a segment must save to be shared: each one is a further block of attention."""


@dataclass(frozen=True, kw_only=True)
class TrainedRow:
    """What the model must read of a row, and what it is to predict."""

    tokens: tuple[int, ...]
    """Up to the one before the last trained token: nothing after it changes the loss. At least one."""
    targets: tuple[tuple[int, int], ...]
    """Pairs of a position in `tokens` and the trained token that follows it."""
    length: int
    """Tokens of the whole row."""

    @classmethod
    def of(cls, input_ids: Sequence[int], is_trained: Sequence[bool]) -> TrainedRow:
        """Return a row of token ids, of which some are trained. The first one never is: nothing predicts it."""
        places = [at for at, trained in enumerate(is_trained) if trained and at > 0]
        end = places[-1] if places else 1
        return cls(
            tokens=tuple(input_ids[:end]),
            targets=tuple((at - 1, input_ids[at]) for at in places),
            length=len(input_ids),
        )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Consecutive tokens of one row or several, as indices of the layout."""

    start: int
    end: int
    subtree_end: int
    """The tokens of `range(end, subtree_end)` see those of this segment."""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Rows laid out as one sequence of T tokens."""

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    """Of each token in its rows, counted from 0."""
    segments: tuple[Segment, ...]
    """In the order of the layout."""
    paths: tuple[tuple[int, ...], ...]
    """For each row its segments, from its beginning to its end."""
    sources: tuple[int, ...]
    """For each trained token the index of the token before it, which several rows may share."""
    targets: tuple[int, ...]
    """The trained tokens, row by row."""
    owners: tuple[int, ...]
    """For each trained token its row."""

    def places(self, row: int) -> list[int]:
        """Return where the tokens of a row are."""
        return [at for n in self.paths[row] for at in range(self.segments[n].start, self.segments[n].end)]


def plant(rows: Sequence[TrainedRow], *, saved_at_least: int = SAVED_AT_LEAST) -> Forest:
    """Lay rows out as a forest.

    Args:
        rows: At least one.
        saved_at_least: Rows share a segment only if that saves so many tokens.
    """
    order = sorted(range(len(rows)), key=lambda n: rows[n].tokens)
    common = _common(rows, order)
    tokens: list[int] = []
    positions: list[int] = []
    spans: list[list[int]] = []  # start, end and subtree_end of each segment
    paths: list[tuple[int, ...]] = [()] * len(rows)

    def add(row: TrainedRow, start: int, end: int) -> int:
        spans.append([len(tokens), len(tokens) + end - start, 0])
        tokens.extend(row.tokens[start:end])
        positions.extend(range(start, end))
        return len(spans) - 1

    # Rows from low to high (exclusive) that have the segments of a path, and so many tokens, in common. A stack, since
    # the turns of a long conversation are as deep as there are turns.
    waiting: list[tuple[int, int, int, tuple[int, ...]]] = [(0, len(rows), 0, ())]
    while waiting:
        low, high, depth, path = waiting.pop()
        if high - low == 1:
            row = rows[order[low]]
            if len(row.tokens) > depth:
                path = (*path, add(row, depth, len(row.tokens)))
            paths[order[low]] = path
            continue
        shared = min(common[low + 1 : high])
        if shared > depth and (shared - depth) * (high - low - 1) >= saved_at_least:
            path = (*path, add(rows[order[low]], depth, shared))
            depth = shared
        splits = [low, *(n for n in range(low + 1, high) if common[n] == shared), high]
        # The last one on the stack comes next: backwards, so that the layout is in order.
        waiting += [(splits[n], splits[n + 1], depth, path) for n in reversed(range(len(splits) - 1))]

    for path in paths:
        for n in path:
            spans[n][2] = max(spans[n][2], spans[path[-1]][1])
    segments = tuple(Segment(start=start, end=end, subtree_end=subtree) for start, end, subtree in spans)
    return Forest(
        tokens=tuple(tokens),
        positions=tuple(positions),
        segments=segments,
        paths=tuple(paths),
        **_trained(rows, segments, paths),
    )


def _trained(
    rows: Sequence[TrainedRow], segments: Sequence[Segment], paths: Sequence[tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    sources: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for n, row in enumerate(rows):
        places = [at for part in paths[n] for at in range(segments[part].start, segments[part].end)]
        sources += [places[position] for position, _ in row.targets]
        targets += [target for _, target in row.targets]
        owners += [n] * len(row.targets)
    return {"sources": tuple(sources), "targets": tuple(targets), "owners": tuple(owners)}


def cut(rows: Sequence[TrainedRow], most_tokens: int, *, together: int = 1) -> Iterator[list[int]]:
    """Yield the rows of a step in pieces of similar size.

    A piece has about `most_tokens` tokens at most, besides a beginning that all its rows share: a long one is computed
    once for many rows. A row that is longer is a piece of its own.

    Args:
        rows: The rows.
        most_tokens: Tokens of a piece, about.
        together: So many consecutive rows are never parted, such as the two answers of a preference pair.
    """
    groups = [list(range(first, first + together)) for first in range(0, len(rows), together)]
    groups = sorted((_in_order(rows, group) for group in groups), key=lambda group: rows[group[0]].tokens)
    common = [length if length >= SAVED_AT_LEAST else 0 for length in _common(rows, [group[0] for group in groups])]
    alone = [_tokens_alone(rows, group) for group in groups]
    besides = sum(alone) - sum(common) - min(common[1:], default=0)
    enough = besides / max(1, -(-besides // most_tokens))
    piece: list[int] = []
    count = beginning = 0
    for group, own, shared in zip(groups, alone, common, strict=True):
        kept, added = min(beginning, shared), own - shared
        if not piece:
            kept, added = len(rows[group[0]].tokens), own
        elif count + added - kept > most_tokens or count + added / 2 - kept > enough:
            yield piece
            piece, count, kept, added = [], 0, len(rows[group[0]].tokens), own
        # In the order in which they came: the two of a pair aren't alike.
        piece += sorted(group)
        count, beginning = count + added, kept
    if piece:
        yield piece


def computed_tokens(rows: Sequence[TrainedRow], most_tokens: int, *, together: int = 1) -> int:
    """Return how many tokens go through the model for these rows, in pieces of about `most_tokens`."""
    pieces = cut(rows, most_tokens, together=together)
    return sum(len(plant([rows[n] for n in piece]).tokens) for piece in pieces)


def _in_order(rows: Sequence[TrainedRow], group: Sequence[int]) -> list[int]:
    return sorted(group, key=lambda n: rows[n].tokens)


def _tokens_alone(rows: Sequence[TrainedRow], group: Sequence[int]) -> int:
    """Return the tokens of a forest of a few rows."""
    order = _in_order(rows, group)
    shared = sum(length for length in _common(rows, order) if length >= SAVED_AT_LEAST)
    return sum(len(rows[n].tokens) for n in order) - shared


def common_beginnings(rows: Sequence[Sequence[int]]) -> list[int]:
    """Return how many tokens each row has in common with the one before it; 0 for the first."""
    found = [0] if rows else []
    for first, second in itertools.pairwise(rows):
        length = min(len(first), len(second))
        if first[:length] == second[:length]:
            found.append(length)
        else:
            found.append(next(n for n in range(length) if first[n] != second[n]))
    return found


def _common(rows: Sequence[TrainedRow], order: Sequence[int]) -> list[int]:
    return common_beginnings([rows[n].tokens for n in order])
