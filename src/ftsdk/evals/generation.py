"""Answers by greedy generation: the protocol, and its implementation with transformers on this machine."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Generator as Yields
from typing import Any, Protocol, runtime_checkable

from ftsdk.errors import DatasetError
from ftsdk.evals.answers import Answer
from ftsdk.evals.examples import Prompt
from ftsdk.evals.likelihood import Likelihood
from ftsdk.models.chat_template import Conversation as TemplateInput
from ftsdk.models.chat_template import render_conversations, template_shape
from ftsdk.models.template_trial import RowTrial, trial_of
from ftsdk.models.tool_check import is_tool_missing

__all__ = [
    "CanMeasure",
    "CanMeasureLikelihood",
    "CanStream",
    "Conversation",
    "Generator",
    "TransformersGenerator",
    "tools_of",
]

Conversation = Sequence[dict[str, Any]]
"""Messages, each with `role` and `content`; a `Prompt` where a row offers tools."""


def tools_of(conversation: Conversation) -> Sequence[Mapping[str, Any]]:
    """Return the tools that a prompt offers the model, in OpenAI's form; empty: none."""
    return conversation.tools if isinstance(conversation, Prompt) else ()


_MIN_SHARED_TOKENS = 8
"""A shared prefix shorter than this isn't worth a pass of its own."""


class Generator(Protocol):
    """Something that answers conversations, greedily, so that the same prompt gets the same answer."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens."""
        ...

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer every conversation.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            max_new_tokens: Longest answer in tokens.
            on_progress: Called with how many are done, and of how many.

        Returns:
            The answers, in the order of the conversations, without special tokens.
        """
        ...


@runtime_checkable
class CanStream(Protocol):
    """An optional ability of a generator: answers as they come, so that a failure doesn't cost those before it."""

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        """Yield each answer as soon as it is there, with the position of its conversation, in any order.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            max_new_tokens: Longest answer in tokens.
            skip: Positions that need no answer.
        """
        ...


@runtime_checkable
class CanMeasure(Protocol):
    """An optional ability of a generator: the lengths of reference answers as the model would write them."""

    def answer_lengths(self, conversations: Sequence[Conversation], answers: Sequence[str]) -> list[int]:
        """Return the tokens of each answer, with all that the chat template puts around it, such as empty reasoning.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            answers: One for each.
        """
        ...


@runtime_checkable
class CanMeasureLikelihood(Protocol):
    """An optional ability of a generator: how likely the model finds given answers."""

    def likelihoods(
        self, conversations: Sequence[Conversation], answers: Sequence[str]
    ) -> Yields[tuple[int, Likelihood]]:
        """Yield the likelihood of each answer with its position, in any order.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            answers: One for each.
        """
        ...


class TransformersGenerator:
    """Greedy generation with a loaded model, in batches of similar length, left-padded.

    A prefix that all prompts share (a system message, a list of labels) is computed once and its keys and values are
    reused; on a CPU that is most of the work of a classification eval.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        eos_token_ids: Sequence[int],
        max_length: int | None = None,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        share_prefix: bool = True,
    ) -> None:
        """Use a model that is loaded and in eval mode.

        Args:
            model: transformers' model, or PEFT's LoRA model around one.
            tokenizer: With chat template and pad token.
            eos_token_ids: Any of these ends an answer.
            max_length: The context length in tokens; None doesn't check.
            batch_size: Most conversations at once. None: 64 on a CPU, 256 on a GPU.
            batch_tokens: Most tokens at once, prompt and answer, padding included. None: 4,096 (CPU), 32,768 (GPU).
            share_prefix: Compute a shared prefix once, where the model allows it.
        """
        # PEFT puts LoRA inside the layers, so the inner model has the adapter too, and the only generation settings.
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._tokenizer = tokenizer
        self._eos_token_ids = list(eos_token_ids)
        self._max_length = max_length
        on_cpu = self._model.device.type == "cpu"
        self._batch_size = batch_size or (64 if on_cpu else 256)
        self._batch_tokens = batch_tokens or (4096 if on_cpu else 32768)
        self._share_prefix = share_prefix
        self._trial: RowTrial | None = None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens."""
        return [len(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def answer_lengths(self, conversations: Sequence[Conversation], answers: Sequence[str]) -> list[int]:
        """Return the tokens of each answer as the chat template renders it; see `CanMeasure.answer_lengths`."""
        whole = [
            Prompt([*conversation, {"role": "assistant", "content": answer}], tools_of(conversation))
            for conversation, answer in zip(conversations, answers, strict=True)
        ]
        prompts = self._render(conversations, add_generation_prompt=True)
        rendered = self._render(whole, add_generation_prompt=False)
        # Some templates render an answer without what it has in a prompt: it takes at least its own tokens.
        return [
            max(plain, len(text) - len(prompt))
            for plain, text, prompt in zip(self.count_tokens(answers), rendered, prompts, strict=True)
        ]

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer every conversation; see `Generator.generate`.

        Raises:
            DatasetError: A prompt and its answer don't fit into the context of the model.
        """
        outputs: dict[int, str] = {}
        for batch in self._answer_batches(conversations, max_new_tokens, skip=frozenset()):
            outputs |= batch
            if on_progress is not None:
                on_progress(len(outputs), len(conversations))
        return [outputs[index] for index in range(len(conversations))]

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        """Yield the answers batch by batch; see `CanStream.stream`.

        Raises:
            DatasetError: A prompt and its answer don't fit into the context of the model.
        """
        for batch in self._answer_batches(conversations, max_new_tokens, skip=skip):
            for index, text in batch.items():
                yield index, Answer(text=text)

    def _answer_batches(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, skip: Collection[int]
    ) -> Iterator[dict[int, str]]:
        """Yield the answers of one batch after the other, by position."""
        wanted = [index for index in range(len(conversations)) if index not in skip]
        if not wanted:
            return
        import torch

        prompts = self._encode(conversations, max_new_tokens)
        with torch.inference_mode():
            length, cache = self._shared_prefix([prompts[index] for index in wanted])
        for batch in self._batches({index: len(prompts[index]) - length for index in wanted}, max_new_tokens):
            # The model's own settings are restored before answers are yielded: the caller may use the model too.
            with torch.inference_mode(), self._greedy(max_new_tokens):
                answers = self._answer([prompts[index] for index in batch], length, cache)
            yield dict(zip(batch, answers, strict=True))

    def _encode(self, conversations: Sequence[Conversation], max_new_tokens: int) -> list[list[int]]:
        prompts = self._render(conversations, add_generation_prompt=True)
        for index, ids in enumerate(prompts):
            if self._max_length is not None and len(ids) + max_new_tokens > self._max_length:
                raise DatasetError(
                    f"has a prompt of {len(ids)} tokens and asks for up to {max_new_tokens} more, but the model's "
                    f"context is {self._max_length}.",
                    line=index + 1,
                    hint="Leave the row out, shorten it, or lower max_new_tokens.",
                )
        return prompts

    def _render(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool) -> list[list[int]]:
        if self._trial is None:
            self._trial = trial_of(self._tokenizer)
        self._trial.check([TemplateInput(conversation, tools_of(conversation)) for conversation in conversations])
        if any(tools_of(one) or any(len(message) > 2 for message in one) for one in conversations):
            return self._render_as_training(conversations, add_generation_prompt)
        encoded = self._tokenizer.apply_chat_template(
            [list(conversation) for conversation in conversations],
            add_generation_prompt=add_generation_prompt,
            tokenize=True,
            return_dict=True,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _render_as_training(
        self, conversations: Sequence[Conversation], add_generation_prompt: bool
    ) -> list[list[int]]:
        """Render what templates take in different shapes, such as tools and calls, as training does.

        Raises:
            DatasetError: The template leaves the tools or their calls out.
        """
        given = [TemplateInput(conversation, tools_of(conversation)) for conversation in conversations]
        shape = template_shape(self._tokenizer)
        texts = render_conversations(self._tokenizer, given, shape, generation_prompt=add_generation_prompt)
        for index, (one, text) in enumerate(zip(given, texts, strict=True)):
            if one.uses_tools and is_tool_missing(one, text, {}):
                raise DatasetError(
                    "the model's chat template leaves out the tools, or calls of them.",
                    line=index + 1,
                    hint="Use a model whose chat template knows tools, or leave the row out.",
                )
        return [list(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def _batches(self, lengths: Mapping[int, int], max_new_tokens: int) -> Iterator[list[int]]:
        """Group positions by length, longest first: little is padded, and if memory runs out it does so at once."""
        batch: list[int] = []
        for index in sorted(lengths, key=lambda index: -lengths[index]):
            width = (lengths[batch[0]] if batch else lengths[index]) + max_new_tokens
            if batch and (len(batch) >= self._batch_size or width * (len(batch) + 1) > self._batch_tokens):
                yield batch
                batch = []
            batch.append(index)
        yield batch

    def _shared_prefix(self, prompts: list[list[int]]) -> tuple[int, Any]:
        """Return the length of the prefix that all prompts share, and its keys and values; 0 and None without one."""
        # Every prompt keeps at least one token of its own to continue from.
        length = min(_common_length(min(prompts), max(prompts)), min(len(ids) for ids in prompts) - 1)
        if not self._share_prefix or len(prompts) < 2 or length < _MIN_SHARED_TOKENS:
            return 0, None
        import torch
        from transformers.cache_utils import DynamicCache, DynamicLayer

        # Without the output head: nobody needs its scores for the prefix.
        output = self._model.base_model(
            input_ids=torch.tensor([prompts[0][:length]], device=self._model.device), use_cache=True
        )
        cache = output.past_key_values
        # Sliding windows, linear attention and the like keep a state that can't be carried over padding.
        if not isinstance(cache, DynamicCache) or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return 0, None
        return length, cache

    def _answer(self, prompts: list[list[int]], shared: int, prefix_cache: Any) -> list[str]:
        import torch

        pad = self._tokenizer.pad_token_id
        width = max(len(ids) for ids in prompts)
        # The padding goes between the shared prefix and the rest, so that the cache is as wide as the prefix.
        padded = [ids[:shared] + [pad] * (width - len(ids)) + ids[shared:] for ids in prompts]
        mask = [[1] * shared + [0] * (width - len(ids)) + [1] * (len(ids) - shared) for ids in prompts]
        device = self._model.device
        options: dict[str, Any] = {}
        if prefix_cache is not None:
            cache = copy.deepcopy(prefix_cache)  # generation writes into it
            cache.batch_repeat_interleave(len(prompts))
            options["past_key_values"] = cache
        generated = self._model.generate(
            input_ids=torch.tensor(padded, device=device), attention_mask=torch.tensor(mask, device=device), **options
        )
        return [self._decode(row) for row in generated[:, width:].tolist()]

    def _decode(self, tokens: list[int]) -> str:
        ends = [tokens.index(end) for end in self._eos_token_ids if end in tokens]
        return self._tokenizer.decode(
            tokens[: min(ends, default=len(tokens))], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    @contextlib.contextmanager
    def _greedy(self, max_new_tokens: int) -> Yields[None]:
        """Replace the model's own settings, which may sample or penalise repetition, by greedy ones; restore them."""
        from transformers import GenerationConfig

        model, own = self._model, self._model.generation_config
        model.generation_config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=self._eos_token_ids,
            pad_token_id=self._tokenizer.pad_token_id,
            bos_token_id=self._tokenizer.bos_token_id,
            use_cache=True,
        )
        try:
            yield
        finally:
            model.generation_config = own


def _common_length(first: list[int], last: list[int]) -> int:
    """Return how many leading tokens are equal; of many lists it is enough to compare the least and the greatest."""
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        length += 1
    return length
