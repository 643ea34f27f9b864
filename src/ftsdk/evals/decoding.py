"""Greedy decoding of many prompts at once: nothing is computed twice, and rows that are finished leave the batch.

A batch shares the keys and values of a beginning that its prompts have in common; see `packed_rows`. Every row then
feeds tokens of its own, as many as it has: its prompt, an answer that is guessed, tokens that a constraint leaves no
choice about. A guess costs one pass, and if the model would have answered just that, the row is finished; if not, what
the model agreed with is kept. So a guess changes the time, never the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ftsdk.evals.packed_rows import PackedRows, SharedPrefix, shared_prefix
from ftsdk.models.packed_attention import UnsupportedAttentionError

__all__ = ["Decoded", "Steering", "can_decode", "decode", "feed_likelihoods"]

_EXACT = 1e-3
"""How far scores may be from the model's own, in parts of how much these vary. Rounding alone makes 1e-6."""
_EXACT_16_BIT = 0.25
"""In 16 bits, a sum in another order makes up to 0.08, with transformers' own cache, too."""


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


def can_decode(model: Any, tokens: Sequence[int]) -> bool:
    """Return whether rows of a model can be packed: tried on the beginning of a prompt, not assumed.

    Sliding windows, linear attention and the like keep a state of the sequence that they see, and some models count
    positions themselves, or scale or cap what the head returns.
    """
    import inspect

    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    head, config = model.get_output_embeddings(), model.config
    theirs: list[Any] = []
    if (
        "position_ids" not in inspect.signature(model.base_model.forward).parameters
        or getattr(config, "is_encoder_decoder", False)
        or not getattr(model, "_supports_attention_backend", False)
        or head is None
        or getattr(config, "final_logit_softcapping", None)
        or not all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
    ):
        return False
    # Two rows of different lengths after a beginning that they share, each fed in two pieces.
    shared, some = list(tokens[:2]), list(tokens[2:14] or tokens[:1])
    first, second = [*some, *some, *some[:1]], [*some[::-1], *some[:1]]
    with torch.inference_mode():
        for ids in (first, second):
            theirs.append(model(input_ids=torch.tensor([[*shared, *ids]], device=model.device)).logits[0, -1])
        hidden = model.base_model(input_ids=torch.tensor([[*shared, *second]], device=model.device)).last_hidden_state
        if _difference(head(hidden)[0, -1], theirs[1]) > _EXACT:  # scaled or capped
            return False
        try:
            rows = PackedRows(model, 2, len(first), shared_prefix(model, shared))
            rows.feed([first[:-2], second[:-1]], [0, 0])
            ours = head(rows.feed([first[-2:], second[-1:]], [1, 1]))
        except UnsupportedAttentionError:
            return False
    allowed = _EXACT if model.dtype == torch.float32 else _EXACT_16_BIT
    return all(_difference(*pair) <= allowed for pair in zip(ours, theirs, strict=True))


def _difference(ours: Any, theirs: Any) -> float:
    """Return how far scores are from others, in parts of how much these vary."""
    ours, theirs = ours.float(), theirs.float()
    return float((ours - theirs).norm() / (theirs - theirs.mean()).norm().clamp(min=1e-12))


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
    max_new_tokens: int,
    prefix: SharedPrefix | None = None,
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
        prefix: The beginning that all prompts share; None: nothing is shared.
        guesses: Token ids of what each row may answer, without an end; empty: no guess.
        steering: What holds each row to a constraint; with it, guesses aren't used.
        on_tokens: Called after each pass with each row and all its tokens so far.
    """
    shared = 0 if prefix is None else prefix.length
    head = model.get_output_embeddings()
    rows = list(range(len(prompts)))
    done = [Decoded() for _ in prompts]
    ending = frozenset(ends)
    pending = [list(ids[shared:]) for ids in prompts]
    guessed = [list(ids) for ids in guesses or ([] for _ in prompts)]
    if steering is not None:
        guessed = [[] for _ in prompts]
        for row, one in enumerate(steering):
            done[row].tokens += one.begin()
            pending[row] += done[row].tokens
    longest = max(len(ids) + len(more) for ids, more in zip(pending, guessed, strict=True))
    batch = PackedRows(model, len(prompts), longest + max_new_tokens, prefix)
    while rows:
        # Scores are needed after the last token that is certain, and after each that is guessed.
        hidden = batch.feed([[*pending[row], *guessed[row]] for row in rows], [len(guessed[row]) + 1 for row in rows])
        scores = head(hidden)
        # On a CPU several times as fast as argmax, which also takes the first of equals.
        best = scores.max(dim=-1).indices.tolist()
        left: list[int] = []
        rejected: list[int] = []
        at = 0
        for place, row in enumerate(rows):
            one, guess = done[row], guessed[row]
            if steering is None:
                chosen = _agreed(best[at : at + len(guess) + 1], guess)
                is_over = False
            else:
                chosen = steering[row].choose(scores[at].float())
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
            batch.forget(rejected)
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
    prefix: SharedPrefix | None = None,
) -> list[list[float]]:
    """Return the log-probability of each token of each answer after its prompt.

    Args:
        model: In eval mode; see `can_decode`.
        prompts: Token ids; each is longer than the prefix.
        answers: Token ids, at least one for each prompt.
        prefix: The beginning that all prompts share; None: nothing is shared.
    """
    import torch

    shared = 0 if prefix is None else prefix.length
    fed = [[*prompt[shared:], *answer[:-1]] for prompt, answer in zip(prompts, answers, strict=True)]
    batch = PackedRows(model, len(prompts), max(len(ids) for ids in fed), prefix)
    hidden = batch.feed(fed, [len(answer) for answer in answers])
    head = model.get_output_embeddings()
    found: list[list[float]] = []
    start = 0
    for answer in answers:
        # One row at a time: scores of a large vocabulary would be the largest thing in memory.
        scores = head(hidden[start : start + len(answer)]).float().log_softmax(dim=-1)
        wanted = torch.tensor(list(answer), device=scores.device)[:, None]
        found.append(scores.gather(1, wanted)[:, 0].tolist())
        start += len(answer)
    return found
