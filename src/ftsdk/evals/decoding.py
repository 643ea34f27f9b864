"""Greedy decoding of many prompts at once: nothing is computed twice, and rows that are finished leave the batch.

A batch shares the keys and values of a beginning that its prompts have in common. Every row then feeds tokens of its
own, as many as it has: its prompt, an answer that is guessed, tokens that a constraint leaves no choice about. A guess
costs one pass, and if the model would have answered just that, the row is finished; if not, what the model agreed with
is kept. So a guess changes the time, never the answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Decoded", "Steering", "can_decode", "common_prefix_cache", "decode", "feed_likelihoods"]


@dataclass(kw_only=True, slots=True)
class Decoded:
    """What one row has generated."""

    tokens: list[int] = field(default_factory=list[int])
    """Without the end of text."""
    is_ended: bool = False
    """Whether the model ended it; otherwise it was cut at the limit."""


class Steering(Protocol):
    """What holds one row to a constraint."""

    def begin(self) -> list[int]:
        """Return the tokens that every answer begins with; may be empty."""
        ...

    def choose(self, scores: Any) -> list[int]:
        """Return the best token that is allowed next, an end of text included, and those that must follow it.

        Args:
            scores: Of all tokens, a one-dimensional tensor of 32-bit floats.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing may follow, so that the answer ends without asking the model."""
        ...


class _Batch:
    """Rows in flight: their keys and values, and which slots of these hold a token of theirs."""

    def __init__(self, model: Any, rows: int, prefix: int, cache: Any) -> None:
        import torch

        self._model = model
        self._device = model.device
        self.cache: Any = None
        if cache is not None:
            self.cache = copy.deepcopy(cache)  # generation writes into it
            self.cache.batch_repeat_interleave(rows)
        self._mask = torch.ones(rows, prefix, dtype=torch.long, device=self._device)
        self._lengths = torch.full((rows,), prefix, dtype=torch.long, device=self._device)

    def feed(self, tokens: Sequence[Sequence[int]]) -> Any:
        """Feed each row its tokens, at least one, and return the hidden states after each: rows x width x size."""
        import torch

        width = max(len(ids) for ids in tokens)
        padded = torch.tensor([[*ids, *[ids[-1]] * (width - len(ids))] for ids in tokens], device=self._device)
        counts = torch.tensor([len(ids) for ids in tokens], device=self._device)
        offsets = torch.arange(width, device=self._device)
        own = (offsets[None, :] < counts[:, None]).long()
        self._mask = torch.cat([self._mask, own], dim=1)
        positions = self._lengths[:, None] + torch.minimum(offsets[None, :], counts[:, None] - 1)
        options: dict[str, Any] = {} if self.cache is None else {"past_key_values": self.cache}
        output = self._model.base_model(
            input_ids=padded, attention_mask=self._mask, position_ids=positions, use_cache=True, **options
        )
        self.cache = output.past_key_values
        self._lengths = self._lengths + counts
        return output.last_hidden_state

    def forget(self, counts: Sequence[int], width: int) -> None:
        """Forget the last tokens of each row: so many of those that it was fed in the last pass of that width."""
        import torch

        if not any(counts):
            return
        lost = torch.tensor(list(counts), device=self._device)
        self._lengths = self._lengths - lost
        recent = self._mask[:, -width:]
        rank = recent.cumsum(dim=1)  # 1, 2, ... for the row's own tokens
        keep = rank <= (rank[:, -1] - lost)[:, None]
        self._mask[:, -width:] = recent * keep.long()

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows."""
        import torch

        index = torch.tensor(list(rows), device=self._device)
        self.cache.batch_select_indices(index)
        self._mask, self._lengths = self._mask[index], self._lengths[index]


def can_decode(model: Any) -> bool:
    """Return whether a model's rows can be padded anywhere and told their positions.

    Sliding windows, linear attention and the like keep a state that can't be carried over padding, and positions that
    are counted by the attention itself can't be told.
    """
    import inspect

    from transformers.cache_utils import DynamicCache, DynamicLayer

    inner = model.base_model
    parameters = inspect.signature(inner.forward).parameters
    if "position_ids" not in parameters or getattr(model.config, "is_encoder_decoder", False):
        return False
    if model.get_output_embeddings() is None or getattr(model.config, "final_logit_softcapping", None):
        return False
    cache = DynamicCache(config=model.config)
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def common_prefix_cache(model: Any, tokens: Sequence[int]) -> Any:
    """Return the keys and values of a beginning, or None if the model keeps them in another way.

    Without the output head: nobody needs its scores.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    output = model.base_model(input_ids=torch.tensor([list(tokens)], device=model.device), use_cache=True)
    cache = output.past_key_values
    if not isinstance(cache, DynamicCache) or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    return cache


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
    max_new_tokens: int,
    prefix: int = 0,
    cache: Any = None,
    guesses: Sequence[Sequence[int]] | None = None,
    steering: Sequence[Steering] | None = None,
    on_tokens: Callable[[int, Sequence[int]], None] | None = None,
) -> Iterator[tuple[int, Decoded]]:
    """Yield each row with its position, as soon as it is finished.

    Args:
        model: In eval mode; see `can_decode`.
        prompts: Token ids; each is longer than the prefix.
        ends: Any of these ends an answer.
        max_new_tokens: The most for a row, the end of text included.
        prefix: Tokens that all prompts share and that are in the cache.
        cache: Of the prefix; None without one.
        guesses: Token ids of what each row may answer, without an end; empty: no guess.
        steering: What holds each row to a constraint; with it, guesses aren't used.
        on_tokens: Called after each pass with each row and all its tokens so far.
    """
    import torch

    batch = _Batch(model, len(prompts), prefix, cache)
    head = model.get_output_embeddings()
    rows = list(range(len(prompts)))
    done = [Decoded() for _ in prompts]
    ending = frozenset(ends)
    pending = [list(ids[prefix:]) for ids in prompts]
    guessed = [list(ids) for ids in guesses or ([] for _ in prompts)]
    if steering is not None:
        guessed = [[] for _ in prompts]
        for row, one in enumerate(steering):
            done[row].tokens += one.begin()
            pending[row] += done[row].tokens
    while rows:
        fed = [[*pending[row], *guessed[row]] for row in rows]
        hidden = batch.feed(fed)
        # Scores are needed after the last token that is certain, and after each that is guessed.
        asked = [
            (place, len(pending[row]) - 1 + offset)
            for place, row in enumerate(rows)
            for offset in range(len(guessed[row]) + 1)
        ]
        index = torch.tensor(asked, device=hidden.device)
        scores = head(hidden[index[:, 0], index[:, 1]]).float()
        best = scores.argmax(dim=-1).tolist()
        left: list[int] = []
        rejected: list[int] = []
        at = 0
        for place, row in enumerate(rows):
            one, guess = done[row], guessed[row]
            if steering is None:
                chosen = _agreed(best[at : at + len(guess) + 1], guess)
                is_over = False
            else:
                chosen = steering[row].choose(scores[at])
                is_over = steering[row].is_over
            at += len(guess) + 1
            room = max_new_tokens - len(one.tokens)
            for token in chosen[:room]:
                if token in ending:
                    one.is_ended = True
                    break
                one.tokens.append(token)
            one.is_ended = one.is_ended or (is_over and len(chosen) <= room)
            if on_tokens is not None:
                on_tokens(row, one.tokens)
            if one.is_ended or len(chosen) >= room:
                yield row, one
                continue
            left.append(place)
            rejected.append(len(guess) - len(chosen) + 1 if guess else 0)
            pending[row] = chosen[-1:] if steering is None else chosen
            guessed[row] = []
        if left:
            if len(left) < len(rows):
                batch.keep(left)
            batch.forget(rejected, max(len(ids) for ids in fed))
        rows = [rows[place] for place in left]


def _agreed(chosen: Sequence[int], guess: Sequence[int]) -> list[int]:
    """Return what the model chose, up to the first token in which the guess differs: after that it saw another text."""
    agreed = 0
    while agreed < len(guess) and chosen[agreed] == guess[agreed]:
        agreed += 1
    return list(chosen[: agreed + 1])


def feed_likelihoods(
    model: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    prefix: int = 0,
    cache: Any = None,
) -> list[list[float]]:
    """Return the log-probability of each token of each answer after its prompt.

    Args:
        model: In eval mode; see `can_decode`.
        prompts: Token ids; each is longer than the prefix.
        answers: Token ids, at least one for each prompt.
        prefix: Tokens that all prompts share and that are in the cache.
        cache: Of the prefix; None without one.
    """
    import torch

    batch = _Batch(model, len(prompts), prefix, cache)
    hidden = batch.feed([[*prompt[prefix:], *answer[:-1]] for prompt, answer in zip(prompts, answers, strict=True)])
    head = model.get_output_embeddings()
    found: list[list[float]] = []
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        start = len(prompt) - prefix - 1
        # One row at a time: scores of a large vocabulary would be the largest thing in memory.
        scores = head(hidden[row, start : start + len(answer)]).float().log_softmax(dim=-1)
        wanted = torch.tensor(list(answer), device=scores.device)[:, None]
        found.append(scores.gather(1, wanted)[:, 0].tolist())
    return found
