"""Greedy generation with transformers on this machine."""

from __future__ import annotations

import contextlib
import copy
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Generator as Yields
from dataclasses import dataclass
from typing import Any

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.constraints import Constraint
from ftsdk.evals.decoding import Decoded, Steering, can_decode, decode, feed_likelihoods
from ftsdk.evals.examples import Prompt
from ftsdk.evals.generation import Conversation, tools_of
from ftsdk.evals.likelihood import Likelihood
from ftsdk.evals.local_prompts import LocalPrompts
from ftsdk.evals.packed_rows import SharedPrefix, shared_prefix, tokens_in_memory
from ftsdk.evals.prefixes import groups_by_prefix
from ftsdk.evals.steering import steering_for
from ftsdk.models.packed_attention import is_out_of_memory

__all__ = ["TransformersGenerator"]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Prompts that share a beginning."""

    rows: list[int]
    prefix: SharedPrefix | None

    @property
    def shared(self) -> int:
        """How many tokens all of them begin with."""
        return 0 if self.prefix is None else self.prefix.length


class TransformersGenerator:
    """Greedy generation with a loaded model, in batches of similar length.

    A beginning that prompts share (a system message, a list of labels) is computed once, rows that are finished leave
    their batch, and a guessed answer takes one pass if it is what the model would have answered. The answers are those
    of `model.generate`, which also answers for the models that can't be decoded so.
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
            batch_size: Most conversations at once. None: 256.
            batch_tokens: Most tokens at once, prompt and answer, those of the longest for each; a shared beginning
                isn't counted. None: as many as have keys and values of 1 GiB, 2,048 to 16,384; 32,768 on a GPU.
            share_prefix: Compute a shared beginning once, where the model allows it.
        """
        # PEFT puts LoRA inside the layers, so the inner model has the adapter too, and the only generation settings.
        # Learned prompts and prefixes are in PEFT's model alone, and only its own `generate` puts them before a row.
        self._added_positions = _added_positions(model)
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model = model if self._added_positions else inner
        self._inner = inner
        self._tokenizer = tokenizer
        self._eos_token_ids = list(eos_token_ids)
        self._max_length = max_length if max_length is None else max_length - self._added_positions
        on_cpu = self._model.device.type == "cpu"
        self._batch_size = batch_size or 256
        self._batch_tokens = batch_tokens or (tokens_in_memory(inner) if on_cpu else 32768)
        self._share_prefix = share_prefix
        self._prompts = LocalPrompts(tokenizer)
        self._decodes: bool | None = False if self._added_positions else None
        self._guesses: list[list[int]] | None = None
        self._steering: Callable[[], Steering] | None = None
        self._on_text: Callable[[int, str], None] | None = None

    @property
    def max_length(self) -> int | None:
        """The context length in tokens, of prompt and answer together; None: not known."""
        return self._max_length

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens."""
        return [len(ids) for ids in self._tokens(texts)]

    def answer_lengths(self, conversations: Sequence[Conversation], answers: Sequence[str]) -> list[int]:
        """Return the tokens of each answer as the chat template renders it; see `CanMeasure.answer_lengths`."""
        prompts = self._prompts.render(conversations, add_generation_prompt=True)
        rendered = self._prompts.render(_with_answers(conversations, answers), add_generation_prompt=False)
        # Some templates render an answer without what it has in a prompt: it takes at least its own tokens.
        return [
            max(plain, len(text) - len(prompt))
            for plain, text, prompt in zip(self.count_tokens(answers), rendered, prompts, strict=True)
        ]

    def prompt_lengths(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return the tokens of each prompt, as the chat template renders it.

        Raises:
            ModelError: The template refuses a conversation.
        """
        return [len(ids) for ids in self._prompts.render(conversations, add_generation_prompt=True)]

    def following(self, on_text: Callable[[int, str], None]) -> TransformersGenerator:
        """Return a generator that shows answers while they are written, where the model allows it.

        Args:
            on_text: Called with the position of a conversation and its answer so far, which may end in half a letter.
        """
        view = copy.copy(self)
        view._on_text = on_text
        return view

    def guessing(self, guesses: Sequence[str]) -> TransformersGenerator:
        """Return a generator that tries a guess for each conversation first; see `CanGuess.guessing`."""
        view = copy.copy(self)
        view._guesses = self._tokens(guesses)
        return view

    def constrained(self, constraint: Constraint) -> TransformersGenerator:
        """Return a generator whose answers keep to a constraint; see `CanConstrain.constrained`.

        Raises:
            SpecError: The constraint can't be kept, or the model can't be decoded token by token.
            MissingExtraError: llguidance isn't installed.
        """
        vocabulary = self._model.get_output_embeddings().weight.shape[0]
        view = copy.copy(self)
        view._steering = steering_for(constraint, self._tokenizer, ends=self._eos_token_ids, vocabulary=vocabulary)
        return view

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
        for index, answer in self.stream(conversations, max_new_tokens=max_new_tokens):
            outputs[index] = answer.text
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
        wanted = [index for index in range(len(conversations)) if index not in skip]
        if not wanted:
            return
        prompts = self._encode(conversations, max_new_tokens)
        started = time.monotonic()
        for batch in self._decoded(prompts, wanted, max_new_tokens):
            now = time.monotonic()
            for index, decoded in batch.items():
                yield (
                    index,
                    Answer(
                        text=self._text(decoded.tokens),
                        is_cut=not decoded.is_ended,
                        input_tokens=len(prompts[index]),
                        output_tokens=len(decoded.tokens) + decoded.is_ended,
                        seconds=(now - started) / len(batch),
                    ),
                )
            started = time.monotonic()

    def likelihoods(
        self, conversations: Sequence[Conversation], answers: Sequence[str]
    ) -> Yields[tuple[int, Likelihood]]:
        """Yield the likelihood of each answer, up to the end of text that the chat template puts after it.

        Raises:
            DatasetError: A prompt and its answer don't fit into the context of the model.
        """
        import torch

        prompts = self._encode(conversations, 0)
        rendered = self._prompts.render(_with_answers(conversations, answers), add_generation_prompt=False)
        spans = [self._answer_tokens(*row) for row in zip(prompts, rendered, answers, strict=True)]
        for index, (prompt, answer) in enumerate(zip(prompts, spans, strict=True)):
            self._check_length(index, len(prompt), len(answer))
        if not self._is_decodable(prompts[0] if prompts else []):
            for index, (prompt, answer) in enumerate(zip(prompts, spans, strict=True)):
                with torch.inference_mode():
                    ids = torch.tensor([[*prompt, *answer]], device=self._model.device)
                    scores = self._model(input_ids=ids).logits[0, -len(answer) - 1 : -1].float().log_softmax(dim=-1)
                    found = scores.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()
                yield index, Likelihood(log_probability=sum(found), tokens=len(found))
            return
        for group in self._groups(prompts, list(range(len(prompts)))):
            lengths = {row: len(prompts[row]) - group.shared + len(spans[row]) for row in group.rows}
            for batch in self._batches(lengths, 0):
                with torch.inference_mode():
                    found = feed_likelihoods(
                        self._model,
                        [prompts[row] for row in batch],
                        [spans[row] for row in batch],
                        prefix=group.prefix,
                    )
                for row, values in zip(batch, found, strict=True):
                    yield row, Likelihood(log_probability=sum(values), tokens=len(values))

    # Decoding.

    def _decoded(
        self, prompts: list[list[int]], wanted: list[int], max_new_tokens: int
    ) -> Iterator[dict[int, Decoded]]:
        """Yield rows as they are finished, by position."""
        import torch

        if not self._is_decodable(prompts[wanted[0]]):
            if self._steering is not None:
                raise SpecError(
                    f"a {type(self._model).__name__} can't be decoded token by token here, so its answers can't be "
                    "held to choices or a schema; ask without them"
                )
            for batch in self._padded_batches({row: len(prompts[row]) for row in wanted}, max_new_tokens):
                # The model's own settings are restored before answers are yielded: the caller may use the model too.
                with torch.inference_mode(), self._greedy(max_new_tokens):
                    decoded = self._generated([prompts[row] for row in batch], max_new_tokens)
                yield dict(zip(batch, decoded, strict=True))
            return
        for group in self._groups(prompts, wanted):
            lengths = {row: len(prompts[row]) - group.shared + len(self._guess(row)) for row in group.rows}
            batches = list(self._batches(lengths, max_new_tokens))
            while batches:
                batch = batches.pop(0)
                found: dict[int, Decoded] = {}
                try:
                    found = self._decoded_batch(prompts, batch, group, max_new_tokens)
                except RuntimeError as error:
                    if len(batch) < 2 or not is_out_of_memory(error):
                        raise
                if not found:  # out of memory: the halves may fit
                    half = len(batch) // 2
                    batches[:0] = [batch[:half], batch[half:]]
                    continue
                yield found

    def _decoded_batch(
        self,
        prompts: list[list[int]],
        batch: list[int],
        group: _Group,
        max_new_tokens: int,
    ) -> dict[int, Decoded]:
        import torch

        make, show = self._steering, self._on_text
        with torch.inference_mode():
            finished = decode(
                self._model,
                [prompts[row] for row in batch],
                ends=self._eos_token_ids,
                max_new_tokens=max_new_tokens,
                prefix=group.prefix,
                guesses=[self._guess(row)[: max_new_tokens - 1] for row in batch],
                steering=None if make is None else [make() for _ in batch],
                on_tokens=None if show is None else lambda place, tokens: show(batch[place], self._text(list(tokens))),
            )
            return {batch[place]: decoded for place, decoded in finished}

    def _guess(self, row: int) -> list[int]:
        return [] if self._guesses is None or self._steering is not None else self._guesses[row]

    def _is_decodable(self, prompt: Sequence[int]) -> bool:
        """Return whether our own decoding applies: tried on the beginning of a prompt, not assumed."""
        if self._decodes is None:
            self._decodes = can_decode(self._model, prompt)
        return self._decodes

    def _groups(self, prompts: list[list[int]], wanted: list[int]) -> Iterator[_Group]:
        import torch

        for rows, length in groups_by_prefix({row: prompts[row] for row in wanted}):
            prefix = None
            if length and self._share_prefix:
                with torch.inference_mode():
                    prefix = shared_prefix(self._model, prompts[rows[0]][:length])
            yield _Group(rows=rows, prefix=prefix)

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

    def _padded_batches(self, lengths: Mapping[int, int], max_new_tokens: int) -> Iterator[list[int]]:
        """Group positions for transformers; behind learned positions by length, since PEFT would count padding too."""
        if not self._added_positions:
            yield from self._batches(lengths, max_new_tokens)
            return
        for length in sorted(set(lengths.values()), reverse=True):
            alike = {index: length for index, own in lengths.items() if own == length}
            yield from self._batches(alike, max_new_tokens)

    def _generated(self, prompts: list[list[int]], max_new_tokens: int) -> list[Decoded]:
        """Generate by transformers itself."""
        import torch

        pad = self._tokenizer.pad_token_id
        width = max(len(ids) for ids in prompts)
        padded = [[pad] * (width - len(ids)) + ids for ids in prompts]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
        device = self._model.device
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Position ids are not supported")  # of PEFT, in every step
            generated = self._model.generate(
                input_ids=torch.tensor(padded, device=device), attention_mask=torch.tensor(mask, device=device)
            )
        found: list[Decoded] = []
        for tokens in generated[:, width:].tolist():
            ends = [tokens.index(end) for end in self._eos_token_ids if end in tokens]
            found.append(Decoded(tokens=tokens[: min(ends, default=max_new_tokens)], is_ended=bool(ends)))
        return found

    @contextlib.contextmanager
    def _greedy(self, max_new_tokens: int) -> Yields[None]:
        """Replace the model's own settings, which may sample or penalise repetition, by greedy ones; restore them."""
        from transformers import GenerationConfig

        model, own = self._inner, self._inner.generation_config
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

    # Between texts and tokens.

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def _text(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _answer_tokens(self, prompt: list[int], whole: list[int], answer: str) -> list[int]:
        """Return the tokens of an answer, with the end of text after it if the template has one."""
        if whole[: len(prompt)] == prompt and len(whole) > len(prompt):
            tokens = whole[len(prompt) :]
        else:  # the template renders an answer in a conversation unlike the one that it asks for
            tokens = [*self._tokens([answer])[0], self._eos_token_ids[0]]
        ends = [place for place, token in enumerate(tokens) if token in self._eos_token_ids]
        return tokens[: ends[-1] + 1] if ends else tokens

    def _encode(self, conversations: Sequence[Conversation], max_new_tokens: int) -> list[list[int]]:
        prompts = self._prompts.render(conversations, add_generation_prompt=True)
        for index, ids in enumerate(prompts):
            self._check_length(index, len(ids), max_new_tokens)
        return prompts

    def _check_length(self, index: int, prompt: int, more: int) -> None:
        if self._max_length is not None and prompt + more > self._max_length:
            raise DatasetError(
                f"has a prompt of {prompt} tokens and asks for up to {more} more, but the model's context is "
                f"{self._max_length}.",
                line=index + 1,
                hint="Leave the row out, shorten it, or lower max_new_tokens.",
            )


def _added_positions(model: Any) -> int:
    """Return how many learned positions PEFT puts before every row."""
    config = getattr(model, "active_peft_config", None) if hasattr(model, "peft_config") else None
    return int(config.num_virtual_tokens) if config is not None and config.is_prompt_learning else 0


def _with_answers(conversations: Sequence[Conversation], answers: Sequence[str]) -> list[Prompt]:
    return [
        Prompt([*conversation, {"role": "assistant", "content": answer}], tools_of(conversation))
        for conversation, answer in zip(conversations, answers, strict=True)
    ]
