"""What holds a row to a constraint while it is decoded: a tree of choices, or a grammar made of a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.evals.constraints import Choices, Constraint, JsonSchema
from ftsdk.evals.decoding import Steering

__all__ = ["steering_for"]

_Tree = dict[int, "_Tree"]
_WHITESPACE: Any = {"whitespace_flexible": True, "whitespace_pattern": r" ?"}
"""At most one blank between the parts of a value: any number is JSON, too, and a model that likes blanks never ends."""


def steering_for(
    constraint: Constraint, tokenizer: Any, *, ends: Sequence[int], vocabulary: int
) -> Callable[[], Steering]:
    """Return what makes the steering of a row.

    Args:
        constraint: What answers keep to.
        tokenizer: Of the model.
        ends: Any of these ends an answer; the first is chosen where nothing may follow.
        vocabulary: How many scores the model gives.

    Raises:
        SpecError: The constraint can't be kept with this tokenizer.
        MissingExtraError: llguidance isn't installed.
    """
    match constraint:
        case Choices():
            tree = _tree(constraint.choices, tokenizer, ends)
            return lambda: _Choosing(tree, frozenset(ends))
        case JsonSchema():
            return _grammar(constraint.schema, tokenizer, ends, vocabulary)


def _tree(choices: Sequence[str], tokenizer: Any, ends: Sequence[int]) -> _Tree:
    root: _Tree = {}
    for choice, ids in zip(choices, tokenizer(list(choices), add_special_tokens=False)["input_ids"], strict=True):
        if not ids or set(ids) & set(ends):
            raise SpecError(f"the choice {choice!r} can't be told apart from the end of an answer by this tokenizer")
        node = root
        for token in ids:
            node = node.setdefault(token, {})
        if ends[0] in node:
            raise SpecError(f"the choice {choice!r} has the same tokens as another one")
        node[ends[0]] = {}
    return root


class _Choosing:
    """Walks down the tree. Where there is one way only, the model isn't asked."""

    def __init__(self, tree: _Tree, ends: frozenset[int]) -> None:
        self._node = tree
        self._ends = ends

    def begin(self) -> list[int]:
        """Return the tokens that all choices begin with."""
        found: list[int] = []
        while len(self._node) == 1:
            [(token, node)] = self._node.items()
            if token in self._ends:
                break
            found.append(token)
            self._node = node
        return found

    def choose(self, scores: Any) -> list[int]:
        """Return the likeliest branch, down to the next fork; where a choice may end, any end of text counts."""
        likeliest = max(self._node, key=lambda token: self._score(scores, token))
        if likeliest in self._ends:
            self._node = {}
            return [likeliest]
        self._node = self._node[likeliest]
        return [likeliest, *self.begin()]

    def _score(self, scores: Any, token: int) -> float:
        return max(float(scores[end]) for end in self._ends) if token in self._ends else float(scores[token])

    @property
    def is_over(self) -> bool:
        """Whether only the end may follow."""
        return self._node.keys() <= self._ends


def _grammar(schema: Mapping[str, Any], tokenizer: Any, ends: Sequence[int], vocabulary: int) -> Callable[[], Steering]:
    try:
        import llguidance
        import llguidance.hf
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="answers held to a JSON Schema", missing=error.name) from error
    try:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(dict(schema)), overrides=_WHITESPACE)
        vocabulary_of = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))
        problem = llguidance.LLMatcher.validate_grammar(grammar, vocabulary_of)
    except (ValueError, TypeError, RuntimeError) as error:
        raise SpecError(f"answers can't be held to this JSON Schema: {error}") from error
    if problem:
        raise SpecError(f"answers can't be held to this JSON Schema: {problem}")
    return lambda: _Matching(llguidance.LLMatcher(vocabulary_of, grammar), vocabulary)


class _Matching:
    """Follows a grammar. Tokens that must come are taken without asking the model."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        import torch

        self._matcher = matcher
        # One bit for each token, 32 to a number.
        self._bits = torch.zeros(1, (vocabulary + 31) // 32, dtype=torch.int32)

    def begin(self) -> list[int]:
        """Return the tokens that every answer begins with."""
        return self._forced()

    def choose(self, scores: Any) -> list[int]:
        """Return the likeliest token that the grammar allows, and those that must follow."""
        import torch

        # Not llguidance.torch, which compiles a kernel for this, and takes a minute the first time.
        self._matcher.unsafe_compute_mask_ptr(self._bits.data_ptr(), self._bits.numel() * 4)
        allowed = (self._bits[0][:, None] >> torch.arange(32, dtype=torch.int32)) & 1
        allowed = allowed.flatten()[: scores.shape[0]].bool().to(scores.device)
        token = int(scores.masked_fill(~allowed, -torch.inf).argmax())
        self._consume([token])
        return [token, *self._forced()]

    def _forced(self) -> list[int]:
        tokens: list[int] = list(self._matcher.compute_ff_tokens())
        self._consume(tokens)
        return tokens

    def _consume(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if not self._matcher.consume_token(token):
                raise SpecError(f"the grammar of the JSON Schema failed: {self._matcher.get_error()}")

    @property
    def is_over(self) -> bool:
        """Whether the value is whole and nothing may follow."""
        return bool(self._matcher.is_stopped())
